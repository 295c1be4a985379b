"""The answers of a study as a Markdown page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vpcore.inference.evidence import MIN_TRADES
from vpcore_market.study.plan import Study
from vpcore_market.study.scenarios import FEE_TICKS, RESERVE_SHARE, SCENARIOS
from vpcore_market.study.summary import POOLED, SIZES

_NULL = """\
## What was run

    {command}

{markets:,} markets without any effect (`alpha` 0, mid prices, no fee), each {minutes:g} minutes in bins of {width}
ms. On each of them an experiment of {rows} rows: {signals} signals with their own thresholds, {cooldowns} cooldowns,
take-profit and stop {barriers} ticks, {draws} rotations and resamples a row.

## Size: p-values where there is nothing

The share of rows whose `p_random` is at most 1, 5 and 10 %, ± its standard error. Rows of one market depend on each
other, so a market counts as one observation. A test keeps its word if the share is at most the size plus two errors;
of {comparisons} such comparisons about one fails by chance alone.
{picture_size}
{size}

Uniformity is tested on one row per market, which is independent of all others: the signal's second lowest threshold,
the first cooldown and the first barriers; for *{pooled}*, a row at random. Ties are broken at random.

## Winners that are none

An experiment has {rows} rows, and nothing is to be found in any. How many experiments have a winner?
{picture_selection}
{winners}

The best row by net PnL shows {net} ticks a trade on average (median {middle}, nine in ten between {low} and {high}),
the best by take-profit rate {net_by_rate} ticks. Both are worth nothing. The probability of backtest overfitting is
{pbo} on average; where choosing is worth nothing it should be 0.5.

## The interval of the net PnL

How often the 95 % interval holds what a trade is worth, in rows with at least {least} trades. (That is a little below
0 even at mid prices, because a stop pays the worst price of its bin.) Percentile intervals of few, skewed, dependent
trades fall a little short; the verdict does not rest on them.

{coverage}
"""

_SCENARIOS = """
## Scenarios: a determined researcher

What a researcher may do to find a winner, in {markets} simulated markets of each kind. In every scenario but the last
there is nothing to find. An experiment has {rows} rows at touch prices with a fee of {fee:g} ticks. A reserve is the
last {share:.0%} of a session. The market `bursty` is the market `exogenous` on a clock with bursts and changing
volatility; there the planted effect lasts longer, because a burst is over before a trade enters.

{table}

A first experiment has the step-down p-value; all later ones are adjusted for every trial before them. Ten experiments
in a row, each read by itself, have no bound of 5 %: independent ones would have a winner in about
5 % (1 + 1/2 + ... + 1/10) = 15 % of cases. The proof is the confirmation.
"""

_POWER = """
## The planted effect, in ticks

`alpha` tilts every step of the walk, `P(up) = (1 + alpha * imbalance) / 2`, by the imbalance of what was built and
drained near the touch in the last seconds, a number between -1 and 1. What that means to somebody who trades on it: the
move of the mid in the second after an imbalance of 1, by regression over {strength_markets} markets of {minutes:g}
minutes (95 %).

{strength}

## Power: how strong an effect has to be, and how long one must look

The share of {markets} markets in which a planted effect is found: by a signal, if `p_random` of its reference row is
at most 5 %; by the experiment as a whole, if some row has `p_adj` at most 5 %, at mid and at touch prices; by
the screen (`p_adj`, an interval above 0 and 30 trades), at touch prices. Signals that find it in fewer than three
markets in ten at every point are left out.
{picture_power}
{alpha}

