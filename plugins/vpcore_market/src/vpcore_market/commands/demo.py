"""``vp demo``: every step on a simulated market, in a new workspace."""

from __future__ import annotations

import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vpcore.errors import PluginError, ResultsError
from vpcore_cli.common import EXIT_REFUSED, NestedOption, current_plugins, refuse_nested, say

if TYPE_CHECKING:
    from vpcore.workspace import Workspace


def demo(
    folder: Annotated[Path, typer.Argument(metavar="[DIR]", help="The workspace to make.")] = Path("vp-demo"),
    alpha: Annotated[float, typer.Option("--alpha", help="Planted effect, -1 to 1; 0: nothing to find.")] = 0.6,
    minutes: Annotated[int, typer.Option("--minutes", min=10, help="Length of the session.")] = 60,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the market.")] = 7,
    nested: NestedOption = False,
) -> None:
    """Simulate a market with a planted effect, and take it through every step to a promoted, simulated signal.

    The market only serves to show the tools: its effect is planted. A second demo in the same folder finds its results
    stored.
    """
    from importlib import resources

    from vpcore.experiment.leaderboard import leaderboard
    from vpcore.workspace import Workspace

    _require_packages()
    if not nested:
        refuse_nested(folder)
    workspace, _ = Workspace.create(folder)
    root = ["--root", str(workspace.root)]
    market = ["--seed", str(seed), "--alpha", str(alpha), "--minutes", str(minutes)]
    _step("A market, order by order, as a DBN file", ["synth", *market, "--pipeline", "demo", *root])
    for layer in ("serving", "experiments"):
        spec = resources.files("vpcore_market") / "data" / "demo" / f"{layer}.yaml"
        (workspace.configs / layer / "demo.yaml").write_text(spec.read_text("utf-8"), "utf-8")
    _step("The specs hold together", ["validate", *root])
    _step("Records to a dataset of bins x price cells", ["generate", "demo", *root])
    _step("Every combination, evaluated and stored", ["run", "demo", *root])
    best = leaderboard(workspace, "demo").best
    if best is None:
        raise ResultsError("No row has enough trades", fix="Make a longer session, with --minutes.")
    promote = ["promote", "demo", "--row", best.row, "--alias", "demo", *root]
    _step(
        "Held against the end of the session, which nobody has looked at",
        ["confirm", "demo", *root],
        may=EXIT_REFUSED,
    )
    _step("The best row becomes a published version, with its verdict", promote)
    _step("The published version, one bin at a time", ["online-sim", "--serving", "demo", *root])
    picture = workspace.root / "demo.png"
    _step("A picture of it", ["plot", best.row, "--out", str(picture), *root])
    _summary(workspace, picture, alpha)


def _require_packages() -> None:
    """Require the packages of the demo's signals and picture.

    Raises
    ------
    PluginError
        If one is missing; the message names all missing packages.
    """
    plugins = current_plugins()
    needed = (("command", "plot", "vpcore-report"), ("signal", "ads", "vpcore-signals-stat"))
    missing = [package for kind, name, package in needed if name not in plugins.components(kind)]
    if missing:
        raise PluginError(plugins.missing_package("vp demo", " ".join(missing)))


def _step(title: str, arguments: list[str], may: int = 0) -> int:
    """Print a command and run it in this process. Return 0, or the allowed exit code `may`."""
    from vpcore_cli.app import run

    say(f"\n== {title}\n$ {shlex.join(['vp', *arguments])}")
    began = time.perf_counter()
    code = run(arguments)
    say(f"   ({time.perf_counter() - began:.1f} s)")
    if code not in (0, may):
        raise typer.Exit(code)
    return code


def _summary(workspace: Workspace, picture: Path, alpha: float) -> None:
    root = workspace.root
    say(f"\n== What was made, in {root}")
    paths: list[tuple[str, list[Path]]] = [
        ("market", sorted((root / "lake" / "raw").rglob("*.dbn.zst"))),
        ("specs", [root / "configs" / layer / "demo.yaml" for layer in ("pipelines", "serving", "experiments")]),
        ("dataset", [workspace.datasets.path(name) for name in workspace.datasets.ids()]),
        ("results", [workspace.results_dir]),
        ("published", sorted(workspace.serving_versions_dir.glob("*.yaml"))),
        ("picture", [picture]),
    ]
    for what, found in paths:
        for path in found:
            print(f"{what:10} {path.relative_to(root)}")
    say(
        f"The market was made with alpha = {alpha:g}: "
        + ("what was found is a planted effect, not an edge." if alpha else "the best row is luck, whatever it says.")
    )
    say(f"Look further: vp compare demo --root {root}")
    say(f"Watch it: vp serve --root {root} --serving demo --speed 10")
