"""The documents work: every block of them runs, in order, in a clean environment and an empty folder."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import socket
import string
import struct
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from clean_env import CleanEnvironment, Resident, make_environment
from doc_blocks import Block, blocks_of
from real_data import ESH4, ESH4_OPEN_NS, needs_esh4, read_records

pytestmark = pytest.mark.slow

DOCS = Path(__file__).parents[2] / "docs"


class Reader:
    """Somebody who reads a document and does what it says.

    One process runs the blocks of Python and the plain lines of ``vp``, as long as no code changes; a shell runs the
    other lines.
    """

    def __init__(self, environment: CleanEnvironment, folder: Path, resident: Resident | None = None) -> None:
        self.environment = environment
        self.resident = resident or Resident(environment)
        self.folder = folder
        self.variables: dict[str, str] = {}
        self.said = ""

    def read(self, block: Block) -> None:
        if block.title is not None:
            path = self.folder / block.title
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text)
            if block.language == "python" and path.parent.name != "tests":  # `vp` imports no tests
                self.resident.close()
        elif block.language == "bash":
            self.said = ""
            lines: list[str] = []  # for the shell
            for line in block.text.splitlines():
                if (arguments := self._plain(line)) is None:
                    lines.append(line)
                    continue
                self._shell(block, lines)
                lines.clear()
                refused = arguments[-2:] == ["||", "true"]
                known = [string.Template(argument).substitute(self.variables) for argument in arguments]
                done = self.resident.vp(*(known[:-2] if refused else known), cwd=self.folder, check=False)
                if refused and done.returncode == 1:
                    done.returncode = 0
                self._check(block, line, done)
            self._shell(block, lines)
        elif block.language == "python":
            self.said = ""
            self._check(block, block.text, self.resident.python(block.text, cwd=self.folder, check=False))
        elif block.language == "text":  # what was said by the block before it; "..." is anything
            for line in block.text.splitlines():
                pattern = ".*".join(r"\s+".join(re.escape(w) for w in part.split()) for part in line.split("..."))
                assert re.search(pattern, self.said), f"{block.where}: nobody said {line!r}\n{self.said}"
        else:
            raise AssertionError(f"{block.where}: a block of {block.language or 'no language'} cannot be tried")

    @staticmethod
    def _plain(line: str) -> list[str] | None:
        """Return the arguments of a line that runs ``vp``, asking nothing of the shell but variables and ``|| true``."""
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        found = list(lexer)
        own = found[:-2] if found[-2:] == ["||", "true"] else found
        if own[:1] != ["vp"] or any(set(token) <= set("();<>|&") for token in own):
            return None
        return found[1:]

    def _shell(self, block: Block, lines: list[str]) -> None:
        """Run lines. The next ones begin in the folder where they end, with their variables."""
        if not lines:
            return
        text, place = "\n".join(lines), self.environment.root / "folder"
        names = re.findall(r"^(\w+)=", text, re.MULTILINE)
        kept = [f"printf %s \"${name}\" > '{self.environment.root / name}'" for name in names]
        script = "\n".join([text, f"pwd > '{place}'", *kept])
        if re.search(r"\bpip install\b", text):
            self.resident.close()
        self._check(
            block, text, self.environment.run("bash", "-euo", "pipefail", "-c", script, cwd=self.folder, check=False)
        )
        self.folder = Path(place.read_text().strip())
        self.variables |= {name: (self.environment.root / name).read_text() for name in names}

    def _check(self, block: Block, text: str, done: subprocess.CompletedProcess[str]) -> None:
        self.said += done.stdout + done.stderr
        assert done.returncode == 0, f"{block.where}:\n{text}\n{self.said}"


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    made = Reader(make_environment(tmp_path / "env"), tmp_path)
    yield made
    made.resident.close()


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Resident]:
    """A process for documents that install nothing."""
    made = Resident(make_environment(tmp_path_factory.mktemp("plain") / "env"))
    yield made
    made.close()


@pytest.fixture
def user(plain: Resident, tmp_path: Path) -> Reader:
    """A reader of documents that install nothing."""
    return Reader(plain.environment, tmp_path, plain)


def test_plugins_of_every_kind(reader: Reader, tmp_path: Path) -> None:
    for block in blocks_of(DOCS / "how-to/plugins.md"):
        reader.read(block)
    assert reader.folder == tmp_path / "extras-lab"


def test_the_tutorial(reader: Reader, tmp_path: Path) -> None:
    blocks = blocks_of(DOCS / "how-to/writing-a-signal.md")
    assert {"bash", "python", "yaml", "text"} <= {block.language for block in blocks}
    for block in blocks:
        reader.read(block)
        if found := re.search(r"^(\d+) trades, (\S+) ticks each after costs$", reader.said, re.MULTILINE):
            n_trades, net = int(found[1]), found[2]
    lab = tmp_path / "lab"
    assert reader.folder == lab
    stored = json.loads(reader.resident.vp("compare", "lean_first", "--limit", "100", "--json", cwd=lab).stdout)["rows"]
    # `evaluate` is one of the rows of `vp run`, its fee included.
    assert (n_trades, net) in {
        (row["trades"], f"{row['net_pnl_ticks']:+.2f}")
        for row in stored
        if (row["tp_ticks"], row["threshold"]) == (4, 0.6) and row["net_pnl_ticks"] is not None
    }
    assert len(list((lab / "configs/serving_versions").glob("*.yaml"))) == 1


def test_the_tutorial_of_learning_signals(reader: Reader, tmp_path: Path) -> None:
    for block in blocks_of(DOCS / "how-to/learning-signal.md"):
        reader.read(block)
    assert len(list((tmp_path / "lab/configs/serving_versions").glob("*.yaml"))) == 1


def test_start_sweeps_serving_and_a_live_feed(user: Reader, tmp_path: Path) -> None:
    pages = ("start/own-experiment.md", "how-to/sweeps.md", "how-to/serving.md", "how-to/live-feed.md")
    blocks = [block for page in pages for block in blocks_of(DOCS / page)]
    port = _free_port()
    workspace = tmp_path / "my-workspace"
    try:
        for block in blocks:
            if block.title is None and block.language == "yaml":
                continue  # a part of a file
            user.read(replace(block, text=block.text.replace("8765", port)))
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


def _begin_of_esh4(target: Path, minutes: int) -> None:
    """Write the sample's first minutes after the open, with the header of a request for them."""
    raw = bytearray(pa.CompressedInputStream(pa.OSFile(str(ESH4)), "zstd").read())
    header = 8 + int.from_bytes(raw[4:8], "little")
    end_ns = ESH4_OPEN_NS + minutes * 60 * 10**9
    struct.pack_into("<QQ", raw, 26, ESH4_OPEN_NS, end_ns)
    records = read_records(ESH4)
    n = int(np.searchsorted(records["ts_recv"], end_ns))
    with pa.CompressedOutputStream(pa.OSFile(str(target), "wb"), "zstd") as file:
        file.write(bytes(raw[:header]) + records[:n].tobytes())


@needs_esh4
def test_the_readme(user: Reader, tmp_path: Path) -> None:
    downloads = tmp_path / "downloads"
    downloads.mkdir()
    _begin_of_esh4(downloads / ESH4.name, minutes=25)
    setup, experiment, python = blocks_of(DOCS.parent / "README.md")
    user.read(replace(setup, text=setup.text.replace("~/downloads", str(downloads))))
    user.read(experiment)
    user.read(python)
    published = (tmp_path / "my-workspace/configs/serving_versions").glob("*.yaml")
    assert ["verdict: unproven" in path.read_text() for path in published] == [True]
    assert 'end_time: "18:25"' in (tmp_path / "my-workspace/configs/pipelines/first.yaml").read_text()
