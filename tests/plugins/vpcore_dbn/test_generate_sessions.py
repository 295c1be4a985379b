"""Datasets of an experiment's sessions: several at a time, resumed, the same bytes."""

from __future__ import annotations

import json
import os
import re
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from markets import INSTRUMENT, random_tape

from vpcore import SourceError, StorageError, Workspace, hookimpl
from vpcore.executor.local import LocalExecutor
from vpcore.executor.serial import SerialExecutor
from vpcore.experiment import sessions as sessions_module
from vpcore.experiment.progress import SweepProgress
from vpcore.experiment.run import harness_config
from vpcore.experiment.sessions import generate_sessions
from vpcore_cli.app import run
from vpcore_cli.watch import in_work
from vpcore_dbn.header import Mapping
from vpcore_dbn.writer import DbnWriter, encode_metadata

NS = 10**9
DAY = 86_400 * NS
FIRST = 1_700_006_400 * NS  # 2023-11-15 00:00 UTC, a Wednesday
DAYS = ("2023-11-15", "2023-11-16", "2023-11-17", "2023-11-20")


def put_day(workspace: Workspace, number: int) -> None:
    start = FIRST + number * DAY
    records = random_tape(number, 200, oddities=False)
    records = records[records["instrument_id"] == INSTRUMENT]
    shift = start + 3600 * NS - 1_700_000_000 * NS
    for name in ("ts_recv", "ts_event"):
        records[name] = (records[name].astype(np.int64) + shift).astype(np.uint64)
    mapping = Mapping("ESZ3", INSTRUMENT, start, start + DAY)
    path = workspace.raw / f"{number}.dbn"
    with DbnWriter(
        path, encode_metadata(dataset="TEST", start_ns=start, end_ns=start + DAY, mappings=[mapping])
    ) as out:
        out.write(records)


