"""Configuration: instruments, and the three layers pipeline, serving, experiment. Each layer names the layer below."""

from vpcore.config.experiment import (
    ExperimentSpec as ExperimentSpec,
    ParallelSpec as ParallelSpec,
    SelectSpec as SelectSpec,
    SweepSpec as SweepSpec,
    TrackingSpec as TrackingSpec,
)
from vpcore.config.instruments import InstrumentSpec as InstrumentSpec
from vpcore.config.pipeline import (
    CaptureSpec as CaptureSpec,
    PipelineSpec as PipelineSpec,
    ResolvedPipeline as ResolvedPipeline,
)
from vpcore.config.resolved import ExperimentConfig as ExperimentConfig, Search as Search, SignalPlan as SignalPlan
from vpcore.config.serving import ResolvedServing as ResolvedServing, ServingSpec as ServingSpec, SignalRef as SignalRef
from vpcore.config.store import ConfigStore as ConfigStore
