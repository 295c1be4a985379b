"""Requirements of signals on the grid of a pipeline, checked before any work starts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from vpcore.config.pipeline import ResolvedPipeline
from vpcore.config.resolved import ExperimentConfig
from vpcore.errors import ConfigError
from vpcore.plugins.manager import Plugins
from vpcore.rules import TradeRules
from vpcore.signal import SignalContext
from vpcore.units import ms_to_ns


def require_grid(plugins: Plugins, config: ExperimentConfig) -> None:
    """Refuse an experiment with a signal that reads cells beyond the grid of a session.

    Combinations that a sampler proposes later are unknown here; a run of them fails with the same message.

    Raises
    ------
    ConfigError
        In the words of the signal, with the name of the pipeline.
    """
    rules = config.eval.rules(config.eval.tp_ticks[0], config.eval.sl_ticks[0])
    shapes = {(s.params.grid_radius_ticks, s.params.cell_width_ms, s.tick_int): s for s in config.sessions}
    for session in shapes.values():
        for plan in config.signals:
            start_signals(plugins, plan.name, plan.params, session, rules)


def start_signals(
    plugins: Plugins,
    name: str,
    params: Iterable[Mapping[str, Any]],
    pipeline: ResolvedPipeline,
    rules: TradeRules | None = None,
) -> None:
    """Start a signal with each set of parameters on the grid of a pipeline; a `ConfigError` names the pipeline.

    Other errors are those of a run: it stores them with their traceback.
    """
    cls = plugins.load("signal", name)
    radius = pipeline.params.grid_radius_ticks
    k = np.arange(-radius, radius + 1, dtype=np.int16)
    context = SignalContext(k, ms_to_ns(pipeline.params.cell_width_ms), pipeline.tick_int, rules)
    for values in params:
        try:
            cls(cls.Params.parse(values, name)).start(context)
        except ConfigError as error:
            raise ConfigError(f"{error} (Pipeline '{pipeline.name}'.)") from None
        except Exception:  # a signal's own code can raise anything
            continue
