"""How news gets in: Slurm's hooks on a socket and in a spool folder. Each becomes a hint; none is truth."""
