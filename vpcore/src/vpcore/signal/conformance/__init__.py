"""Checks that prove a signal's contract, and the data to run them on."""
