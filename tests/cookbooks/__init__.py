"""Machines for the cookbooks: containers that boot a Debian of their own, reached by ssh as any machine is.

`python -m tests.cookbooks --help` boots one and applies roles to it.
"""
