"""vpcore: an experiment harness for vacuum/pressure signals of the order book.

The public API for signal authors, live servers and notebooks. A name is imported on first use, which keeps
``import vpcore`` fast. Public modules are `vpcore.kernels` and `vpcore.testing`; other modules may move.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vpcore._lazy import exports

if TYPE_CHECKING:
    from vpcore.api import check as check
    from vpcore.api import generate as generate
    from vpcore.api import run as run
    from vpcore.api import score as score
    from vpcore.api import trades as trades
    from vpcore.backtest.evaluate import Evaluation as Evaluation
    from vpcore.backtest.evaluate import evaluate as evaluate
    from vpcore.dataset import Dataset as Dataset
    from vpcore.engine import Engine as Engine
    from vpcore.engine import EngineParams as EngineParams
    from vpcore.engine import Frame as Frame
    from vpcore.engine import FrameBlock as FrameBlock
    from vpcore.errors import CausalityError as CausalityError
    from vpcore.errors import ConfigError as ConfigError
    from vpcore.errors import DatasetError as DatasetError
    from vpcore.errors import EngineError as EngineError
    from vpcore.errors import PluginError as PluginError
    from vpcore.errors import RefusedError as RefusedError
    from vpcore.errors import RegistryError as RegistryError
    from vpcore.errors import ResultsError as ResultsError
    from vpcore.errors import SignalError as SignalError
    from vpcore.errors import SourceError as SourceError
    from vpcore.errors import StorageError as StorageError
    from vpcore.errors import VpError as VpError
    from vpcore.experiment.audit import Audit as Audit
    from vpcore.experiment.audit import audit as audit
    from vpcore.experiment.leaderboard import Leaderboard as Leaderboard
    from vpcore.experiment.leaderboard import RankedRow as RankedRow
    from vpcore.experiment.leaderboard import leaderboard as leaderboard
    from vpcore.plugins.component import Component as Component
    from vpcore.plugins.hookspecs import hookimpl as hookimpl
    from vpcore.projection import ProjectionConfig as ProjectionConfig
    from vpcore.results import ResultsDB as ResultsDB
    from vpcore.rules import TradeRules as TradeRules
    from vpcore.scoring import ScoringConfig as ScoringConfig
    from vpcore.scoring import SpectrumScorer as SpectrumScorer
    from vpcore.scoring import score_dataset as score_dataset
    from vpcore.serving.live_pipeline import LiveBin as LiveBin
    from vpcore.serving.live_pipeline import LivePipeline as LivePipeline
    from vpcore.serving.promote import Promotion as Promotion
    from vpcore.serving.promote import promote as promote
    from vpcore.signal import BackgroundFit as BackgroundFit
    from vpcore.signal import MLSignal as MLSignal
    from vpcore.signal import Signal as Signal
    from vpcore.signal import SignalContext as SignalContext
    from vpcore.signal import SignalFrame as SignalFrame
    from vpcore.signal import SignalParams as SignalParams
    from vpcore.signal import SignalResult as SignalResult
    from vpcore.signal import StatisticalSignal as StatisticalSignal
    from vpcore.workspace import Workspace as Workspace

    __version__: str

_HOMES = {
    "api": "check generate run score trades",
    "backtest.evaluate": "Evaluation evaluate",
    "dataset": "Dataset",
    "engine": "Engine EngineParams Frame FrameBlock",
    "errors": "CausalityError ConfigError DatasetError EngineError PluginError RefusedError "
    "RegistryError ResultsError SignalError SourceError StorageError VpError",
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
}
"""By module, the names of the public API in it."""

__all__ = sorted(["__version__", *(name for names in _HOMES.values() for name in names.split())])
_exported = exports(__name__, **_HOMES)


def __getattr__(name: str) -> Any:
    if name != "__version__":
        return _exported(name)
    from importlib.metadata import version

    return globals().setdefault(name, version("vpcore"))


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
