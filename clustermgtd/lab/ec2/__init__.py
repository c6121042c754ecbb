"""A pure model of EC2: no clock, no I/O, no randomness of its own.

One model, two doors: the simulation calls `Ec2Model` directly; the lab serves it over EC2's wire protocol
(`clustermgtd.lab.aws`). Every call takes `now` in epoch seconds; two runs with equal calls and seeds are identical.
"""