{length}
"""


def page(
    study: Study, answers: Mapping[str, Any], pictures: Mapping[str, Path], command: str, relative_to: Path
) -> str:
    """Return the page. Pictures are named relative to the folder `relative_to`."""

    def picture(name: str, text: str) -> str:
        return f"\n![{text}]({pictures[name].relative_to(relative_to).as_posix()})\n" if name in pictures else ""

    null, power = answers["null"], answers["power"]
    net, rate = null["naive"]["net_pnl_ticks"], null["naive"]["tp_rate"]
    low, middle, high = (_number(value) for value in net["net_quantiles"])
    text = _NULL.format(
        command=command,
        markets=null["markets"],
        minutes=study.minutes,
        width=study.cell_width_ms,
        rows=answers["rows_per_experiment"],
        signals=len(study.signals),
        cooldowns=len(study.cooldown_s),
        barriers=" and ".join(f"{tp}/{sl}" for tp, sl in study.tp_sl_ticks),
        draws=study.draws,
        comparisons=len(SIZES) * len(study.signals),
        picture_size=picture("size", "p-values are uniform, and the size is kept"),
        size=_size_table(null),
        pooled=POOLED,
        picture_selection=picture("selection", "What the best of many looks like, and who would have cried winner"),
        winners=_winner_table(null),
        net=_number(net["net"]["mean"]),
        low=low,
        middle=middle,
        high=high,
        net_by_rate=_number(rate["net"]["mean"]),
        pbo=f"{_number(null['pbo']['mean'], 3)} ± {_number(null['pbo']['error'], 3)}",
        least=MIN_TRADES,
        coverage=_coverage_table(null),
    )
    if answers["scenarios"]:
        text += _SCENARIOS.format(
            markets=answers["scenarios"][0]["of"],
            rows=answers["rows_per_experiment"],
            fee=FEE_TICKS,
            share=RESERVE_SHARE,
            table=_scenario_table(answers["scenarios"]),
        )
    if power["alpha"]:
        text += _POWER.format(
            markets=power["alpha"][0]["markets"],
            strength_markets=answers["strength"][0]["markets"],
            minutes=study.minutes,
            strength=_strength_table(answers["strength"]),
            picture_power=picture("power", "Power against the strength of the effect and the length of the market"),
            alpha=_power_table(study, power["alpha"], "alpha"),
            length=_power_table(study, power["length"], "minutes"),
        )
    return text.rstrip() + "\n"


def _size_table(null: Mapping[str, Any]) -> str:
    by_signal: dict[str, list[Mapping[str, Any]]] = {}
    for item in null["size"]:
        by_signal.setdefault(item["signal"], []).append(item)
    uniform = {item["signal"]: item["p"] for item in null["uniformity"]}
    rows = []
    for signal, items in by_signal.items():
        cells = [
            f"{_percent(item['share'], 2)} ± {_percent(item['error'], 2)}{'' if item['kept'] else ' **above**'}"
            for item in items
        ]
        name = f"`{signal}`" if signal != POOLED else f"*{POOLED}*"
        rows.append((name, *cells, f"{items[0]['rows']:,}", _number(uniform[signal])))
    return _table(
        ("signal", *(f"{size:.0%}".replace("%", " %") for size in SIZES), "rows", "uniform: p of Kolmogorov's test"),
        rows,
    )


def _scenario_table(scenarios: Sequence[Mapping[str, Any]]) -> str:
    rows = []
    for item in scenarios:
        bound, planted = item["required"], item["scenario"] == "planted"
        asked = "stated" if bound is None else f"at {'least' if planted else 'most'} {_percent(bound, 1)}"
        rows.append(
            (
                SCENARIOS[item["scenario"]],
                f"`{item['market']}`",
                f"{item['hits']} of {item['of']}",
                f"{_percent(item['share'], 1)}",
                f"{_percent(item['lo'], 1)} to {_percent(item['hi'], 1)}",
                asked,
            )
        )
    return _table(("what is counted", "market", "markets", "share", "95 %", "required"), rows)


def _winner_table(null: Mapping[str, Any]) -> str:
    winners, net, rate = null["false_winners"], null["naive"]["net_pnl_ticks"], null["naive"]["tp_rate"]
    rows = [
        ("the row with the best net PnL pays", net["profitable"]),
        ("the Wilson interval of its take-profit rate is above break-even", net["wilson_above_breakeven"]),
        ("its bootstrap interval is above 0", net["interval_above_0"]),
        ("its `p_random` is at most 5 %", net["p_random"]),
        ("the row with the best take-profit rate pays", rate["profitable"]),
        ("the Wilson interval of that rate is above break-even", rate["wilson_above_breakeven"]),
        ("some row has `p_random` at most 5 %", winners["p_random"]),
        ("some row has a deflated Sharpe ratio of at least 95 %", winners["dsr"]),
        ("**some row has `p_adj` at most 5 %**", winners["p_adj"]),
        ("**some row has `p_adj` up to 0.05, an interval above 0 and 30 trades**", winners["screen"]),
    ]
    return _table(
        ("what one might take for a proof", "share of experiments on nothing", "95 %"),
        [
            (text, _percent(item["share"], 1), f"{_percent(item['lo'], 1)} to {_percent(item['hi'], 1)}")
            for text, item in rows
        ],
    )


def _coverage_table(null: Mapping[str, Any]) -> str:
    return _table(
        ("rows of", "interval holds the truth", "± error", "rows"),
        [
            (item["rows_of"], _percent(item["share"], 1), _percent(item["error"], 1), f"{item['rows']:,}")
            for item in null["coverage"]
        ],
    )


def _strength_table(points: Sequence[Mapping[str, Any]]) -> str:
    return _table(
        ("alpha", "ticks in the next second per unit of imbalance", "imbalance (rms)", "variance explained"),
        [
            (
                f"{point['alpha']:g}",
                f"{_number(point['drift'], 3)} ({_number(point['lo'], 3)} to {_number(point['hi'], 3)})",
                _number(point["imbalance_std"]),
                _percent(point["explained"], 2),
            )
            for point in points
        ],
    )


def _power_table(study: Study, points: Sequence[Mapping[str, Any]], key: str) -> str:
    names = [
        signal
        for signal in study.signals
        if any((point["mid"]["signals"][signal]["share"] or 0.0) >= 0.3 for point in points)
    ]
    head = (key, *(f"`{name}`" for name in names), "winner, mid", "winner, touch", "screen, touch")
    rows = []
    for point in points:
        shares = [point["mid"]["signals"][name]["share"] for name in names]
        shares += [
            point["mid"]["winner"]["share"],
            point["touch"]["winner"]["share"],
            point["touch"]["screen"]["share"],
        ]
        rows.append((f"{point[key]:g}", *(_percent(share, 0) for share in shares)))
    return _table(head, rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def _percent(share: float | None, digits: int) -> str:
    return "" if share is None else f"{100 * share:.{digits}f} %"


def _number(value: float | None, digits: int = 2) -> str:
    return "not defined" if value is None else f"{value:.{digits}f}"
