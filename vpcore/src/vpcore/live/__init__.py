"""Live use: the engine, scorer and signal that research evaluated, fed as the market comes."""

from vpcore.live.pipeline import LiveBin, LivePipeline
from vpcore.live.simulate import Simulation, Timing, simulate, simulate_from_raw
from vpcore.live.stages import BinStages

__all__ = ["BinStages", "LiveBin", "LivePipeline", "Simulation", "Timing", "simulate", "simulate_from_raw"]
