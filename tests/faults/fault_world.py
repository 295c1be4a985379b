"""A small workspace with everything a workspace stores, its answers, and what must never be lost from it."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from vpcore import Workspace, canonical
from vpcore.canonical import bytes_digest
from vpcore.dataset.verify import verify_files
from vpcore.experiment.leaderboard import leaderboard
from vpcore.results import ROW_KEY
from vpcore.storage.protocol import TEMPORARY
from vpcore_cli import app
from vpcore_serving.registry import database, registry_of

SPECS = {
    "serving/base": "name: base\npipeline: base\nsignal: {name: ofi}\n",
    "experiments/first": """\
name: first
serving: base
signals: [ads, ofi]
eval: {tp_ticks: [2, 4], sl_ticks: [3], max_hold_bins: 300, cooldown_bins: [5, 20], fee_ticks: 0, null_draws: 199, bootstrap_draws: 199}
reserve: {share: 0.3, confirmations: 3}
select: {metric: net_pnl_ticks, min_signals: 1}
parallel: {executor: serial}
""",
    "experiments/next": """\
name: next
serving: base
signals: [erd, derivative]
eval: {tp_ticks: [2, 4], sl_ticks: [3], max_hold_bins: 300, cooldown_bins: [5, 20], fee_ticks: 0, null_draws: 199, bootstrap_draws: 199}
sweep: {scoring: {tanh_scale: [2.0, 3.0]}}
select: {metric: net_pnl_ticks, min_signals: 1}
parallel: {max_workers: 2}
""",
}
MARKET = ("--minutes", "6", "--seed", "3", "--alpha", "0.6", "--events-per-second", "8")
CIRCUMSTANCES = {
    "batch_id",
    "finished_utc",
    "started_utc",
    "confirmed_utc",
    "elapsed_seconds",
    "host",
    "moved",
    "created_utc",
    "at_utc",
}
"""Keys of answers that tell when and where, not what."""

MLFLOW = Path("lake/research/vp_harness/mlflow.sqlite")


@dataclass(frozen=True)
class Outcome:
    """One command: exit code, stdout, stderr."""

    code: int
    out: str
    err: str

    @property
    def crashed(self) -> bool:
        """True if the user saw a traceback, or was told of a bug."""
        return self.code == 3 or "Traceback (most recent call last)" in self.err


def environment() -> dict[str, str]:
    """Return the environment of every command: no tracking server, no terminal."""
    kept = {name: value for name, value in os.environ.items() if name not in ("MLFLOW_TRACKING_URI", "VP_ROOT")}
    return {**kept, "PYTHONHASHSEED": "0"}


def start(root: Path, arguments: Sequence[str], **options: Any) -> subprocess.Popen[str]:
    """Start a command in a process group of its own."""
    command = [sys.executable, "-m", "vpcore_cli", *arguments, "--root", str(root)]
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, text=True, env=environment(), start_new_session=True, **(pipes | options))


def finish(process: subprocess.Popen[str], seconds: float = 300) -> Outcome:
    """Wait for a command; one that hangs is a `TimeoutError`, and is ended."""
    try:
        out, err = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, 9)
        process.communicate()
        raise TimeoutError(f"{process.args} hung") from None
    return Outcome(process.returncode, out or "", err or "")


def run(root: Path, *arguments: str, **options: Any) -> Outcome:
    """Run a command in a process of its own."""
    return finish(start(root, arguments, **options))


def forget() -> None:
    """Forget which files were found whole, as a new process would."""
    canonical._whole.clear()
    database._whole.clear()


def here(root: Path, *arguments: str) -> Outcome:
    """Run a command in this process, which saves the start of another."""
    forget()
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = app.run([*arguments, "--root", str(root)])
    return Outcome(code, out.getvalue(), err.getvalue())


@dataclass
class World:
    """The template: never written to after it was made; every try has a copy.

    Attributes
    ----------
    root : Path
        The template.
    rows : list of str
        Rows of the experiment `first`, the best first.
    run_id, dataset_id, serving_id : str
        The run of the best row, the dataset, the published version.
    """

    root: Path
    rows: list[str] = field(default_factory=list)
    run_id: str = ""
    dataset_id: str = ""
    serving_id: str = ""

    @property
    def archive(self) -> Path:
        """The archive of a copy with more results, beside the template."""
        return self.root.with_name("more.zip")

    def copy(self, target: Path) -> Path:
        """Return a fresh copy of the template."""
        if target.exists():
            for path in target.iterdir():
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        shutil.copytree(self.root, target, dirs_exist_ok=True)
        return target


def make(root: Path, *, whole: bool = True) -> World:
    """Make the template: a market, a dataset, an experiment with a reserve, a confirmation, a published version.

    `whole` adds what takes longest: an MLflow store without a run, and the archive of a copy with more results.
    """
    workspace, _ = Workspace.create(root)

    def do(*arguments: str, codes: tuple[int, ...] = (0,)) -> None:
        found = here(root, *arguments)
        assert found.code in codes, (arguments, found)

    do("synth", *MARKET, "--pipeline", "base")
    for name, text in SPECS.items():
        (workspace.configs / f"{name}.yaml").write_text(text)
    base = (workspace.configs / "pipelines" / "base.yaml").read_text()
    later = base.replace("name: base", "name: other").replace('start_time: "09:30:00"', 'start_time: "09:31:00"')
    assert later.count("09:31") == 1
    (workspace.configs / "pipelines" / "other.yaml").write_text(later)
    # Two batches, so that there are parts to compact.
    spec = workspace.configs / "experiments" / "first.yaml"
    spec.write_text(SPECS["experiments/first"].replace("cooldown_bins: [5, 20]", "cooldown_bins: [20]"))
    do("run", "first")
    spec.write_text(SPECS["experiments/first"])
    do("run", "first")
    frame = leaderboard(workspace, "first").frame.filter(pl.col("trades") > 0)
    world = World(root, frame["row"].to_list(), frame["run_id"][0], frame["dataset_id"][0])
    do("confirm", "first", "--row", world.rows[0], codes=(0, 1))
    do("promote", "first", "--row", world.rows[0], "--alias", "live")
    do("promote", "first", "--row", world.rows[1], "--alias", "live", "--why", "second")
    world.serving_id = registry_of(workspace).aliases()["live"]
    do("online-sim", "--serving", "live")
    if whole:
        os.environ.pop("MLFLOW_TRACKING_URI", None)
        workspace.plugins.load("tracker", "mlflow")(folder=workspace.harness_dir, experiment_name="vp/other", tags={})
        copy = world.copy(root.with_name("more"))
        assert here(copy, "run", "next").code == 0
        assert here(copy, "results", "export", "--out", str(world.archive)).code == 0
    do("doctor")
    return world


# -- what must never be lost -------------------------------------------------------------------------------------------


def stored(root: Path) -> dict[str, set[str]]:
    """Return everything that is stored, by kind, each item as one text: what was there before must be there after.

    Raises
    ------
    VpError
        If something is damaged.
    """
    forget()
    workspace = Workspace(root)
    runs, meta = workspace.results.canonical()
    key = pl.concat_str(pl.col(name).cast(pl.String) for name in ROW_KEY)
    rows = {k: bytes_digest(line.encode()) for k, line in zip(runs.select(key).to_series(), _lines(runs), strict=True)}
    trials = workspace.results.trial_rows().select("dataset_id", "settings", *ROW_KEY[1:]).unique()
    kept = [item for reserve in workspace.reserves.all() for item in workspace.reserves.confirmations(reserve)]
    registry = registry_of(workspace)
    return {
        "rows": {f"{name} {mark}" for name, mark in rows.items()},
        "runs": set(_lines(meta)),
        "trials": set(_lines(trials)),
        "confirmations": {json.dumps(_plain(item), sort_keys=True) for item in kept},
        "reserves": {reserve.id for reserve in workspace.reserves.all()},
        "versions": {version.serving_id for version in registry.versions()},
        "moves": {f"{entry.alias} {entry.from_id} {entry.to_id} {entry.why}" for entry in registry.history()},
        "datasets": {
            name
            for name in workspace.datasets.ids()
            if verify_files(workspace.datasets_dir / name).ok
        },
        "files": {path.name for path in workspace.raw.rglob("*.zst") if TEMPORARY not in str(path)},
        "tracked": tracked(root / MLFLOW),
    }  # fmt: skip


def _lines(frame: pl.DataFrame) -> list[str]:
    return frame.write_ndjson().splitlines()


def tracked(store: Path) -> set[str]:
    """Return the completely reported runs of an MLflow store, with their metrics; each run of the harness once."""
    if not store.exists():
        return set()
    with contextlib.closing(sqlite3.connect(store)) as connection:
        told = dict(connection.execute("SELECT run_uuid, value FROM tags WHERE key = 'vp.told'"))
        of = connection.execute("SELECT run_uuid, value FROM tags WHERE key = 'vp.run_id'").fetchall()
        figures: dict[str, list[Any]] = {}
        for run_uuid, *point in connection.execute("SELECT run_uuid, key, step, value FROM metrics ORDER BY 1, 2, 3"):
            figures.setdefault(run_uuid, []).append(point)
    return {f"{run_id} {bytes_digest(repr(figures.get(uuid)).encode())[:12]}" for uuid, run_id in of if uuid in told}


def missing(before: Mapping[str, set[str]], after: Mapping[str, set[str]]) -> list[str]:
    """Return what was stored before and is not any more."""
    return [f"{kind}: {item[:80]}" for kind, items in before.items() for item in sorted(items - after[kind])]


# -- answers -----------------------------------------------------------------------------------------------------------


def answer(root: Path, found: Outcome) -> str:
    """Return what a command answered, without the place of the workspace, times, and ids of batches."""
    text = found.out.replace(str(root.resolve()), "ROOT").replace(str(root), "ROOT")
    try:
        return json.dumps(_plain(json.loads(text)), sort_keys=True)
    except ValueError:
        return re.sub(r"\d\d:\d\d:\d\d\S*", "", text)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items() if key not in CIRCUMSTANCES}
    return [_plain(item) for item in value] if isinstance(value, list) else value
