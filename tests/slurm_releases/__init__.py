"""The checks that run on several releases of Slurm, and the captured outputs of each."""
