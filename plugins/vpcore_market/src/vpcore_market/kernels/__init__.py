"""Compiled loops of the simulated markets."""