@pytest.fixture
def lake(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """Four days of three seconds, at 01:00 UTC."""
    for number in (0, 1, 2, 5):
        put_day(workspace, number)
    capture = "{symbol: ESZ3, date: 2023-11-15, start_time: '01:00', end_time: '01:00:03', timezone: UTC}"
    for place, text in (
        ("pipelines/days", f"name: days\ncapture: {capture}\npipeline: {{grid_radius_ticks: 4}}\n"),
        ("serving/days_base", "name: days_base\npipeline: days\nsignal: {name: plain}\n"),
        ("experiments/many", "name: many\nserving: days_base\ndates: {from: 2023-11-15, to: 2023-11-20}\n"),
    ):
        (workspace.configs / f"{place}.yaml").write_text(text)
    monkeypatch.delenv("VP_ROOT", raising=False)
    return workspace


def make(lake: Workspace, pool: Any, seen: list[SweepProgress] | None = None) -> list[str]:
    config = harness_config(lake, "many")
    with pool:
        made = list(generate_sessions(lake, config, lambda: pool, (seen if seen is not None else []).append))
    return [session.dataset_id() for session, _, _ in made]


def bytes_of(lake: Workspace, ids: list[str]) -> dict[str, bytes]:
    return {
        f"{name}/{path.name}": path.read_bytes()
        for name in ids
        for path in sorted((lake.datasets_dir / name).iterdir())
        if path.suffix == ".parquet"
    }


def remove(lake: Workspace, name: str) -> None:
    for path in (lake.datasets_dir / name).iterdir():
        path.unlink()
    (lake.datasets_dir / name).rmdir()


@pytest.mark.slow
def test_workers_make_the_bytes_of_one_process(lake: Workspace) -> None:
    ids = make(lake, SerialExecutor())
    assert [name.split("_")[1] for name in ids] == list(DAYS)
    serial = bytes_of(lake, ids)
    for name in ids:
        remove(lake, name)
    seen: list[SweepProgress] = []
    assert sorted(make(lake, LocalExecutor(2), seen)) == sorted(ids)
    assert bytes_of(lake, ids) == serial
    assert max(len(now.sessions) for now in seen) == 2
    assert seen[-1].done == 4
    assert seen[-1].sessions == ()
    assert make(lake, LocalExecutor(2)) == ids  # all there: nothing is started


@pytest.mark.slow
def test_the_hook_is_called_here_and_an_interruption_is_resumed(lake: Workspace) -> None:
    heard: list[str] = []
    plugin = ModuleType("plugin_that_hears")
    plugin.vp_dataset_generated = hookimpl(lambda dataset_id: heard.append(dataset_id))  # type: ignore[attr-defined]
    lake.plugins.register(plugin, "hears")
    config = harness_config(lake, "many")
    with LocalExecutor(2) as pool:
        some = generate_sessions(lake, config, lambda: pool)
        first = next(some)[0].dataset_id()
        some.close()
    assert heard == [first]
    left = set(config.dataset_ids) - set(lake.datasets.ids())
    assert left
    make(lake, SerialExecutor())
    assert set(lake.datasets.ids()) >= set(config.dataset_ids)
    assert sorted(heard[1:]) == sorted(left)


@pytest.mark.slow
def test_a_worker_that_dies_is_named(lake: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions_module, "dispatch", lambda pool, *rest, **more: _dispatch(pool))
    with pytest.raises(
        StorageError, match=r"The worker that generated ESZ3_2023-11-15.* ended: .*exit code 3.*max_workers"
    ):
        make(lake, LocalExecutor(2))


@pytest.mark.slow
def test_an_error_of_a_worker_is_the_error_of_its_session(lake: Workspace) -> None:
    (lake.raw / "5.dbn").write_bytes((lake.raw / "5.dbn").read_bytes()[:-7])
    with pytest.raises(SourceError, match="5.dbn is truncated"):
        make(lake, LocalExecutor(2))


def _dispatch(pool: LocalExecutor) -> Any:
    future = pool.submit(os._exit, 3)
    yield 0, future.exception()


def test_one_process_makes_them_one_by_one(lake: Workspace) -> None:
    seen: list[SweepProgress] = []
    assert [name.split("_")[1] for name in make(lake, SerialExecutor(), seen)] == list(DAYS)
    assert {now.sessions for now in seen} == {(f"{day}_0100_010003",) for day in DAYS}


def test_what_a_person_sees() -> None:
    assert in_work(SweepProgress("dataset", 3.4, 60.0, sessions=("a", "b"))) == ["3 of 60 datasets; in work: a, b"]
    assert in_work(SweepProgress("dataset", 3.0, 60.0)) == []


def test_the_command(lake: Workspace, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(lake.root)
    monkeypatch.setattr("vpcore_cli.app.Plugins", lambda: lake.plugins)
    assert run(["generate", "many", "--max-workers", "1"]) == 0
    out = capsys.readouterr()
    assert [line.split("_")[1] for line in out.out.split()] == list(DAYS)
    assert re.search(r"4 of 4: made in [0-9.]+ s: 30 bins, ", out.err)
    assert run(["generate", "many", "--json"]) == 0
    assert [fact["created"] for fact in json.loads(capsys.readouterr().out)] == [False] * 4
    assert run(["generate", "configs/experiments/many.yaml", "--json"]) == 0
    capsys.readouterr()
    same = lake.configs / "experiments" / "days.yaml"
    same.write_text("name: days\nserving: days_base\n")
    assert run(["generate", "days"]) == 0
    assert "is an experiment as well" not in capsys.readouterr().err  # its one session is that of the pipeline
    same.write_text(f"name: days\nserving: days_base\ndates: [{', '.join(DAYS)}]\n")
    assert run(["generate", "days"]) == 0
    assert (
        "'days' is an experiment as well. To generate all of its sessions: vp generate configs/experiments/days.yaml"
        in capsys.readouterr().err
    )
    (lake.raw / "5.dbn").unlink()
    remove(lake, next(path.name for path in lake.datasets_dir.glob("*2023-11-20*")))
    assert run(["generate", "many"]) == 2
    assert (
        "1 of the 4 sessions of experiment 'many' cannot be made, and nothing was computed" in capsys.readouterr().err
    )
