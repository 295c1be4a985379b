"""The page of a tear sheet: its pictures and tables, section by section."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from matplotlib.figure import Figure

from vpcore.errors import ConfigError
from vpcore.storage.atomic import storage_errors, write_atomic
from vpcore.units import NS_PER_MS
from vpcore_report.page import Page
from vpcore_report.style import ACCENT, INK, LONG, MUTED, SHORT, SMALL, WIDTH, legend_above, render
from vpcore_report.tearsheet import TearSheet

_QUANTILE_SHADES = ("#b2182b", "#e08a72", "#b7bcc4", "#7fb0df", "#1f5fa8")
_MOST_ROWS = 40


def write_page(sheet: TearSheet, path: Path) -> Path:
    """Write the page of a tear sheet and return its path."""
    if path.is_dir():
        raise ConfigError(f"--out names a folder: {path}. Name the file, as {path / 'tearsheet.html'}.")
    if not path.absolute().parent.is_dir():
        raise ConfigError(f"--out names a folder that is not there: {path.absolute().parent}.")
    html = make_page(sheet).html().encode()
    with storage_errors(path, "write the tear sheet"):
        write_atomic(path.absolute(), html, durable=False)
    return path


def make_page(sheet: TearSheet) -> Page:
    """Return the page of a tear sheet."""
    page = Page(f"Tear sheet of {sheet.name}", f"{sheet.dataset_id}, {sheet.n_bins:,} bins with a value")
    add(page, sheet)
    return page


def add(page: Page, sheet: TearSheet) -> None:
    """Add the sections of a tear sheet to a page."""
    base = span(sheet.horizon_bins * sheet.cell_width_ns / NS_PER_MS)
    page.section("Information coefficient")
    best = sheet.ic.filter(pl.col("ic").is_finite()).sort(pl.col("ic").abs(), descending=True).head(1)
    far = sheet.hits.filter(pl.col("share") == 0.9).row(0, named=True)
    own = sheet.turnover.row(0, named=True)
    page.tiles(
        [
            ("largest coefficient", _number(best["ic"][0] if best.height else None)),
            ("its horizon", span(best["horizon_ms"][0]) if best.height else "–"),
            ("its 95 % band", _range(best["lo"][0], best["hi"][0]) if best.height else "–"),
            (f"hit rate of the largest tenth, {base}", _percent(far["hit_rate"])),
            (f"mean return of the largest tenth, ticks, {base}", _number(far["mean_ticks"], 2)),
            (f"autocorrelation after {span(own['lag_ms'])}", _number(own["autocorrelation"])),
        ]
    )
    page.text(
        "Spearman correlation of the value with the later return of the mid, by horizon. Bands are a 95 % bootstrap of "
        "blocks of at least a minute and two horizons; where fewer than ten blocks exist, there is no band."
    )
    _figure(page, partial(_horizons, frame=sheet.ic), 3.0, "Information coefficient by horizon, with its band.")
    page.table(
        ("horizon", "coefficient", "95 % band", "bins"),
        [(span(r["horizon_ms"]), _number(r["ic"]), _range(r["lo"], r["hi"]), r["n"]) for r in sheet.ic.to_dicts()],
    )

    page.section("Decay")
    page.text(f"The value against the return over {base} that begins later.")
    _figure(page, partial(_decay, frame=sheet.decay), 2.8, "Information coefficient by the age of the value.")

    page.section("Returns by quantile")
    page.text("Mean return of the mid in ticks, by quantile of the value; 1 has the lowest values.")
    _figure(page, partial(_quantiles, sheet=sheet), 3.4, "Mean return by quantile at each horizon, ticks.")
    wide = sheet.quantiles.pivot("quantile", index="horizon_bins", values="mean_ticks")
    names = [name for name in wide.columns if name != "horizon_bins"]
    page.table(
        ("horizon", *(f"quantile {name}" for name in names)),
        [
            (span(row["horizon_bins"] * sheet.cell_width_ns / NS_PER_MS), *(_number(row[name]) for name in names))
            for row in wide.to_dicts()
        ],
    )

    page.section("Hit rate")
    page.text(f"Share of returns over {base} in the direction of the value, of those that are not 0.")
    _figure(page, partial(_hits, frame=sheet.hits), 2.9, "Hit rate by threshold, as a quantile of the magnitude.")
    page.table(
        ("magnitudes from", "threshold", "hit rate", "95 % band", "mean return, ticks", "bins"),
        [
            (f"{r['share']:.0%}", _number(r["threshold"]), _percent(r["hit_rate"]),
             f"{_percent(r['lo'])} to {_percent(r['hi'])}" if math.isfinite(r["lo"]) else "–",
             _number(r["mean_ticks"], 2),
             r["n"])
            for r in sheet.hits.to_dicts()
        ],
    )  # fmt: skip

    page.section("Turnover")
    page.text("Autocorrelation of the ranks, and the share of the highest and the lowest quantile that is new.")
    _figure(page, partial(_turnover, frame=sheet.turnover), 2.8, "Autocorrelation and turnover by lag.")

    page.section("Time of day")
    page.text(f"Information coefficient over {base} within stretches of the session; ranks are within the stretch.")
    _figure(page, partial(_day, frame=sheet.day), 2.9, "Information coefficient by time, with the number of bins.")

    if sheet.correlations.height:
        page.section("Other signals")
        page.text("Spearman correlation of the values in the same bins. Above 0.9 two signals say nearly the same.")
        shown = sheet.correlations.head(_MOST_ROWS)
        _figure(page, partial(_others, frame=shown), 0.9 + 0.24 * shown.height, "Correlation with other signals.")


def _figure(page: Page, paint: Any, height: float, caption: str) -> None:
    page.figure(render(paint, (WIDTH, height)), caption, (WIDTH, height))


def _horizons(figure: Figure, frame: pl.DataFrame) -> None:
    axes, at = figure.subplots(), np.arange(frame.height)
    ic, lo, hi = (frame[name].to_numpy() for name in ("ic", "lo", "hi"))
    axes.bar(at, ic, width=0.55, color=ACCENT, alpha=0.85)
    known = np.isfinite(lo)
    if known.any():
        axes.errorbar(
            at[known],
            ic[known],
            yerr=[ic[known] - lo[known], hi[known] - ic[known]],
            fmt="none",
            ecolor=MUTED,
            capsize=3,
        )
    axes.axhline(0, color=INK, linewidth=0.9)
    axes.set_xticks(at, [span(ms) for ms in frame["horizon_ms"]])
    axes.set_xlabel("horizon of the return")
    axes.set_ylabel("information coefficient")
    axes.grid(axis="x", visible=False)


def _decay(figure: Figure, frame: pl.DataFrame) -> None:
    axes, at = figure.subplots(), np.arange(frame.height)
    axes.plot(at, frame["ic"].to_numpy(), color=ACCENT, marker="o", markersize=4, linewidth=1.4)
    axes.axhline(0, color=INK, linewidth=0.9)
    axes.set_xticks(at, [span(ms) for ms in frame["lag_ms"]])
    axes.set_xlabel("age of the value at the start of the return")
    axes.set_ylabel("information coefficient")


def _quantiles(figure: Figure, sheet: TearSheet) -> None:
    axes, frame = figure.subplots(), sheet.quantiles
    horizons = frame["horizon_bins"].unique(maintain_order=True).to_list()
    n = int(frame["quantile"].max())  # type: ignore[arg-type]
    at = np.arange(len(horizons))
    for bucket in range(1, n + 1):
        part = frame.filter(pl.col("quantile") == bucket)
        place = round((bucket - 1) / max(n - 1, 1) * (len(_QUANTILE_SHADES) - 1))
        x = at + (bucket - (n + 1) / 2) * 0.8 / n
        axes.bar(x, part["mean_ticks"].to_numpy(), 0.8 / n, color=_QUANTILE_SHADES[place], label=f"quantile {bucket}")
    axes.axhline(0, color=INK, linewidth=0.9)
    axes.set_xticks(at, [span(bins * sheet.cell_width_ns / NS_PER_MS) for bins in horizons])
    axes.set_xlabel("horizon of the return")
    axes.set_ylabel("mean return, ticks")
    axes.grid(axis="x", visible=False)
    if n <= len(_QUANTILE_SHADES):
        legend_above(axes)


def _hits(figure: Figure, frame: pl.DataFrame) -> None:
    axes, at = figure.subplots(), np.arange(frame.height)
    rate, lo, hi = (frame[name].to_numpy() for name in ("hit_rate", "lo", "hi"))
    axes.plot(at, rate, color=ACCENT, marker="o", markersize=4, linewidth=1.4)
    axes.fill_between(at, lo, hi, color=ACCENT, alpha=0.15, linewidth=0)
    axes.axhline(0.5, color=INK, linewidth=0.9, linestyle="--")
    labels = [f"{share:.0%}\n{n:,}" for share, n in zip(frame["share"], frame["n"], strict=True)]
    axes.set_xticks(at, labels)
    axes.set_xlabel("least magnitude, as a quantile, and number of bins (dashed: a coin)")
    axes.set_ylabel("hit rate")


def _turnover(figure: Figure, frame: pl.DataFrame) -> None:
    axes, at = figure.subplots(), np.arange(frame.height)
    lines = (
        ("autocorrelation", ACCENT, "autocorrelation"),
        ("top", LONG, "turnover, highest"),
        ("bottom", SHORT, "turnover, lowest"),
    )
    for name, colour, label in lines:
        axes.plot(at, frame[name].to_numpy(), color=colour, marker="o", markersize=3.5, linewidth=1.3, label=label)
    axes.axhline(0, color=INK, linewidth=0.9)
    axes.set_xticks(at, [span(ms) for ms in frame["lag_ms"]])
    axes.set_xlabel("lag")
    legend_above(axes)


def _day(figure: Figure, frame: pl.DataFrame) -> None:
    axes, at = figure.subplots(), np.arange(frame.height)
    ic = frame["ic"].to_numpy()
    axes.bar(at, ic, 0.72, color=[LONG if value >= 0 else SHORT for value in np.nan_to_num(ic)], alpha=0.8)
    axes.axhline(0, color=INK, linewidth=0.9)
    labels = [f"{start}\n{n:,}" for start, n in zip(frame["start"], frame["n"], strict=True)]
    axes.set_xticks(at, labels, fontsize=SMALL)
    axes.set_xlabel("start of the stretch and number of bins")
    axes.set_ylabel("information coefficient")
    axes.grid(axis="x", visible=False)


def _others(figure: Figure, frame: pl.DataFrame) -> None:
    axes, at = figure.subplots(), np.arange(frame.height)[::-1]
    found = frame["correlation"].to_numpy()
    axes.barh(at, found, 0.7, color=[LONG if value >= 0 else SHORT for value in np.nan_to_num(found)], alpha=0.8)
    axes.axvline(0, color=INK, linewidth=0.9)
    axes.set_xlim(-1, 1)
    axes.set_yticks(at, frame["signal"].to_list(), fontsize=SMALL)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("Spearman correlation")


def span(ms: float) -> str:
    """Return a duration as an axis shows it: ``500 ms``, ``10 s``, ``2 min``."""
    if ms < 1000:
        return f"{ms:g} ms"
    return f"{ms / 1000:g} s" if ms < 120_000 else f"{ms / 60_000:g} min"


def _number(value: float | None, digits: int = 3) -> str:
    return "–" if value is None or not math.isfinite(value) else f"{value:+.{digits}f}"


def _percent(value: float | None) -> str:
    return "–" if value is None or not math.isfinite(value) else f"{value:.1%}".replace("%", "\u00a0%")


def _range(lo: float, hi: float) -> str:
    return f"{lo:+.3f} to {hi:+.3f}" if math.isfinite(lo) and math.isfinite(hi) else "–"
