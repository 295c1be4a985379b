"""The streaming engine: market-by-order records in, frames of time bins and price cells out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vpcore._lazy import exports

if TYPE_CHECKING:
    from vpcore.engine.engine import ColdBook as ColdBook, Engine as Engine
    from vpcore.engine.frames import Frame as Frame, FrameBlock as FrameBlock
    from vpcore.engine.params import EngineParams as EngineParams

__getattr__, __all__ = exports(__name__)
