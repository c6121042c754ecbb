"""Concrete classes behind the ports."""
