"""``vp calibrate``: hold the figures against luck to their word, on simulated markets whose truth is known."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vpcore.errors import ConfigError
from vpcore_cli.common import EXIT_REFUSED, JsonOption, current_plugins, emit_json, progress, say

if TYPE_CHECKING:
    from vpcore_market.study import Study


def calibrate(
    seeds: Annotated[int, typer.Option(help="Markets without an effect.")] = 200,
    power_seeds: Annotated[int, typer.Option(help="Markets per strength and per length; 0: no power curve.")] = 20,
    scenario_seeds: Annotated[
        int, typer.Option(help="Markets per scenario, of each kind of market; 0: no scenarios.")
    ] = 200,
    minutes: Annotated[float, typer.Option(help="Length of a market.")] = 60.0,
    alpha: Annotated[
        list[float] | None,
        typer.Option(
            help="Strength of the planted effect, repeatable. [default: 0.2 0.4 0.6 0.8 1]", show_default=False
        ),
    ] = None,
    length: Annotated[
        list[float] | None,
        typer.Option(
            help="Minutes of a market with the documented effect, repeatable. [default: 15 30 60 120 240]",
            show_default=False,
        ),
    ] = None,
    signal: Annotated[
        list[str] | None,
        typer.Option(help="Signal to study, repeatable. [default: all that do not learn]", show_default=False),
    ] = None,
    draws: Annotated[int, typer.Option(help="Rotations and resamples per row.")] = 999,
    cell_width_ms: Annotated[int, typer.Option(help="Width of a bin.")] = 200,
    first_seed: Annotated[int, typer.Option(help="The seeds count up from here.")] = 1,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
    out: Annotated[Path, typer.Option(help="Folder of the answers; a study that was interrupted goes on.")] = Path(
        "calibration"
    ),
    json: JsonOption = False,
) -> None:
    """Study size and power on simulated markets: p-values, false winners, intervals, and what it takes to be found.

    Writes results.json, pictures and calibration.md. Needs no workspace. Exits 1 if over all signals a test does not
    keep its size.
    """
    from vpcore_market.study.write import write_study

    study = _study(
        {
            "seeds": seeds,
            "scenario_seeds": scenario_seeds,
            "power_seeds": power_seeds,
            "minutes": minutes,
            "alphas": alpha or None,
            "lengths": length or None,
            "signals": signal or None,
            "draws": draws,
            "cell_width_ms": cell_width_ms,
            "first_seed": first_seed,
        }
    )
    with progress("Calibrating") as update:
        written = write_study(
            study,
            out,
            command=_command(sys.argv),
            workers=workers,
            plugins=current_plugins(),
            on_progress=lambda now: update(
                now.done, total=now.total, description=f"{now.done:,.0f} of {now.total:,.0f} minutes of market"
            ),
        )
    broken = broken_promises(written.answers)
    if json:
        emit_json({**written.answers, "broken": broken})
    else:
        for line in _lines(written.answers):
            print(line)
    say(f"Wrote {written.page}, {written.results} and {len(written.pictures)} pictures.")
    for text in broken:
        say(text)
    if broken:
        raise typer.Exit(EXIT_REFUSED)


def _study(values: dict[str, Any]) -> Study:
    from pydantic import ValidationError

    from vpcore_market.study.plan import Study, formula_signals

    plugins = current_plugins()
    given = {name: value for name, value in values.items() if value is not None}
    for name in given.get("signals", ()):
        plugins.get("signal", name)  # an unknown name is an error before anything runs
    given.setdefault("signals", formula_signals(plugins))
    try:
        return Study(**given)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(str(part) for part in item['loc'])}: {item['msg']}, was {item['input']!r}"
            for item in error.errors()
        )
        raise ConfigError(f"The study cannot be run: {problems}.") from error


def _command(arguments: list[str]) -> str:
    given = arguments[1:] if arguments[1:2] == ["calibrate"] else ["calibrate"]
    return shlex.join(["vp", *given])


def broken_promises(answers: dict[str, Any]) -> list[str]:
    """Return what does not keep its word over all signals, a sentence each."""
    from vpcore.inference.evidence import LEVEL
    from vpcore_market.study.summary import POOLED

    found = [
        f"p_random <= {item['size']:g} too often: in {item['share']:.4f} of the rows, error {item['error']:.4f}."
        for item in answers["null"]["size"]
        if item["signal"] == POOLED and not item["kept"]
    ]
    for item in answers["scenarios"]:
        bound, planted = item["required"], item["scenario"] == "planted"
        if bound is not None and (item["share"] < bound if planted else item["share"] > bound):
            found.append(
                f"Scenario {item['scenario']} in the {item['market']} market: {item['share']:.1%} of {item['of']}, "
                f"{'at least' if planted else 'at most'} {bound:.1%} required."
            )
    winners = answers["null"]["false_winners"]["p_adj"]
    allowed = LEVEL + 2.0 * (LEVEL * (1.0 - LEVEL) / winners["of"]) ** 0.5
    if winners["share"] > allowed:
        found.append(
            f"{winners['share']:.4f} of the experiments have a winner at p_adj <= {LEVEL:g}; at most {allowed:.4f} may."
        )
    return found


def _lines(answers: dict[str, Any]) -> list[str]:
    from vpcore_market.study.summary import POOLED

    null = answers["null"]
    best, winners = null["naive"]["net_pnl_ticks"], null["false_winners"]
    lines = [
        f"size          p_random <= {item['size']:<5g} in {item['share']:.2%} of rows, error {item['error']:.2%}"
        for item in null["size"]
        if item["signal"] == POOLED
    ]
    lines.append(
        f"false winners p_adj <= 0.05 in {winners['p_adj']['share']:.1%} of {winners['p_adj']['of']} experiments "
        f"(95 %: {winners['p_adj']['lo']:.1%} to {winners['p_adj']['hi']:.1%}); screen {winners['screen']['share']:.1%}"
    )
    lines.append(
        f"naive         best of {answers['rows_per_experiment']} rows shows {best['net']['mean']:+.2f} ticks a trade "
        f"and pays in {best['profitable']['share']:.0%} of experiments on nothing"
    )
    lines += [
        f"scenario      {item['scenario']:8} {item['market']:9} {item['hits']} of {item['of']}: {item['share']:.1%} "
        f"(95 %: {item['lo']:.1%} to {item['hi']:.1%})"
        for item in answers["scenarios"]
    ]
    for part, key in (("alpha", "alpha"), ("length", "minutes")):
        for point in answers["power"][part]:
            found = {name: item["share"] or 0.0 for name, item in point["mid"]["signals"].items()}
            best_three = sorted(found, key=lambda name: (-found[name], name))[:3]
            lines.append(
                f"power         {key} {point[key]:<5g} "
                + ", ".join(f"{name} {found[name]:.0%}" for name in best_three)
                + f"; a winner {point['mid']['winner']['share']:.0%} (mid), "
                + f"{point['touch']['winner']['share']:.0%} (touch)"
            )
    return lines
