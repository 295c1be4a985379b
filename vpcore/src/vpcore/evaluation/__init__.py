"""From signal values to trades, and from trades to figures. On arrays, never on a signal.

The rules are those of the evaluation document, section 1: crossings with a cooldown, triple barriers tested against the
extremes inside each bin, entry after a latency, the stop before the take-profit, and every sum in whole half-ticks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vpcore.lazy import exports

if TYPE_CHECKING:
    from vpcore.evaluation.config import EvalConfig
    from vpcore.evaluation.crossings import Detections, Mode, band, cool_down, detect, detect_crossings
    from vpcore.evaluation.deflated import deflated_sharpe, deflated_sharpes, expected_best_sharpe
    from vpcore.evaluation.discovery import benjamini_hochberg
    from vpcore.evaluation.intervals import Z_95, breakeven_rate, driftless_rate, wilson
    from vpcore.evaluation.luck import Resampling, make_ring, mean_interval, rotated
    from vpcore.evaluation.metrics import evaluate, pnl_blocks
    from vpcore.evaluation.outcomes import MARKET_COLUMNS, BarrierSpec, Market, OutcomeTable, Price, outcome_table
    from vpcore.evaluation.overfit import overfit_probability
    from vpcore.evaluation.splits import IN_SAMPLE_METRICS, SPLIT_COLUMNS, Cuts, SplitSpec, make_cuts
    from vpcore.evaluation.stepdown import p_random, standardised, step_down
    from vpcore.evaluation.trial import PNL_BLOCK_NS, Trial

__getattr__ = exports(
    __name__,
    config="EvalConfig",
    deflated="deflated_sharpe deflated_sharpes expected_best_sharpe",
    crossings="Detections Mode band cool_down detect detect_crossings",
    discovery="benjamini_hochberg",
    intervals="Z_95 breakeven_rate driftless_rate wilson",
    luck="Resampling make_ring mean_interval rotated",
    metrics="evaluate pnl_blocks",
    outcomes="MARKET_COLUMNS BarrierSpec Market OutcomeTable Price outcome_table",
    overfit="overfit_probability",
    splits="IN_SAMPLE_METRICS SPLIT_COLUMNS Cuts SplitSpec make_cuts",
    stepdown="p_random standardised step_down",
    trial="PNL_BLOCK_NS Trial",
)

__all__ = [
    "IN_SAMPLE_METRICS",
    "MARKET_COLUMNS",
    "PNL_BLOCK_NS",
    "SPLIT_COLUMNS",
    "Z_95",
    "BarrierSpec",
    "Cuts",
    "Detections",
    "EvalConfig",
    "Market",
    "Mode",
    "OutcomeTable",
    "Price",
    "Resampling",
    "SplitSpec",
    "Trial",
    "band",
    "benjamini_hochberg",
    "breakeven_rate",
    "cool_down",
    "deflated_sharpe",
    "deflated_sharpes",
    "detect",
    "detect_crossings",
    "driftless_rate",
    "evaluate",
    "expected_best_sharpe",
    "make_cuts",
    "make_ring",
    "mean_interval",
    "outcome_table",
    "overfit_probability",
    "p_random",
    "pnl_blocks",
    "rotated",
    "standardised",
    "step_down",
    "wilson",
]
