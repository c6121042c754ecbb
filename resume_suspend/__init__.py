"""Slurm power-saving hooks: read the request, hand it over, exit. Standard library only."""
