"""Compiled loops on plain arrays. They allocate little and always return; callers validate first.

`jit` is the only decorator for compiled code in vpcore and in signal packages.
"""
