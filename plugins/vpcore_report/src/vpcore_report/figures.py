"""The pictures of a report, as SVG: thin lines, one accent, numbers with units."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from vpcore.errors import ConfigError
from vpcore.experiment.trades import Sensitivity, Trades
from vpcore_report.charts import LONG_COLOUR, SHORT_COLOUR

INK, MUTED, ACCENT, RULE = "#1c2430", "#6b7685", "#1f5fa8", "#d9dee5"
MOST_CELLS = 30
"""Values of one axis of a heat map; more cannot be read."""

_STYLE: dict[str, Any] = {
    "font.family": "sans-serif", "font.size": 9, "axes.edgecolor": RULE, "axes.labelcolor": INK, "text.color": INK,
    "xtick.color": MUTED, "ytick.color": MUTED, "axes.spines.top": False, "axes.spines.right": False,
    "axes.grid": True, "grid.color": "#eceff3", "grid.linewidth": 0.8, "axes.axisbelow": True,
    "svg.hashsalt": "vpcore", "svg.fonttype": "path",
}  # fmt: skip


def draw(size: tuple[float, float], paint: Callable[[Any], None], columns: int = 1) -> bytes:
    """Return what `paint` draws on axes (a list of them if there are several columns) as SVG, the same bytes each time.

    Raises
    ------
    ConfigError
        If matplotlib is not installed.
    """
    try:
        import matplotlib
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ConfigError(
            "A report needs matplotlib, which is not installed. Run: pip install 'vpcore[plot]'"
        ) from error
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=size, layout="constrained")
        canvas = FigureCanvasSVG(figure)
        paint(figure.subplots(1, columns))
        buffer = io.BytesIO()
        canvas.print_svg(buffer, metadata={"Date": None, "Creator": None})
    return buffer.getvalue()


def ranking(rows: Sequence[dict[str, Any]], labels: Sequence[str]) -> bytes:
    """Net PnL per trade of the first rows with its interval, the best on top."""

    def paint(axes: Any) -> None:
        y = np.arange(len(rows))[::-1]
        for at, row in zip(y, rows, strict=True):
            if row["net_pnl_lo"] is not None:
                axes.plot([row["net_pnl_lo"], row["net_pnl_hi"]], [at, at], color=ACCENT, alpha=0.45, linewidth=3)
        axes.scatter([row["net_pnl_ticks"] for row in rows], y, color=ACCENT, s=26, zorder=3)
        axes.axvline(0, color=INK, linewidth=0.9)
        axes.set_yticks(y, labels, fontsize=8)
        axes.grid(axis="y", visible=False)
        axes.set_xlabel("net PnL per trade, ticks (bar: 95 % interval)")

    return draw((9.2, 0.9 + 0.27 * len(rows)), paint)


def heat_map(rows: pl.DataFrame, x: str, y: str) -> bytes | None:
    """The median net PnL per trade over all other settings, for every pair of values of two settings.

    None if a setting has more than `MOST_CELLS` values.
    """
    cells = rows.group_by(x, y).agg(pl.col("net_pnl_ticks").median().alias("median"), pl.len().alias("count"))
    xs, ys = (sorted(set(cells[name].drop_nulls().to_list())) for name in (x, y))
    if not 1 < len(xs) <= MOST_CELLS or not 1 < len(ys) <= MOST_CELLS:
        return None
    grid = np.full((len(ys), len(xs)), np.nan)
    for row in cells.drop_nulls([x, y]).iter_rows(named=True):
        grid[ys.index(row[y]), xs.index(row[x])] = row["median"]

    def paint(axes: Any) -> None:
        limit = max(float(np.nanmax(np.abs(grid))), 1e-9)
        image = axes.imshow(grid, cmap="RdBu", vmin=-limit, vmax=limit, aspect="auto", origin="lower")
        axes.set_xticks(range(len(xs)), [_value(v) for v in xs], rotation=0 if len(xs) <= 10 else 90)
        axes.set_yticks(range(len(ys)), [_value(v) for v in ys])
        axes.set_xlabel(named(x))
        axes.set_ylabel(named(y))
        axes.grid(visible=False)
        if grid.size <= 120:
            for i, j in np.argwhere(np.isfinite(grid)):
                dark = abs(grid[i, j]) > 0.6 * limit
                axes.text(
                    j, i, f"{grid[i, j]:+.2f}", ha="center", va="center", fontsize=8, color="white" if dark else INK
                )
        axes.figure.colorbar(image, ax=axes, label="median net, ticks", shrink=0.9)

    return draw((min(9.2, 3.2 + 0.62 * len(xs)), 1.5 + 0.42 * len(ys)), paint)


def equity(times: Sequence[Any], trades: Trades, zone: Any) -> bytes:
    """The sum of the trades' net PnL in the order of their exits, with its highest point so far."""

    def paint(axes: Any) -> None:
        import matplotlib.dates

        order = np.argsort(trades.left, kind="stable")
        total = np.cumsum(trades.net[order])
        at = [times[i] for i in trades.left[order]]
        peak = np.maximum.accumulate(np.maximum(total, 0.0))
        axes.fill_between(at, total, peak, step="post", color=SHORT_COLOUR, alpha=0.12, linewidth=0, label="drawdown")
        axes.step(at, total, where="post", color=ACCENT, linewidth=1.5, label="net")
        axes.axhline(0, color=INK, linewidth=0.9)
        axes.xaxis.set_major_formatter(matplotlib.dates.DateFormatter("%H:%M", tz=zone))
        axes.set_ylabel("ticks, sum of trades")
        axes.set_xlabel(f"time of exit ({zone})")
        axes.legend(loc="best", frameon=False, fontsize=8)

    return draw((9.2, 3.0), paint)


