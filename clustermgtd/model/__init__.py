"""Values only: what the daemon knows and what it may do. No I/O, no clock, no randomness."""
