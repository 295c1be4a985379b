"""Rows by groups: the best, the median and the number per value of a setting, and a table of two settings."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import polars as pl

from vpcore.errors import ResultsError, did_you_mean, listed
from vpcore.experiment.tables import HEADINGS
from vpcore.inference.ranking import EVIDENCE
from vpcore.results import LOWER_IS_BETTER, ROW_KEY

MOST_COLUMNS = 40
"""Values of the setting across a table of two; more do not fit a screen."""

_ALWAYS = {"signal": "signal_name", "dataset_id": "dataset_id"}
SCOPES = {"signal": "signal_params_json", "scoring": "scoring_json", "pipeline": "pipeline_json"}
"""Columns with the settings of a run, by what they set."""

NOT_A_SETTING = "(not a setting)"
"""Value of a setting that the signal of a row lacks."""

TRIAL_AXES = ("threshold", "cooldown_bins", "tp_ticks", "sl_ticks")


def figure_of(sort: str) -> str:
    """Return the figure that groups are made of: an order by evidence goes by `p_adj`."""
    return "p_adj" if sort == EVIDENCE else sort


def varied(rows: pl.DataFrame) -> tuple[pl.DataFrame, list[str]]:
    """Return rows with every setting that varies among them as a column of text or numbers, and its names.

    Parameters of the signal are ``signal.x``, settings of the scorer ``scoring.x``, parameters of the engine, where an
    experiment varies them, ``pipeline.x``. Settings of runs come first, then
    those of trials; in each group the setting with the most values first.
    """
    runs = rows.unique("run_id", keep="any").sort("run_id")
    settings = {
        row["run_id"]: {
            f"{scope}.{name}": plain(value)
            for scope, column in SCOPES.items()
            for name, value in json.loads(row.get(column) or "{}").items()
        }
        for row in runs.iter_rows(named=True)
    }
    names = sorted({name for values in settings.values() for name in values})
    count = {name: len({values.get(name) for values in settings.values()}) for name in names}
    own = sorted((name for name in names if count[name] > 1), key=lambda name: (-count[name], name))
    for name in own:
        column = [settings[run].get(name) for run in rows["run_id"].to_list()]
        rows = rows.with_columns(pl.Series(name, column, strict=False, dtype=_type_of(column)))
    unique = {name: rows[name].n_unique() for name in TRIAL_AXES}
    trial = sorted((name for name in TRIAL_AXES if unique[name] > 1), key=lambda name: -unique[name])
    return rows.sort(ROW_KEY), [*own, *trial]


def _type_of(column: Sequence[Any]) -> Any:
    numbers = all(
        value is None or (isinstance(value, (int, float)) and not isinstance(value, bool)) for value in column
    )
    return pl.Float64 if numbers else pl.String


def plain(value: Any) -> Any:
    """Return a number or text as it is, and any other value as JSON."""
    return value if isinstance(value, (int, float, str)) else json.dumps(value, separators=(",", ":"))


def with_settings(rows: pl.DataFrame, wanted: Sequence[str]) -> tuple[pl.DataFrame, list[str]]:
    """Return rows with every setting that varies as a column, and the columns of `wanted`.

    A setting may be named without its scope where one scope alone has it, or where it is an axis in one scope alone.

    Raises
    ------
    ResultsError
        If `wanted` has an unknown name, or a name of two settings.
    """
    frame, names = varied(rows)
    frame = frame.with_columns(pl.col(column).alias(name) for name, column in _ALWAYS.items())
    valid = [*_ALWAYS, *names, *(name for name in TRIAL_AXES if name not in names)]
    headings = [heading for heading, column in HEADINGS.items() if column in valid]
    found = []
    for name in wanted:
        full = [name] if name in valid else [f"{scope}.{name}" for scope in SCOPES if f"{scope}.{name}" in valid]
        if len(full) > 1:  # a parameter that only some signals have is no axis
            full = [one for one in full if _is_axis(frame, one)] or full
        if len(full) > 1:
            raise ResultsError(f"'{name}' is a setting of two things: write {' or '.join(full)}.")
        if not full:
            near = did_you_mean(name, [*valid, *(part.partition(".")[2] for part in names), *headings])
            raise ResultsError(f"Rows cannot be grouped by '{name}'.{near} What varies among them: {listed(valid)}.")
        found += full
    return frame, found


def _is_axis(rows: pl.DataFrame, name: str) -> bool:
    """Return True if a setting has several values within one signal."""
    return bool((rows.group_by("signal_name").agg(pl.col(name).drop_nulls().n_unique())[name] > 1).any())


def label(value: Any) -> Any:
    """Return a value of a setting for a table; None becomes `NOT_A_SETTING`."""
    return NOT_A_SETTING if value is None else value


def grouped(rows: pl.DataFrame, by: str, sort: str) -> list[dict[str, Any]]:
    """Return one line per value of a setting: the best figure and its row, the median, the number; the best first."""
    figure = figure_of(sort)
    lower = figure in LOWER_IS_BETTER
    best = pl.col(figure).min() if lower else pl.col(figure).max()
    at = pl.col(figure).arg_min() if lower else pl.col(figure).arg_max()
    frame, (column,) = with_settings(rows, [by])
    found = (
        frame.group_by(pl.col(column).alias(by))
        .agg(
            best.alias("best"), pl.col("row").get(at).alias("best_row"), pl.col(figure).median().alias("median"),
            pl.len().alias("rows"),
        )
        .sort(["best", by], descending=[not lower, False], nulls_last=True)
    )  # fmt: skip
    return found.to_dicts()


def marginals(rows: pl.DataFrame, sort: str) -> list[dict[str, Any]]:
    """Return one line per value of every setting that varies: the figure over all rows that have it.

    A setting that every signal has, such as a barrier, is compared over all rows. A threshold, a parameter or a setting
    of the scorer has its own meaning per signal: it is compared within each signal that has several values, and named
    ``erd: signal.window`` where several signals exist. The ``spread`` of a setting is the distance between the medians
    of its values; the widest comes first.
    """
    figure = figure_of(sort)
    table, names = varied(rows)
    signals = sorted(set(rows["signal_name"].to_list()))
    common = [name for name in names if name in TRIAL_AXES and name != "threshold"]
    parts = [(name, name, table) for name in common]
    if len(signals) > 1:
        parts.append(("signal", "signal", table.with_columns(signal=pl.col("signal_name"))))
    for signal in signals:
        own = table.filter(pl.col("signal_name") == signal)
        parts += [
            (f"{signal}: {name}" if len(signals) > 1 else name, name, own) for name in names if name not in common
        ]
    lines: list[tuple[float, list[dict[str, Any]]]] = []
    for label, name, part in parts:
        found = (
            part.filter(pl.col(name).is_not_null())
            .group_by(name)
            .agg(pl.col(figure).median().alias("median"), pl.col(figure).max().alias("highest"),
                 pl.col(figure).min().alias("lowest"), pl.len().alias("rows"))
            .sort(name)
        )  # fmt: skip
        if found.height < 2:
            continue
        medians = found["median"].drop_nulls()
        spread = float(medians.max() - medians.min()) if len(medians) else 0.0  # type: ignore[operator, arg-type]
        group = [{"setting": label, "value": row.pop(name), **row, "spread": spread} for row in found.to_dicts()]
        lines.append((-spread, group))
    return [line for _, group in sorted(lines, key=lambda pair: (pair[0], pair[1][0]["setting"])) for line in group]


def pareto(rows: pl.DataFrame) -> pl.DataFrame:
    """Return the Pareto front of net PnL per trade and number of trades, the most frequent row first.

    Of rows that are equal in both, the first by key is kept.
    """
    known = rows.filter(pl.col("net_pnl_ticks").is_not_null() & pl.col("events_per_hour").is_not_null())
    order = ["events_per_hour", "net_pnl_ticks", *ROW_KEY]
    known = known.sort(order, descending=[True, True] + [False] * len(ROW_KEY))
    before = pl.col("net_pnl_ticks").cum_max().shift(1)
    return known.filter(before.is_null() | (pl.col("net_pnl_ticks") > before))


def pivoted(rows: pl.DataFrame, down: str, across: str, sort: str) -> tuple[list[Any], list[dict[str, Any]]]:
    """Return the values across, and one line per value down with the median figure under each of them.

    Raises
    ------
    ResultsError
        If a setting is unknown, both are the same, or the table would have too many columns.
    """
    if down == across:
        raise ResultsError(f"--pivot takes two settings that differ, was '{down}' twice.")
    frame, columns = with_settings(rows, [down, across])
    frame = frame.with_columns(pl.col(column).alias(name) for column, name in zip(columns, (down, across), strict=True))
    cells = frame.group_by(down, across).agg(pl.col(figure_of(sort)).median().alias("median"))
    over = frame[across].unique().sort().to_list()
    if len(over) > MOST_COLUMNS:
        raise ResultsError(
            f"'{across}' has {len(over)} values, at most {MOST_COLUMNS} fit across. Exchange the two: "
            f"--pivot {across} {down}"
        )
    median = {(row[down], row[across]): row["median"] for row in cells.iter_rows(named=True)}
    lines = [
        {down: value, **{str(short(other)): median.get((value, other)) for other in over}}
        for value in frame[down].unique().sort().to_list()
    ]
    return [str(short(other)) for other in over], lines


def short(value: Any) -> Any:
    """Return the value of a setting as a table of two names it."""
    return f"{value:g}" if isinstance(value, float) else label(value)
