"""Drawing: each function paints one object of `chart_data` on a figure and computes nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib.dates
import numpy as np
import numpy.typing as npt
from matplotlib.colors import SymLogNorm
from matplotlib.figure import Figure

from vpcore_report.chart_data import (
    OUTCOMES,
    Calibration,
    Costs,
    Distributions,
    Equity,
    Intervals,
    MarketWindow,
    Pivot,
    Stretches,
    by_price,
    signed_ticks,
)
from vpcore_report.style import ACCENT, INK, LONG, MUTED, NEUTRAL, SHADES, SHORT, SMALL, WIDTH, legend_above

_OUTCOME_COLOURS = {1: LONG, -1: SHORT, 0: NEUTRAL}
_LINES = (ACCENT, SHORT, LONG, "#c77700", "#6a4fa3", "#1b9e9e", "#7a5c3e", "#d0569a")

_RIGHT, _TOP = 0.15, 0.35
"""Margins of a picture in a report, inches; above is room for a legend."""

_INCHES_PER_LETTER = 0.075
_MOST_NUMBERS = 400
"""Cells of a pivot up to which each shows its number."""


def _plots(figure: Figure, n: int = 1, *, left: float = 0.75, bottom: float = 0.6) -> Any:
    """Return `n` axes side by side in fixed margins, inches: a layout that measures every label takes half the time."""
    figure.set_layout_engine("none")
    width, height = figure.get_size_inches()
    plot = (width - left - _RIGHT) / n
    return figure.subplots(
        1, n, gridspec_kw={
            "left": left / width, "right": 1.0 - _RIGHT / width, "bottom": bottom / height, "top": 1.0 - _TOP / height,
            "wspace": left / (plot - left * (n - 1) / n),
        },
    )  # fmt: skip


def intervals_size(data: Intervals) -> tuple[float, float]:
    """Return the size of `intervals`, inches."""
    return WIDTH, 0.9 + 0.27 * len(data.net)


def intervals(figure: Figure, data: Intervals) -> None:
    """Draw net PnL per trade with its interval, the first row on top."""
    longest = max(len(label) for label in data.labels)
    axes = _plots(figure, left=0.2 + _INCHES_PER_LETTER * longest)
    y = np.arange(len(data.net))[::-1]
    axes.hlines(y, data.lo, data.hi, color=ACCENT, alpha=0.45, linewidth=3)
    axes.scatter(data.net, y, color=ACCENT, s=26, zorder=3)
    axes.axvline(0, color=INK, linewidth=0.9)
    axes.set_yticks(y, data.labels, fontsize=SMALL)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("net PnL per trade, ticks (bar: 95 % interval)")


def pivot_size(data: Pivot) -> tuple[float, float]:
    """Return the size of `pivot`, inches."""
    return min(WIDTH, 3.2 + 0.62 * len(data.values_across)), 1.5 + 0.42 * len(data.values_down)


def pivot(figure: Figure, data: Pivot) -> None:
    """Draw a table of two settings, blue above 0 and red below."""
    axes, known = figure.subplots(), np.isfinite(data.median)
    limit = max(float(np.abs(data.median[known]).max()) if known.any() else 0.0, 1e-9)
    image = axes.imshow(data.median, cmap="RdBu", vmin=-limit, vmax=limit, aspect="auto", origin="lower")
    many = len(data.values_across) > 10
    axes.set_xticks(range(len(data.values_across)), data.values_across, rotation=90 if many else 0)
    axes.set_yticks(range(len(data.values_down)), data.values_down)
    axes.set_xlabel(named(data.across))
    axes.set_ylabel(named(data.down))
    axes.grid(visible=False)
    if data.median.size <= _MOST_NUMBERS:
        for i, j in np.argwhere(known):
            ink = "white" if abs(data.median[i, j]) > 0.6 * limit else INK
            axes.text(j, i, f"{data.median[i, j]:+.2f}", ha="center", va="center", fontsize=SMALL, color=ink)
    figure.colorbar(image, ax=axes, label=f"median {named(data.figure)}", shrink=0.9)


def equities(figure: Figure, lines: Sequence[tuple[str, Equity]]) -> None:
    """Draw cumulative net PnL of rows by time of exit; several sessions one after the other, by exits of all rows."""
    axes = figure.subplots()
    times = sorted({time for _, data in lines for time in data.times})
    several = any(len(data.begins) > 1 for _, data in lines)
    place = {time: i + 1 for i, time in enumerate(times)}
    for i, (label, data) in enumerate(lines):
        total = f"{data.total[-1]:+.1f}" if len(data.total) else "no trade"
        at: Any = [place[time] for time in data.times] if several else data.times
        axes.step(at, data.total, where="post", color=_LINES[i % len(_LINES)], linewidth=1.4, label=f"{label}: {total}")
    axes.axhline(0, color=INK, linewidth=0.9)
    axes.set_ylabel("cumulative net PnL, ticks")
    if several:
        axes.set_xlabel("exits of all rows, in order of time")
    elif times:
        axes.xaxis.set_major_formatter(matplotlib.dates.DateFormatter("%H:%M", tz=times[0].tzinfo))
        axes.set_xlabel(f"time of exit ({times[0].tzinfo})")
    axes.legend(loc="upper left")


def distributions(figure: Figure, data: Distributions) -> None:
    """Draw the histograms of net PnL and holding time, by outcome."""
    pnl, hold = _plots(figure, 2)
    for axes, edges, counts in ((pnl, data.pnl_edges, data.pnl_counts), (hold, data.hold_edges, data.hold_counts)):
        below = np.zeros(counts.shape[1])
        for (code, name), row in zip(OUTCOMES, counts, strict=True):
            colour = _OUTCOME_COLOURS[code]
            axes.bar(edges[:-1], row, np.diff(edges), below, align="edge", color=colour, label=name)
            below = below + row
        axes.set_ylabel("trades")
    pnl.axvline(data.pnl_mean, color=INK, linewidth=1, linestyle="--")
    pnl.set_xlabel(f"net PnL of a trade, ticks (dashed: mean {data.pnl_mean:+.2f})")
    hold.axvline(data.hold_median, color=INK, linewidth=1, linestyle="--")
    hold.set_xlabel(f"holding time, s (dashed: median {data.hold_median:.1f} s)")
    legend_above(pnl)


def stretches(figure: Figure, data: Stretches) -> None:
    """Draw net PnL per trade by time of entry, with standard errors and numbers of trades."""
    axes, at = _plots(figure, bottom=0.7), np.arange(len(data.mean))
    colours = [LONG if mean >= 0 else SHORT for mean in np.nan_to_num(data.mean)]
    axes.bar(at, data.mean, yerr=data.error, color=colours, alpha=0.8, width=0.72, ecolor=MUTED, capsize=2)
    axes.axhline(0, color=INK, linewidth=0.9)
    labels = [f"{label}\n{count}" for label, count in zip(data.labels, data.count, strict=True)]
    axes.set_xticks(at, labels, fontsize=SMALL)
    axes.set_ylabel("net PnL per trade, ticks")
    axes.set_xlabel("start of the stretch and number of trades (whisker: one standard error)")
    axes.grid(axis="x", visible=False)


def costs(figure: Figure, data: Costs) -> None:
    """Draw net PnL per trade over the delay, one line per fee, a ring around the evaluated point."""
    axes, at = _plots(figure), np.arange(len(data.latency_bins))
    own_fee, own_latency = data.own
    for i, label in enumerate(data.fee_labels):
        x = at + (i - 1) * 0.07
        reach = [data.net[i] - data.lo[i], data.hi[i] - data.net[i]]
        axes.errorbar(
            x, data.net[i], yerr=reach, color=SHADES[i % len(SHADES)], marker="o", markersize=4, linewidth=1.3,
            elinewidth=0.9, capsize=2, label=label,
        )  # fmt: skip
        if i == own_fee:
            ring = (x[own_latency], data.net[i, own_latency])
            axes.scatter(*ring, s=110, facecolors="none", edgecolors=INK, linewidths=1.2, zorder=4)
    axes.axhline(0, color=INK, linewidth=0.9)
    axes.set_xticks(at, data.latency_labels)
    axes.set_xlabel("bins from decision to entry (ring: as evaluated; whisker: 95 % interval)")
    axes.set_ylabel("net PnL per trade, ticks")
    legend_above(axes)


def calibration(figure: Figure, data: Calibration) -> None:
    """Draw observed shares over predicted probabilities, with the line of a calibrated signal."""
    axes = _plots(figure)
    axes.plot([0, 1], [0, 1], color=MUTED, linewidth=0.9, linestyle="--", label="calibrated")
    axes.plot(data.predicted, data.observed, color=ACCENT, marker="o", markersize=4, linewidth=1.3, label="observed")
    for x, y, count in zip(data.predicted, data.observed, data.count, strict=True):
        axes.annotate(f"{count:,}", (x, y), fontsize=SMALL, color=MUTED, xytext=(0, 6), textcoords="offset points")
    axes.set_xlabel("predicted probability of up (number: predictions)")
    axes.set_ylabel("observed share of up")
    legend_above(axes)


def market_window(figure: Figure, data: MarketWindow, title: str) -> None:
    """Draw net flow around the mid, the mid with entries and exits, and the signal with its levels."""
    figure.set_layout_engine("none")  # fixed margins take half the time of a layout that measures every label
    grid = figure.add_gridspec(
        3, 2, height_ratios=(2.2, 1.2, 1.0), width_ratios=(1.0, 0.014), left=0.07, right=0.925, top=0.91, bottom=0.06,
        hspace=0.2, wspace=0.02,
    )  # fmt: skip
    heat = figure.add_subplot(grid[0, 0])
    price, line = (figure.add_subplot(grid[row, 0], sharex=heat) for row in (1, 2))
    _net_flow(figure, heat, figure.add_subplot(grid[0, 1]), data)
    for axes in (heat, price):
        axes.tick_params(labelbottom=False)
    price.plot(data.minutes, data.mid, color=INK, linewidth=0.9, label="mid")
    inside = data.exits < len(data.minutes)
    ends = np.stack([data.entries[inside], data.exits[inside]])
    trades = (np.vstack([of[ends], np.full(ends.shape[1], np.nan)]).T.ravel() for of in (data.minutes, data.mid))
    price.plot(*trades, color=MUTED, linewidth=0.8, linestyle=":", label="trade")
    _sides(price, data.minutes, data.mid, data.entries, data.sides)
    for code, name in OUTCOMES:
        at = data.exits[inside & (data.outcomes == code)]
        colour = _OUTCOME_COLOURS[code]
        price.scatter(data.minutes[at], data.mid[at], marker="x", s=30, color=colour, zorder=4, label=f"exit: {name}")
    for i, taken, stopped in data.barriers:
        begin, end = data.minutes[data.entries[i]], data.minutes[min(data.exits[i], len(data.minutes) - 1)]
        for level, colour in ((taken, LONG), (stopped, SHORT)):
            price.hlines(level, begin, end, color=colour, linewidth=1.1, alpha=0.7)
    price.set_ylabel("mid price" if not data.barriers else "mid price (lines: take-profit, stop)")
    price.ticklabel_format(axis="y", useOffset=False)
    legend_above(price)

    line.plot(data.minutes, data.values, color=ACCENT, linewidth=0.9)
    for level in (data.long_level, data.short_level):
        line.axhline(level, color=MUTED, linewidth=0.8, linestyle="--")
    _sides(line, data.minutes, data.values, data.decisions, data.decision_sides)
    line.set_ylabel("signal (dashed: threshold)")
    line.set_xlabel(f"minutes after {data.first:%Y-%m-%d %H:%M:%S} ({data.first.tzinfo})")
    for axes in (price, line):
        axes.margins(x=0)
    figure.suptitle(title, fontsize=11)


def _net_flow(figure: Figure, axes: Any, scale: Any, data: MarketWindow) -> None:
    image_data, prices = by_price(data)
    half = data.tick / 2
    last = float(data.minutes[-1]) if len(data.minutes) > 1 else 1.0
    image = axes.imshow(
        image_data.T,
        aspect="auto",
        origin="lower",
        extent=(0.0, last, prices[0] - half, prices[-1] + half),
        cmap="PuOr_r",
        norm=SymLogNorm(linthresh=data.limit / 100, vmin=-data.limit, vmax=data.limit),
        interpolation="nearest",
    )
    bar = figure.colorbar(image, cax=scale, ticks=signed_ticks(data.limit), format="{x:g}")
    bar.ax.minorticks_off()
    bar.set_label("pressure − vacuum, contracts/s\norange: liquidity builds · purple: liquidity drains")
    axes.plot(data.minutes, data.mid, color="white", linewidth=2.0)
    axes.plot(data.minutes, data.mid, color=INK, linewidth=0.9)
    axes.set_xlim(0.0, last)
    axes.ticklabel_format(axis="y", useOffset=False)
    axes.grid(visible=False)
    axes.set_ylabel("price (line: mid)")


def _sides(
    axes: Any, x: npt.NDArray[Any], y: npt.NDArray[Any], at: npt.NDArray[np.int64], sides: npt.NDArray[np.int8]
) -> None:
    for side, marker, colour, label in ((1, "^", LONG, "long"), (-1, "v", SHORT, "short")):
        rows = at[sides == side]
        axes.scatter(x[rows], y[rows], marker=marker, s=46, color=colour, zorder=3, label=label, edgecolors="white")


_UNITS = {
    "cooldown_bins": "cooldown (bins)", "tp_ticks": "take-profit (ticks)", "sl_ticks": "stop (ticks)",
    "net_pnl_ticks": "net PnL per trade, ticks",
}  # fmt: skip


def named(setting: str) -> str:
    """Return a setting or a figure as an axis calls it."""
    return _UNITS.get(setting, setting)
