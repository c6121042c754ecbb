"""Measurements on real Slurm: `make bench`. They print figures and judge none."""
