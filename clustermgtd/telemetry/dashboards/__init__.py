"""Grafana's dashboards, made from panels that are declared here."""
