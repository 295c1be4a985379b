"""What trackers tell of a run: its settings, its best row, and its best row at every threshold."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

_NOT_FIGURES = ("run_id", "row", "batch_id", "block_pnl_ticks", "rotated_net", "tp_ticks", "sl_ticks", "cooldown_bins")


def settings_of(meta: Mapping[str, Any]) -> dict[str, Any]:
    """Return signal, dataset, and every parameter under ``signal.``, ``scoring.`` or ``eval.``, as JSON holds them."""
    found: dict[str, Any] = {"signal": meta["signal_name"], "dataset_id": meta["dataset_id"]}
    for prefix, column in (("signal", "signal_params_json"), ("scoring", "scoring_json"), ("eval", "eval_json")):
        for name, value in json.loads(meta.get(column) or "{}").items():
            found[f"{prefix}.{name}"] = value
    return found


def best_of(rows: Sequence[Mapping[str, Any]], metric: str) -> Mapping[str, Any]:
    """Return the row with the highest figure; of equals the one whose id is the last; empty if no row has it."""
    ranked = [row for row in rows if row.get(metric) is not None]
    return max(ranked, key=lambda row: (row[metric], row["row"])) if ranked else {}


def figures_of(row: Mapping[str, Any]) -> dict[str, float]:
    """Return the numbers of a row that are results and not its key, sorted by name; the threshold is one of them."""
    return {
        name: float(value)
        for name, value in sorted(row.items())
        if name not in _NOT_FIGURES and isinstance(value, (int, float)) and not isinstance(value, bool)
    }


def by_threshold(rows: Sequence[Mapping[str, Any]], metric: str) -> dict[float, Mapping[str, Any]]:
    """Return the best row at every threshold that has one, thresholds ascending."""
    grouped: dict[float, list[Mapping[str, Any]]] = {}
    for row in rows:
        if "threshold" in row:
            grouped.setdefault(row["threshold"], []).append(row)
    best = {threshold: best_of(grouped[threshold], metric) for threshold in sorted(grouped)}
    return {threshold: row for threshold, row in best.items() if row}
