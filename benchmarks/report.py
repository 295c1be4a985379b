"""Write docs/background/performance.md's tables and plots, and evaluation.md's table of fill times.

They come from build/bench/results.json and peers.json.
"""

from __future__ import annotations

import json
from typing import Any

import data
import harness
import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from peers import queue_study

PAGE = data.ROOT / "docs" / "background" / "performance.md"
FILLS_PAGE = data.ROOT / "docs" / "background" / "evaluation.md"
IMAGES = data.ROOT / "docs" / "background" / "images"


def between(text: str, name: str, body: str) -> str:
    """Replace what stands between the marks of a section."""
    opening, closing = f"<!-- {name} -->", f"<!-- end of {name} -->"
    head, rest = text.split(opening)
    return f"{head}{opening}\n{body}\n{closing}{rest.split(closing)[1]}"


def plots(curves: dict[str, Any]) -> None:
    """Draw each curve in logarithms, with the line of its slope."""
    figure, axes = plt.subplots(1, len(curves), figsize=(4 * len(curves), 3.2), layout="constrained")
    for axis, curve in zip(axes, curves.values(), strict=True):
        sizes, seconds = np.array(curve["sizes"], float), np.array(curve["seconds"])
        axis.loglog(sizes, seconds, "o-", color="#1f5fa8")
        axis.loglog(sizes, seconds[-1] * sizes / sizes[-1], ":", color="grey", label="linear")
        axis.set_title(f"{curve['title']}\nslope {curve['slope']:.2f}", fontsize=9)
        axis.set_xlabel(curve["axis"], fontsize=8)
        axis.set_ylabel("CPU seconds", fontsize=8)
        axis.tick_params(labelsize=7, which="both")
        axis.legend(fontsize=7)
    figure.savefig(IMAGES / "performance-scaling.png", dpi=70)


def peers() -> str:
    path = data.BENCH / "peers.json"
    if not path.exists():
        return "Not measured: `make bench-peers`."
    found = json.loads(path.read_text())
    lines = ["| job | rate | peer | its rate | ratio (min – max) | its peak memory |", "|---|---|---|---|---|---|"]
    lines += [
        f"| {row['job']} | {harness.human(row['rate'])} {row['unit']}/s | {row['peer']} | "
        f"{harness.human(row['alternative_rate'])} | {row['ratio']:.3g} ({row['ratio_min']:.3g} – "
        f"{row['ratio_max']:.3g}) | {row['peak_mb']:.0f} MB |"
        for row in found["rows"]
    ]
    return "\n".join(lines)


def write_fill_times() -> None:
    path = data.BENCH / "peers.json"
    if path.exists() and (found := json.loads(path.read_text()).get("queue")):
        FILLS_PAGE.write_text(between(FILLS_PAGE.read_text(), "fill times", queue_study.table(found)))


def main() -> None:
    write_fill_times()
    results = json.loads((data.BENCH / "results.json").read_text())
    measures, machine = results["measures"], results["machine"]
    text = PAGE.read_text()
    text = between(text, "comparisons", harness.table([r for rows in results["comparisons"].values() for r in rows]))
    text = between(text, "peers", peers())
    figures = {}
    for group, found in measures.items():
        if group != "scaling":
            figures |= {f"{group}: {name}": item for name, item in found.items()}
    text = between(text, "figures", harness.figures(figures))
    curves = measures.get("scaling", {})
    lines = ["| cost of | against | slope | the algorithm says |", "|---|---|---|---|"]
    lines += [f"| {c['title']} | {c['axis']} | {c['slope']:.2f} | {c['says']} |" for c in curves.values()]
    text = between(text, "curves", "\n".join(lines))
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    loads = ", ".join(f"{group} {load:.1f}" for group, load in results["load"].items())
    text = between(
        text,
        "machine",
        f"{machine['cpu']}, {machine['cores']} virtual cores, {machine['system']}, Python {machine['python']}; "
        f"{versions}. Load average as each group began: {loads}.",
    )
    PAGE.write_text(text)
    if curves:
        plots(curves)


if __name__ == "__main__":
    main()
