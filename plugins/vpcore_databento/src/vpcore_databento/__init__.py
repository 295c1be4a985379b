"""Databento for vpcore: `vp fetch`, and the live feed."""
