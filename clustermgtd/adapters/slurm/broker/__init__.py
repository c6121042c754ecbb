"""The child process that imports pyslurm, and the frames it speaks.

pyslurm holds the GIL while it waits for slurmctld, belongs to one release of Slurm, and libslurm calls `exit()` when it
finds no slurm.conf. Nothing but this package imports it, and the daemon imports only `frames` of this package.
"""
