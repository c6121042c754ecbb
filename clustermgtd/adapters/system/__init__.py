"""The machine that the daemon runs on: its clock and its service manager."""
