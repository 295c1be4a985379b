"""The process beside the server: answers, errors, bounds, and its end."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from vpcore.errors import ResultsError
from vpcore_server import experiments, reader as reader_module
from vpcore_server.channel import Closed
from vpcore_server.reader import Reader


@pytest.fixture
def reader() -> Iterator[Reader]:
    made = Reader()
    yield made
    made.close()


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.slow
def test_a_question_and_the_end_of_its_process(reader: Reader, tmp_path: Path, monkeypatch) -> None:
    async def run() -> None:
        pid = await reader.ask(os.getpid)
        assert pid != os.getpid()
        with pytest.raises(ResultsError, match="No experiment is called 'x'"):
            await reader.ask(experiments.rows, tmp_path, "x")
        # An answer is kept where the question says so; clients that ask together ask once.
        stamps = [await reader.ask(time.monotonic_ns, keep=keep) for keep in (True, True, False)]
        assert stamps[0] == stamps[1] < stamps[2]
        # Too many questions are refused at once; a close ends the process in the middle of its work.
        monkeypatch.setattr(reader_module, "MOST_QUESTIONS", 1)
        slow = asyncio.create_task(reader.ask(time.sleep, 600))
        await asyncio.sleep(0)
        with pytest.raises(Closed, match="The server has 1 questions to answer, its most. Try again later.") as caught:
            await reader.ask(os.getpid)
        assert caught.value.code == 4429
        await asyncio.sleep(0.1)
        reader.close()
        with pytest.raises(ResultsError, match="The process that reads the workspace died. Ask again."):
            await slow
        until(lambda: gone(pid))

    asyncio.run(run())
