"""AWS behind the ports: EC2 fleets, launch templates and the claim table. The only user of aiobotocore."""