def distributions(trades: Trades) -> bytes:
    """How much trades paid, and how long they were held, by what ended them."""
    kinds = ((1, "take-profit", LONG_COLOUR), (-1, "stop", SHORT_COLOUR), (0, "timeout", "#8a94a3"))

    def paint(both: Any) -> None:
        pnl, held = both
        step = 0.5 if np.ptp(trades.net) <= 20 else 1.0
        low, high = np.floor(trades.net.min() / step) * step, np.ceil(trades.net.max() / step) * step
        edges = np.arange(low - step / 2, high + step, step)
        series = [(trades.net[trades.outcome == code], name, colour) for code, name, colour in kinds]
        pnl.hist(
            [s[0] for s in series], bins=edges, stacked=True, color=[s[2] for s in series], label=[s[1] for s in series]
        )
        pnl.axvline(float(trades.net.mean()), color=INK, linewidth=1, linestyle="--")
        pnl.set_xlabel(f"net PnL of a trade, ticks (dashed: mean {trades.net.mean():+.2f})")
        pnl.set_ylabel("trades")
        pnl.legend(frameon=False, fontsize=8)
        times = [trades.seconds[trades.outcome == code] for code, _, _ in kinds]
        held.hist(times, bins=24, stacked=True, color=[kind[2] for kind in kinds])
        held.axvline(float(np.median(trades.seconds)), color=INK, linewidth=1, linestyle="--")
        held.set_xlabel(f"time held, s (dashed: median {np.median(trades.seconds):.1f} s)")

    return draw((9.2, 2.8), paint, columns=2)


def by_time(labels: Sequence[str], means: npt.NDArray[Any], errors: npt.NDArray[Any], counts: Sequence[int]) -> bytes:
    """Mean net PnL per trade in each stretch of the session, with its standard error and the number of trades."""

    def paint(axes: Any) -> None:
        at = np.arange(len(labels))
        colours = [LONG_COLOUR if mean >= 0 else SHORT_COLOUR for mean in np.nan_to_num(means)]
        axes.bar(at, means, yerr=errors, color=colours, alpha=0.8, width=0.72, ecolor=MUTED, capsize=2)
        axes.axhline(0, color=INK, linewidth=0.9)
        axes.set_xticks(at, [f"{label}\n{count}" for label, count in zip(labels, counts, strict=True)], fontsize=8)
        axes.set_ylabel("net PnL per trade, ticks")
        axes.set_xlabel("start of the stretch, and trades entered in it (whisker: one standard error)")
        axes.grid(axis="x", visible=False)

    return draw((9.2, 2.9), paint)


def sensitivity(found: Sequence[Sensitivity], own: tuple[int, float]) -> bytes:
    """Net PnL per trade against the delay, one line per fee; the row itself is ringed."""

    def paint(axes: Any) -> None:
        latencies = sorted({item.latency_bins for item in found})
        for i, fee in enumerate(sorted({item.fee_ticks for item in found})):
            line = [item for item in found if item.fee_ticks == fee]
            x = [latencies.index(item.latency_bins) + (i - 1) * 0.07 for item in line]
            colour = ("#7fb0df", ACCENT, "#12365f")[i % 3]
            low = [item.net - item.lo for item in line]
            high = [item.hi - item.net for item in line]
            axes.errorbar(
                x, [item.net for item in line], yerr=[low, high], color=colour, marker="o", markersize=4, linewidth=1.3,
                elinewidth=0.9, capsize=2, label=f"fee {fee:g} ticks",
            )  # fmt: skip
            for at, item in zip(x, line, strict=True):
                if (item.latency_bins, item.fee_ticks) == own:
                    axes.scatter([at], [item.net], s=110, facecolors="none", edgecolors=INK, linewidths=1.2, zorder=4)
        axes.axhline(0, color=INK, linewidth=0.9)
        axes.set_xticks(range(len(latencies)), [str(latency) for latency in latencies])
        axes.set_xlabel("bins from decision to entry (ringed: as evaluated; whisker: 95 % interval)")
        axes.set_ylabel("net PnL per trade, ticks")
        axes.legend(frameon=False, fontsize=8)

    return draw((9.2, 3.0), paint)


_UNITS = {"cooldown_bins": "cooldown (bins)", "tp_ticks": "take-profit (ticks)", "sl_ticks": "stop (ticks)"}


def named(setting: str) -> str:
    """Return a setting as an axis calls it."""
    return _UNITS.get(setting, setting)


def _value(value: Any) -> str:
    return f"{value:g}" if isinstance(value, (int, float)) else str(value)
