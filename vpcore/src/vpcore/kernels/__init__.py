"""Compiled loops on plain arrays. They validate nothing, allocate little and never raise; callers check first.

`jit` is the only decorator for compiled code in vpcore and in signal packages.
"""
