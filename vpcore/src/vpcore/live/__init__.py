"""Live use: the engine, scorer and signal that research evaluated, fed as the market comes."""

from vpcore.live.background import Retrain
from vpcore.live.measure import Simulation, Timing
from vpcore.live.parity import LateFit
from vpcore.live.pipeline import LiveBin, LivePipeline
from vpcore.live.simulate import simulate, simulate_from_raw
from vpcore.live.stages import BinStages

__all__ = [
    "BinStages",
    "LateFit",
    "LiveBin",
    "LivePipeline",
    "Retrain",
    "Simulation",
    "Timing",
    "simulate",
    "simulate_from_raw",
]
