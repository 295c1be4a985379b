"""Timing side by side: every case beside its alternatives, in one process and run, as ratios with their spread."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

CLOCKS = {"cpu": time.process_time, "wall": time.perf_counter}


@dataclass(frozen=True)
class Way:
    """One way of doing the job.

    `run` does it once; `work` is how much that is, in the unit of the comparison. A slow alternative gets less work:
    rates are compared.
    """

    name: str
    run: Callable[[], Any]
    work: float


@dataclass
class Comparison:
    """A job, the project's way, and the others.

    `clock` is 'cpu' (all threads of this process, so that neighbours on the machine matter less) where one core does
    the work, and 'wall' where several cores or other processes do. `floor` names an alternative that is a bound and not
    a competitor: reading the same bytes once, say. `target` is the least ratio, or rate with `target_rate`.
    """

    name: str
    unit: str
    ours: Way
    others: list[Way]
    clock: str = "cpu"
    target: tuple[str, float] | None = None
    target_rate: float | None = None
    rates: dict[str, list[float]] = field(default_factory=dict)

    def measure(self, rounds: int) -> None:
        """Run every way once to warm up, then all of them in turn, `rounds` times, the first one moving on."""
        ways = [self.ours, *self.others]
        clock = CLOCKS[self.clock]
        for way in ways:
            way.run()
            self.rates[way.name] = []
        for r in range(rounds):
            for i in range(len(ways)):
                way = ways[(r + i) % len(ways)]
                gc.collect()
                began = clock()
                way.run()
                self.rates[way.name].append(way.work / (clock() - began))

    def rows(self) -> list[dict[str, Any]]:
        """Return one row per alternative: the rates' medians, and the ratio of each round."""
        mine = self.rates[self.ours.name]
        rows = []
        for other in self.others:
            theirs = self.rates[other.name]
            ratios = sorted(a / b for a, b in zip(mine, theirs, strict=True))
            row = {
                "job": self.name,
                "unit": self.unit,
                "clock": self.clock,
                "rate": statistics.median(mine),
                "alternative": other.name,
                "alternative_rate": statistics.median(theirs),
                "ratio": statistics.median(ratios),
                "ratio_min": ratios[0],
                "ratio_max": ratios[-1],
                "rounds": len(mine),
            }
            if self.target and self.target[0] == other.name:
                row |= {"target": self.target[1], "met": row["ratio"] >= self.target[1]}
            rows.append(row)
        if self.target_rate is not None:
            rate = statistics.median(mine)
            rows[0] |= {"target_rate": self.target_rate, "met_rate": rate >= self.target_rate}
        return rows


def human(value: float) -> str:
    """Return a rate with three digits: 12.3 M."""
    for factor, suffix in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if abs(value) >= factor:
            return f"{value / factor:.3g}{suffix}"
    return f"{value:.3g}"


def table(rows: list[dict[str, Any]]) -> str:
    """Return rows of comparisons as a Markdown table."""
    lines = [
        "| job | rate | alternative | its rate | ratio (min – max) | required |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        wanted = []
        if "target" in row:
            wanted.append(f"{row['target']:g}x {'✓' if row['met'] else '✗'}")
        if "target_rate" in row:
            wanted.append(f"{human(row['target_rate'])}/s {'✓' if row['met_rate'] else '✗'}")
        lines.append(
            f"| {row['job']} | {human(row['rate'])} {row['unit']}/s | {row['alternative']} | "
            f"{human(row['alternative_rate'])} | "
            f"{row['ratio']:.3g} ({row['ratio_min']:.3g} – {row['ratio_max']:.3g}) | "
            f"{', '.join(wanted)} |"
        )
    return "\n".join(lines)


def figure(value: float, unit: str, *, at_most: float | None = None, at_least: float | None = None) -> dict[str, Any]:
    """Return one measured figure, with its requirement if there is one."""
    found: dict[str, Any] = {"value": value, "unit": unit}
    if at_most is not None:
        found |= {"required": f"at most {at_most:g} {unit}", "met": value <= at_most}
    if at_least is not None:
        found |= {"required": f"at least {at_least:g} {unit}", "met": value >= at_least}
    return found


def figures(found: dict[str, Any]) -> str:
    """Return figures as a Markdown table; curves are left out."""
    lines = ["| figure | value | required |", "|---|---|---|"]
    for name, item in found.items():
        if "value" not in item:
            continue
        mark = f"{item['required']} {'✓' if item['met'] else '✗'}" if "required" in item else ""
        lines.append(f"| {name} | {item['value']:.4g} {item['unit']} | {mark} |")
    return "\n".join(lines)
