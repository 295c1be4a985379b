"""Simulated markets of orders, and the study of the statistics of vpcore on them."""
