"""vpcore: an experiment harness for vacuum/pressure signals of the order book.

The public API for signal authors, live servers and notebooks. A name is imported on first use, which keeps
``import vpcore`` fast. Public modules are `vpcore.kernels` and `vpcore.testing`; other modules may move.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vpcore._lazy import exports

if TYPE_CHECKING:
    from vpcore.api import check, generate, run, score, trades
    from vpcore.backtest.evaluate import Evaluation, evaluate
    from vpcore.dataset import Dataset
    from vpcore.engine import Engine, EngineParams, Frame, FrameBlock
    from vpcore.errors import (
        CausalityError,
        ConfigError,
        DatasetError,
        EngineError,
        PluginError,
        RefusedError,
        RegistryError,
        ResultsError,
        SignalError,
        SourceError,
        StorageError,
        VpError,
    )
    from vpcore.experiment.audit import Audit, audit
    from vpcore.experiment.leaderboard import Leaderboard, RankedRow, leaderboard
    from vpcore.plugins.component import Component
    from vpcore.plugins.hookspecs import hookimpl
    from vpcore.projection import ProjectionConfig
    from vpcore.results import ResultsDB
    from vpcore.rules import TradeRules
    from vpcore.scoring import ScoringConfig, SpectrumScorer, score_dataset
    from vpcore.serving.live_pipeline import LiveBin, LivePipeline
    from vpcore.serving.promote import Promotion, promote
    from vpcore.signal import (
        BackgroundFit,
        MLSignal,
        Signal,
        SignalContext,
        SignalFrame,
        SignalParams,
        SignalResult,
        StatisticalSignal,
    )
    from vpcore.workspace import Workspace

    __version__: str

__all__ = [
    "Audit",
    "BackgroundFit",
    "CausalityError",
    "Component",
    "ConfigError",
    "Dataset",
    "DatasetError",
    "Engine",
    "EngineError",
    "EngineParams",
    "Evaluation",
    "Frame",
    "FrameBlock",
    "Leaderboard",
    "LiveBin",
    "LivePipeline",
    "MLSignal",
    "PluginError",
    "ProjectionConfig",
    "Promotion",
    "RankedRow",
    "RefusedError",
    "RegistryError",
    "ResultsDB",
    "ResultsError",
    "ScoringConfig",
    "Signal",
    "SignalContext",
    "SignalError",
    "SignalFrame",
    "SignalParams",
    "SignalResult",
    "SourceError",
    "SpectrumScorer",
    "StatisticalSignal",
    "StorageError",
    "TradeRules",
    "VpError",
    "Workspace",
    "__version__",
    "audit",
    "check",
    "evaluate",
    "generate",
    "hookimpl",
    "leaderboard",
    "promote",
    "run",
    "score",
    "score_dataset",
    "trades",
]

_exported = exports(
    __name__,
    **{
        "api": "check generate run score trades",
        "backtest.evaluate": "Evaluation evaluate",
        "dataset": "Dataset",
        "engine": "Engine EngineParams Frame FrameBlock",
        "errors": " ".join(name for name in __all__ if name.endswith("Error")),
        "experiment.audit": "Audit audit",
        "experiment.leaderboard": "Leaderboard RankedRow leaderboard",
        "plugins.component": "Component",
        "plugins.hookspecs": "hookimpl",
        "projection": "ProjectionConfig",
        "results": "ResultsDB",
        "rules": "TradeRules",
        "scoring": "ScoringConfig SpectrumScorer score_dataset",
        "serving.live_pipeline": "LiveBin LivePipeline",
        "serving.promote": "Promotion promote",
        "signal": "BackgroundFit MLSignal Signal SignalContext SignalFrame SignalParams SignalResult StatisticalSignal",
        "workspace": "Workspace",
    },
)


def __getattr__(name: str) -> Any:
    if name != "__version__":
        return _exported(name)
    from importlib.metadata import version

    return globals().setdefault(name, version("vpcore"))


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
