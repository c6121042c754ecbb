"""What the daemon tells: metrics, their exposition, logs, and the decorators over ports that feed them."""
