"""The agent on a compute instance: learns which Slurm node it is, starts slurmd, tells how far the boot has come.

Start-up is paid for on every boot of every node: the standard library, and of botocore the DynamoDB client alone.
"""
