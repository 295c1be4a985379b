"""Samplers: which combinations of the axes an experiment tries."""
