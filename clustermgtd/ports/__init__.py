"""What the shell needs from the outside, as Protocols that state what may be assumed.

Every method that leaves the process has a deadline of its own inside the adapter and raises only from the
`clustermgtd.errors` tree. One contract suite per port runs over the fake and over the real adapter.
"""
