"""Plugins: hook specifications, the manager that finds them, and the core's own components."""
