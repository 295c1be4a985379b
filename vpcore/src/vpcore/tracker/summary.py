"""A run for trackers: its settings, its best row, and its best row at every threshold."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_NOT_FIGURES = ("run_id", "row", "batch_id", "block_pnl_ticks", "rotated_net")
_MOST_TEXT = 100
SETTINGS = {
    "signal": "signal_params_json", "scoring": "scoring_json", "eval": "eval_json", "pipeline": "pipeline_json",
}  # fmt: skip
"""Columns that hold the settings of a run, by what they set."""


@dataclass(frozen=True, slots=True)
class Asked:
    """The parts of an experiment that name its runs and choose their best row.

    Attributes
    ----------
    min_signals : int
        Least number of trades of the best row.
    varied : mapping of str to tuple of str
        By signal, the settings that differ among its runs, named as by `settings_of`.
    n_sessions : int
    """

    min_signals: int
    varied: Mapping[str, tuple[str, ...]]
    n_sessions: int

    @classmethod
    def of(cls, specs: Mapping[str, Any] | None) -> Asked:
        """Return it from the resolved specs of `Tracker.log_experiment`; empty for empty specs."""
        if specs is None:
            return cls(0, {}, 1)
        asked = specs["experiment"]
        scorings = _differing("scoring", asked["scorings"])
        engines = tuple(f"pipeline.{name}" for name in specs.get("engine_axes", ()))
        varied = {
            plan["name"]: (*_differing("signal", plan["params"]), *(scorings if plan["reads_score"] else ()), *engines)
            for plan in asked["signals"]
        }
        return cls(asked["select"]["min_signals"], varied, len(asked.get("dataset_ids", ("",))))

    def named(self, meta: Mapping[str, Any]) -> str:
        """Return a distinctive name for a run: signal, varied settings, session, id."""
        settings = settings_of(meta)
        names = [name for name in self.varied.get(meta["signal_name"], ()) if name in settings]
        varied = " ".join(f"{name.partition('.')[2]}={as_text(settings[name])}" for name in names)
        if len(varied) > _MOST_TEXT:
            varied = f"{varied[:_MOST_TEXT]}…"
        session = " ".join(meta["dataset_id"].split("_")[:2]) if self.n_sessions > 1 else ""
        return " ".join(part for part in (meta["signal_name"], varied, session, meta["run_id"][:8]) if part)


def _differing(prefix: str, points: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    names = sorted({name for point in points for name in point})
    return tuple(f"{prefix}.{name}" for name in names if len({as_text(point.get(name)) for point in points}) > 1)


def as_text(value: Any) -> str:
    """Return a setting as text: text as it is, anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value)


def settings_of(meta: Mapping[str, Any]) -> dict[str, Any]:
    """Return signal, dataset, and every parameter under ``signal.``, ``scoring.`` or ``eval.``, as JSON holds them;
    where an experiment varies the engine, also under ``pipeline.``.
    """
    found: dict[str, Any] = {"signal": meta["signal_name"], "dataset_id": meta["dataset_id"]}
    for prefix, column in SETTINGS.items():
        for name, value in json.loads(meta.get(column) or "{}").items():
            found[f"{prefix}.{name}"] = value
    return found


def best_of(rows: Sequence[Mapping[str, Any]], metric: str, min_signals: int = 0) -> Mapping[str, Any]:
    """Return the row with the highest figure; of equal rows the last by id.

    Empty if every row lacks the figure or has fewer than `min_signals` trades.
    """
    ranked = [
        row
        for row in rows
        if row.get(metric) is not None and row.get("n_signals", 0) - row.get("n_dropped", 0) >= min_signals
    ]
    return max(ranked, key=lambda row: (row[metric], row["row"])) if ranked else {}


def figures_of(row: Mapping[str, Any]) -> dict[str, float]:
    """Return the numbers of a row, sorted by name: its results, its threshold, cooldown, take-profit and stop."""
    return {
        name: float(value)
        for name, value in sorted(row.items())
        if name not in _NOT_FIGURES and isinstance(value, (int, float)) and not isinstance(value, bool)
    }


def by_threshold(
    rows: Sequence[Mapping[str, Any]], metric: str, min_signals: int = 0
) -> dict[float, Mapping[str, Any]]:
    """Return the best row at every threshold that has one, thresholds ascending."""
    grouped: dict[float, list[Mapping[str, Any]]] = {}
    for row in rows:
        if "threshold" in row:
            grouped.setdefault(row["threshold"], []).append(row)
    best = {threshold: best_of(grouped[threshold], metric, min_signals) for threshold in sorted(grouped)}
    return {threshold: row for threshold, row in best.items() if row}
