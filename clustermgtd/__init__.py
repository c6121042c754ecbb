"""clustermgtd: makes Amazon EC2 agree with what Slurm wants, and tells everybody why."""

__version__ = "0.1.0"
