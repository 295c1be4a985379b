"""Datasets of vpcore on an object store."""
