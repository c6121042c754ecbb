"""`clustermgtctl`: one module per subcommand, put together in `main`."""
