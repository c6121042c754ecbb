"""A whole cluster on one machine without AWS: real Slurm daemons and embedded AWS endpoints."""
