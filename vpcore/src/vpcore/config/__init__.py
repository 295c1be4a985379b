"""Configuration: instruments, and the three layers pipeline, serving, experiment. Each layer names the layer below."""

from vpcore.config.experiment import ExperimentSpec, ParallelSpec, SelectSpec, SweepSpec, TrackingSpec
from vpcore.config.instruments import InstrumentSpec
from vpcore.config.pipeline import CaptureSpec, PipelineSpec, ResolvedPipeline
from vpcore.config.resolved import ExperimentConfig, Search, SignalPlan
from vpcore.config.serving import ResolvedServing, ServingSpec, SignalRef
from vpcore.config.store import ConfigStore

__all__ = [
    "CaptureSpec",
    "ConfigStore",
    "ExperimentConfig",
    "ExperimentSpec",
    "InstrumentSpec",
    "ParallelSpec",
    "PipelineSpec",
    "ResolvedPipeline",
    "ResolvedServing",
    "Search",
    "SelectSpec",
    "ServingSpec",
    "SignalPlan",
    "SignalRef",
    "SweepSpec",
    "TrackingSpec",
]
