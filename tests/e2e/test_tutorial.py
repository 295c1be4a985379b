"""The documents work: every block of them runs, in order, in a clean environment and an empty folder."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from clean_env import CleanEnvironment, make_environment
from doc_blocks import Block, blocks_of
from real_data import ESH4, needs_esh4

pytestmark = pytest.mark.slow

DOCS = Path(__file__).parents[2] / "docs"


class Reader:
    """Somebody who reads a document and does what it says."""

    def __init__(self, environment: CleanEnvironment, folder: Path) -> None:
        self.environment = environment
        self.folder = folder
        self.said = ""

    def read(self, block: Block) -> None:
        if block.title is not None:
            path = self.folder / block.title
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text)
        elif block.language == "bash":
            # The folder that a block ends in is where the next one begins.
            place = self.environment.root / "folder"
            script = f"{block.text}\npwd > '{place}'\n"
            self._run(block, "bash", "-euo", "pipefail", "-c", script)
            self.folder = Path(place.read_text().strip())
        elif block.language == "python":
            self._run(block, self.environment.bin / "python", "-W", "error", "-c", block.text)
        elif block.language == "text":  # what was said by the block before it; "..." is anything
            for line in block.text.splitlines():
                pattern = ".*".join(r"\s+".join(re.escape(w) for w in part.split()) for part in line.split("..."))
                assert re.search(pattern, self.said), f"{block.where}: nobody said {line!r}\n{self.said}"
        else:
            raise AssertionError(f"{block.where}: a block of {block.language or 'no language'} cannot be tried")

    def _run(self, block: Block, *command: str | Path) -> None:
        done = self.environment.run(*command, cwd=self.folder, check=False)
        self.said = done.stdout + done.stderr
        assert done.returncode == 0, f"{block.where}:\n{block.text}\n{self.said}"


def test_plugins_of_every_kind(tmp_path: Path) -> None:
    environment = make_environment(tmp_path / "env")
    reader = Reader(environment, tmp_path)
    for block in blocks_of(DOCS / "how-to/plugins.md"):
        reader.read(block)
    assert reader.folder == tmp_path / "extras-lab"


def test_the_tutorial(tmp_path: Path) -> None:
    environment = make_environment(tmp_path / "env")
    work = tmp_path / "work"
    work.mkdir()
    reader = Reader(environment, work)
    blocks = blocks_of(DOCS / "how-to/writing-a-signal.md")
    assert {"bash", "python", "yaml", "text"} <= {block.language for block in blocks}
    for block in blocks:
        reader.read(block)
        if found := re.search(r"^(\d+) trades, (\S+) ticks each after costs$", reader.said, re.MULTILINE):
            n_trades, net = int(found[1]), found[2]
    lab = work / "lab"
    assert reader.folder == lab
    stored = json.loads(environment.vp("compare", "lean_first", "--limit", "100", "--json", cwd=lab).stdout)["rows"]
    # `evaluate` is one of the rows of `vp run`, its fee included.
    assert (n_trades, net) in {
        (row["trades"], f"{row['net_pnl_ticks']:+.2f}")
        for row in stored
        if (row["tp_ticks"], row["threshold"]) == (4, 0.6) and row["net_pnl_ticks"] is not None
    }
    assert len(list((lab / "configs/serving_versions").glob("*.yaml"))) == 1


def test_the_tutorial_of_learning_signals(tmp_path: Path) -> None:
    reader = Reader(make_environment(tmp_path / "env"), tmp_path)
    for block in blocks_of(DOCS / "how-to/learning-signal.md"):
        reader.read(block)
    assert len(list((tmp_path / "lab/configs/serving_versions").glob("*.yaml"))) == 1


def test_start_sweeps_serving_and_a_live_feed(tmp_path: Path) -> None:
    reader = Reader(make_environment(tmp_path / "env"), tmp_path)
    pages = ("start/own-experiment.md", "how-to/sweeps.md", "how-to/serving.md", "how-to/live-feed.md")
    blocks = [block for page in pages for block in blocks_of(DOCS / page)]
    port = _free_port()
    workspace = tmp_path / "my-workspace"
    try:
        for block in blocks:
            if block.title is None and block.language == "yaml":
                continue  # a part of a file
            reader.read(replace(block, text=block.text.replace("8765", port)))
    finally:
        if (server := workspace / "serve.pid").exists():
            with suppress(ProcessLookupError):
                os.kill(int(server.read_text()), signal.SIGTERM)
    assert (workspace / "row.png").stat().st_size > 10_000
    log = (workspace / "serve.log").read_text()
    assert f"Listening on http://127.0.0.1:{port}" in log
    assert "Stop it with Ctrl-C." in log


def _free_port() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return str(free.getsockname()[1])


@needs_esh4
def test_the_readme(tmp_path: Path) -> None:
    environment = make_environment(tmp_path / "env")
    downloads = tmp_path / "downloads"
    downloads.mkdir()
    shutil.copy(ESH4, downloads)
    reader = Reader(environment, tmp_path)
    setup, experiment, python = blocks_of(DOCS.parent / "README.md")
    reader.read(replace(setup, text=setup.text.replace("~/downloads", str(downloads))))
    reader.read(experiment)
    reader.read(python)
    published = (tmp_path / "my-workspace/configs/serving_versions").glob("*.yaml")
    assert ["verdict: unproven" in path.read_text() for path in published] == [True]
