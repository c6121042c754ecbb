"""AWS endpoints for one machine: EC2 from the lab's own model, every other service from moto in a child process."""
