"""The pictures of a study."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vpcore.inference.evidence import LEVEL
from vpcore_market.study.experiment import Columns
from vpcore_market.study.plan import NULL, Study, World
from vpcore_market.study.summary import POOLED, SIZES, one_of_each, reference
from vpcore_report.style import ACCENT, INK, LONG, NEUTRAL, SHORT, SMALL, write_png

_BAND_95 = 1.358  # of sqrt(n) times Kolmogorov's distance
_SIZE = (11.0, 4.2)


def draw_study(
    folder: Path, prefix: str, study: Study, found: Mapping[World, Columns], answers: Mapping[str, Any]
) -> dict[str, Path]:
    """Write the pictures of a study as PNG and return their paths by subject."""
    null = [columns for world, columns in found.items() if world.part == NULL]
    rows = {name: np.concatenate([columns[name] for columns in null]) for name in null[0]}
    rows["market"] = np.repeat(np.arange(len(null)), [len(columns["p_adj"]) for columns in null])
    subjects = {
        "size": lambda figure: _size(figure, study, rows, answers["null"]),
        "selection": lambda figure: _selection(figure, answers["null"]),
    }
    if answers["power"]["alpha"]:
        subjects["power"] = lambda figure: _power(figure, study, answers["power"])
    paths = {}
    for name, draw in subjects.items():
        paths[name] = folder / f"{prefix}{name}.png"
        write_png(paths[name], draw, _SIZE)
    return paths


def _size(figure: Any, study: Study, rows: Columns, null: Mapping[str, Any]) -> None:
    left, right = figure.subplots(1, 2)
    one = reference(rows, study) & np.isfinite(rows["p_uniform"])
    grid = np.linspace(0, 1, 401)
    for signal in study.signals:
        p = np.sort(rows["p_uniform"][one & (rows["signal"] == signal)])
        if len(p):
            share = np.searchsorted(p, grid, side="right") / len(p)
            left.plot(grid, share - grid, color=NEUTRAL, linewidth=0.8)
    p = np.sort(one_of_each(rows))
    left.plot(grid, np.searchsorted(p, grid, side="right") / len(p) - grid, color=ACCENT, linewidth=1.8)
    band = _BAND_95 / np.sqrt(null["markets"])
    left.axhspan(-band, band, color=NEUTRAL, alpha=0.18, linewidth=0)
    left.axhline(0, color=INK, linewidth=0.7)
    left.set_xlabel("p_random, ties broken at random")
    left.set_ylabel("share of markets at or below, less p")
    left.set_title(
        "Uniform? grey: each signal's reference row, blue: a row\nat random per market; band: 95 %", fontsize=9
    )

    names = [*study.signals, POOLED]
    for size, marker, colour in zip(SIZES, "os^", (SHORT, ACCENT, LONG), strict=True):
        points = [item for item in null["size"] if item["size"] == size]
        y = np.arange(len(names)) + {0.01: -0.22, 0.05: 0.0, 0.1: 0.22}[size]
        x = np.array([item["share"] if item["share"] is not None else np.nan for item in points])
        error = np.array([item["error"] if item["error"] is not None else np.nan for item in points])
        right.errorbar(x, y, xerr=2 * error, fmt=marker, color=colour, markersize=4, linewidth=1.1, label=f"{size:.0%}")
        right.axvline(size, color=colour, linewidth=0.8, linestyle="--")
    right.set_yticks(np.arange(len(names)), names, fontsize=SMALL)
    right.invert_yaxis()
    right.set_xlim(left=0)
    right.set_xlabel("share of rows with p_random at or below, ± 2 errors")
    right.legend(title="nominal", fontsize=SMALL, loc="lower right")
    right.set_title("Size, on markets without any effect", fontsize=9)


def _selection(figure: Any, null: Mapping[str, Any]) -> None:
    left, right = figure.subplots(1, 2)
    for metric, colour, text in (
        ("net_pnl_ticks", ACCENT, "best by net PnL"),
        ("tp_rate", SHORT, "best by take-profit rate"),
    ):
        values = np.array(null["naive"][metric]["values"])
        edges = np.linspace(min(-0.5, values.min()), values.max(), 40)
        left.hist(values, bins=edges, histtype="step", color=colour, linewidth=1.4, label=text)
        left.axvline(float(np.median(values)), color=colour, linestyle="--", linewidth=0.9)
    left.axvline(0, color=INK, linewidth=0.8)
    left.set_xlabel("net PnL of the best row, ticks a trade (worth: 0)")
    left.set_ylabel("experiments")
    left.legend(fontsize=SMALL)
    left.set_title("What choosing the best of many finds where there is nothing", fontsize=9)

    winners, best = null["false_winners"], null["naive"]["net_pnl_ticks"]
    bars = [
        ("best row pays", best["profitable"]),
        ("its Wilson interval is\nabove break-even", best["wilson_above_breakeven"]),
        ("its bootstrap interval\nis above 0", best["interval_above_0"]),
        ("its p_random ≤ 5 %", best["p_random"]),
        ("any row with\np_random ≤ 5 %", winners["p_random"]),
        ("any row with\nDSR ≥ 95 %", winners["dsr"]),
        ("any row with\np_adj ≤ 5 %", winners["p_adj"]),
        ("passes the screen", winners["screen"]),
    ]
    y = np.arange(len(bars))
    share = np.array([item["share"] for _, item in bars])
    reach = np.array([[item["share"] - item["lo"], item["hi"] - item["share"]] for _, item in bars]).T
    colours = [SHORT] * 5 + [NEUTRAL] + [LONG] * 2
    right.barh(y, share, xerr=np.clip(reach, 0, None), color=colours, height=0.65, error_kw={"linewidth": 0.9})
    right.axvline(LEVEL, color=INK, linestyle="--", linewidth=0.9)
    right.set_yticks(y, [text for text, _ in bars], fontsize=SMALL)
    right.invert_yaxis()
    right.set_xlim(0, 1)
    right.set_xlabel("share of experiments; dashed: 5 %")
    right.set_title("Who would have cried winner", fontsize=9)


def _power(figure: Any, study: Study, power: Mapping[str, Any]) -> None:
    axes = figure.subplots(1, 2, sharey=True)
    for axis, part, key, label in (
        (axes[0], "alpha", "alpha", f"alpha (markets of {study.minutes:g} minutes)"),
        (axes[1], "length", "minutes", "minutes of market"),
    ):
        points = power[part]
        if not points:
            continue
        x = [point[key] for point in points]
        for signal in study.signals:
            y = [point["mid"]["signals"][signal]["share"] for point in points]
            known = [value for value in y if value is not None]
            strong = bool(known) and known[-1] >= 0.9
            axis.plot(x, [np.nan if value is None else value for value in y],
                      color=ACCENT if strong else NEUTRAL, linewidth=0.9, alpha=0.9)  # fmt: skip
            if strong and axis is axes[0]:
                axis.annotate(
                    signal, (x[-1], y[-1]), fontsize=7, color=ACCENT, xytext=(3, 0), textcoords="offset points"
                )
        for price, style in (("mid", "-"), ("touch", ":")):
            y = [point[price]["winner"]["share"] for point in points]
            axis.plot(x, y, color=LONG, linewidth=2, linestyle=style, label=f"a winner by p_adj, {price} prices")
        axis.axhline(0.9, color=INK, linewidth=0.7, linestyle="--")
        axis.axhline(LEVEL, color=SHORT, linewidth=0.7, linestyle="--")
        axis.set_xlabel(label)
        axis.set_ylim(-0.02, 1.02)
        axis.grid(alpha=0.25)
    if power["length"]:
        axes[1].set_xscale("log")
        x = [point["minutes"] for point in power["length"]]
        axes[1].set_xticks(x, [f"{value:g}" for value in x])
        axes[1].minorticks_off()
    axes[0].set_ylabel("share of markets in which it is found")
    axes[0].set_title(
        "lines: p_random ≤ 5 % in a signal's reference row\n(blue: at least 90 % at the right end)", fontsize=9
    )
    axes[1].legend(fontsize=SMALL, loc="upper left")


def draw_stylised_facts(path: Path, markets: Mapping[str, Mapping[str, float]]) -> None:
    """Write a picture of several markets side by side: spread, depth, sizes and times between events."""

    def draw(figure: Any) -> None:
        spread, depth, gaps = figure.subplots(1, 3)
        width = 0.8 / len(markets)
        for i, (name, found) in enumerate(markets.items()):
            colour = (INK, ACCENT, SHORT, LONG)[i % 4]
            bars = ("spread_1", "spread_2", "spread_3", "spread_wider")
            spread.bar(np.arange(4) + (i - 1) * width, [found[key] for key in bars], width, color=colour, label=name)
            behind = [int(key[6:]) for key in found if key.startswith("depth_")]
            depth.plot(behind, [found[f"depth_{k}"] for k in behind], marker="o", markersize=3, color=colour)
            levels = [int(key[8:]) for key in found if key.startswith("gap_ms_p")]
            gaps.plot(
                [max(found[f"gap_ms_p{p}"], 1e-3) for p in levels], levels, marker="o", markersize=3, color=colour
            )
        spread.set_xticks(range(4), ["1", "2", "3", "more"])
        spread.set_xlabel("spread, ticks")
        spread.set_ylabel("share of time")
        spread.legend(fontsize=SMALL)
        depth.set_xlabel("ticks behind the touch")
        depth.set_ylabel("contracts")
        depth.set_ylim(bottom=0)
        gaps.set_xscale("log")
        gaps.set_xlabel("time between events, ms")
        gaps.set_ylabel("percentile")

    write_png(path, draw, _SIZE)
