"""Compiled loops of serving. They import numpy, numba and the core's kernels only."""
