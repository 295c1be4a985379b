"""The streaming engine: market-by-order records in, frames of time bins and price cells out."""

from vpcore.engine.params import EngineParams

__all__ = ["EngineParams"]
