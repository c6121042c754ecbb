"""Level A of the deterministic simulation: a world as plain data, the real decisions, faults between effects."""
