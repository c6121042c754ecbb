"""Slurm through its command-line programs: releases 22.05 and later, no plugin, no library."""
