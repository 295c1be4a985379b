"""Samplers: which combinations of the axes an experiment tries."""

from __future__ import annotations

from vpcore.sampler.protocol import Indices, Sampler

__all__ = ["Indices", "Sampler"]
