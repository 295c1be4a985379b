"""Serving: publication of a row, and the live pipeline that runs a published version."""
