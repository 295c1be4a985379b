"""Dask executor for vpcore."""
