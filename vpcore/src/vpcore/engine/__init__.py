"""The streaming engine: market-by-order records in, frames of time bins and price cells out."""

from vpcore.engine.engine import ColdBook, Engine
from vpcore.engine.frames import Frame, FrameBlock
from vpcore.engine.params import EngineParams

__all__ = ["ColdBook", "Engine", "EngineParams", "Frame", "FrameBlock"]
