"""vpcore: an experiment harness for vacuum/pressure signals of the order book.

The public API for signal authors, live servers and notebooks. A name is imported on first use, which keeps
``import vpcore`` fast. Plugins add names through the hook `vp_functions`. Public modules are `vpcore.kernels` and
`vpcore.testing`; other modules may move.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from vpcore._lazy import exports

if TYPE_CHECKING:
    from vpcore.api import (
        check as check,
        evaluate as evaluate,
        generate as generate,
        performance as performance,
        run as run,
        score as score,
        trades as trades,
    )
    from vpcore.backtest.evaluate import Evaluation as Evaluation
    from vpcore.dataset import Dataset as Dataset
    from vpcore.engine import Engine as Engine, EngineParams as EngineParams, Frame as Frame, FrameBlock as FrameBlock
    from vpcore.errors import (
        CausalityError as CausalityError,
        ConfigError as ConfigError,
        DatasetError as DatasetError,
        EngineError as EngineError,
        PluginError as PluginError,
        RefusedError as RefusedError,
        RegistryError as RegistryError,
        ResultsError as ResultsError,
        SignalError as SignalError,
        SourceError as SourceError,
        StorageError as StorageError,
        VpError as VpError,
    )
    from vpcore.experiment.audit import Audit as Audit, audit as audit
    from vpcore.experiment.compare_rows import RowComparison as RowComparison, compare_rows as compare_rows
    from vpcore.experiment.leaderboard import (
        Leaderboard as Leaderboard,
        RankedRow as RankedRow,
        leaderboard as leaderboard,
    )
    from vpcore.plugins.component import Component as Component
    from vpcore.plugins.hookspecs import hookimpl as hookimpl
    from vpcore.projection import ProjectionConfig as ProjectionConfig
    from vpcore.results import ResultsDB as ResultsDB
    from vpcore.rules import TradeRules as TradeRules
    from vpcore.scoring import (
        ScoringConfig as ScoringConfig,
        SpectrumScorer as SpectrumScorer,
        score_dataset as score_dataset,
    )
    from vpcore.signal import (
        BackgroundFit as BackgroundFit,
        MLSignal as MLSignal,
        Signal as Signal,
        SignalContext as SignalContext,
        SignalFrame as SignalFrame,
        SignalParams as SignalParams,
        SignalResult as SignalResult,
        StatisticalSignal as StatisticalSignal,
    )
    from vpcore.workspace import Workspace as Workspace

    __version__: str

_exported, _names = exports(__name__)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return globals().setdefault(name, version("vpcore"))
    if name == "__all__":
        return sorted(["__version__", *_names, *_installed()])
    if name in _names or name.startswith("_"):
        return _exported(name)
    if name not in _of_plugins():
        return _exported(name)
    from vpcore.plugins.manager import Plugins

    return globals().setdefault(name, Plugins().load("function", name))


@cache
def _installed() -> frozenset[str]:
    """Return the names that installed plugins add."""
    from vpcore.plugins.manager import Plugins

    return frozenset(Plugins().components("function"))


@cache
def _of_plugins() -> frozenset[str]:
    """Return the names that plugins add, installed or known. Some libraries ask every module for names."""
    from vpcore.plugins.builtin import PACKAGES

    return _installed() | PACKAGES["function"].keys()


def __dir__() -> list[str]:
    return sorted({*globals(), *__getattr__("__all__")})
