"""`vp fetch` against a gateway on loopback that behaves like the real one, with its faults."""

from __future__ import annotations

import datetime
import fcntl
import json
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from databento_history import KEY, Exchange, Gateway, certificate, serving
from definitions import definition

from vpcore import Workspace
from vpcore.canonical import file_digest
from vpcore.kernels.records import F_BAD_TS_RECV, F_SNAPSHOT, MBO_DTYPE, MBO_RTYPE
from vpcore.source import SourceRequest
from vpcore_cli.app import run
from vpcore_databento import historical
from vpcore_dbn.source import DbnSource

NS = 10**9
DAY = 86_400 * NS
DAY0 = int(datetime.datetime(2024, 3, 5, tzinfo=datetime.UTC).timestamp()) * NS
NUMBER = 17077
NAME = "glbx-mdp3-esh4-20240305.mbo.dbn.zst"

if shutil.which("openssl") is None:
    pytest.skip("needs the program openssl, for a certificate of 127.0.0.1", allow_module_level=True)


def session(number: int, n: int = 6000) -> np.ndarray:
    """A day: a snapshot at 00:00, then live records until 21:00 UTC, several with one receive time."""
    rng = np.random.default_rng(number)
    records = np.zeros(n, MBO_DTYPE)
    records["length"], records["rtype"], records["publisher_id"] = MBO_DTYPE.itemsize // 4, MBO_RTYPE, 1
    records["instrument_id"], records["order_id"] = number, rng.integers(1, 2**62, n)
    records["size"], records["sequence"] = rng.integers(1, 50, n), np.arange(n)
    records["price"] = 5000 * NS + rng.integers(-40, 40, n) * (NS // 4)
    records["action"], records["side"] = ord("A"), np.where(rng.random(n) < 0.5, ord("B"), ord("A"))
    times = np.sort(rng.integers(60 * NS, 21 * 3600 * NS, n)) // (20 * NS) * (20 * NS)
    times[: n // 10] = 0
    records["flags"] = 128
    records["flags"][: n // 10] = F_SNAPSHOT | F_BAD_TS_RECV
    records["ts_recv"] = records["ts_event"] = DAY0 + times
    return records


RECORDS = {name: session(number) for name, number in (("ESH4", NUMBER), ("ESM4", 5602))}


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture
def gateway(pem: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gateway]:
    exchange = Exchange(
        records=RECORDS,
        numbers={"ESH4": NUMBER, "ESM4": 5602, "XYH4": 9},
        continuous={"ES.v.0": {"2024-03-05": "ESH4", "2024-03-06": "ESM4"}},
        parents={"ES.FUT": ["ESH4", "ESM4"], "XY.FUT": ["XYH4"]},
        definitions=[
            definition("ESH4", "ES", 0.25, tick_value=12.5, instrument_id=NUMBER),
            definition("ESM4", "ES", 0.25, tick_value=12.5, instrument_id=5602),
            definition("XYH4", "XY", 0.5, tick_value=10, instrument_id=9),
        ],
    )
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(pem))
    monkeypatch.setenv(historical.KEY_VARIABLE, KEY)
    monkeypatch.setattr(historical, "WAITS_S", (0.0, 0.01, 0.01))
    with serving(exchange, pem) as found:
        yield found


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.delenv("VP_ROOT", raising=False)
    workspace, _ = Workspace.create(tmp_path / "ws")
    monkeypatch.chdir(workspace.root)
    return workspace


def fetch(gateway: Gateway, *arguments: str) -> int:
    return run(["fetch", *arguments, "--gateway", f"127.0.0.1:{gateway.port}"])


def records_of(path: Path, symbol: str = "ESH4") -> np.ndarray:
    with DbnSource().open(SourceRequest(symbol, DAY0, DAY0 + DAY, files=(path,))) as stream:
        return np.concatenate([chunk.records.copy() for chunk in stream])


def left(workspace: Workspace) -> list[str]:
    return sorted(path.relative_to(workspace.raw).as_posix() for path in workspace.raw.rglob("*") if path.is_file())


# -- what it is for ----------------------------------------------------------------------------------------------------


def test_cost_first_then_a_file_with_its_provenance(
    gateway: Gateway, workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fetch(gateway, "ESH4", "2024-03-05", "--estimate") == 0
    said = "ESH4 mbo of GLBX.MDP3, 2024-03-05 00:00:00 to 2024-03-06 00:00:00 UTC: 6,000 records, 0.3 MB, 0.00 USD"
    assert said in capsys.readouterr().err
    assert gateway.downloads == []
    assert left(workspace) == []
    assert fetch(gateway, "ESH4", "2024-03-05") == 2  # no terminal to ask at
    assert "costs 0.00 USD, and there is no terminal to ask at. Add --yes." in capsys.readouterr().err
    assert gateway.downloads == []

    assert fetch(gateway, "ESH4", "2024-03-05", "--yes") == 0
    out = capsys.readouterr()
    path = workspace.raw / NAME
    assert out.out == f"{path}\n"
    assert "The last record is at 2024-03-05 20:5" in out.err
    assert f"Next: vp new-pipeline {path}" in out.err
    assert records_of(path).tobytes() == RECORDS["ESH4"].tobytes()
    told = json.loads((workspace.raw / f"{NAME}.json").read_text())
    assert (told["sha256"], told["records"], told["parts"]) == (file_digest(path), 6000, 1)
    assert (told["requested"], told["contract"], told["instrument_id"]) == ("ESH4", "ESH4", NUMBER)
    assert told["cost_usd"] == pytest.approx(56 * 6000 / 1e9 * 2.5)
    assert left(workspace) == [NAME, f"{NAME}.json"]

    assert fetch(gateway, "ESH4", "2024-03-05", "--yes") == 0
    assert "It is in the lake already, byte for byte; nothing was downloaded." in capsys.readouterr().err
    assert len(gateway.downloads) == 1


def test_the_question_at_a_terminal(gateway: Gateway, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    answers = iter([False, True])
    monkeypatch.setattr("typer.confirm", lambda text, err: next(answers))
    assert fetch(gateway, "ESH4", "2024-03-05") == 1
    assert left(workspace) == []
    assert fetch(gateway, "ESH4", "2024-03-05") == 0
    assert NAME in left(workspace)


def test_a_window_starts_at_the_snapshot(
    gateway: Gateway, workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fetch(gateway, "ESH4", "2024-03-05", "--start", "09:30", "--end", "11:00", "--yes") == 0
    err = capsys.readouterr().err
    assert "The request starts 14.5 h before the window, at 00:00 UTC: the snapshot of the book comes then." in err
    path = workspace.raw / "glbx-mdp3-esh4-20240305-until-20240305T160000.mbo.dbn.zst"
    found = records_of(path)
    assert found["flags"][0] & F_SNAPSHOT
    times = RECORDS["ESH4"]["ts_recv"]
    assert found.tobytes() == RECORDS["ESH4"][times < np.uint64(DAY0 + 16 * 3600 * NS)].tobytes()
    assert (
        fetch(
            gateway,
            "ESH4",
            "2024-03-05",
            "--start",
            "09:30",
            "--end",
            "11:00",
            "--timezone",
            "UTC",
            "--estimate",
            "--json",
        )
        == 0
    )
    assert json.loads(capsys.readouterr().out)["request"]["end_ns"] == DAY0 + 11 * 3600 * NS


def test_a_continuous_symbol_is_fetched_as_its_contract(
    gateway: Gateway, workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fetch(gateway, "ES.v.0", "2024-03-05", "--yes") == 0
    assert "ES.v.0 is ESH4 then." in capsys.readouterr().err
    told = json.loads((workspace.raw / f"{NAME}.json").read_text())
    assert (told["requested"], told["contract"]) == ("ES.v.0", "ESH4")
    assert fetch(gateway, str(NUMBER), "2024-03-05", "--estimate") == 0
    assert f"{NUMBER} is ESH4 then." in capsys.readouterr().err


def test_definitions_write_or_compare_the_instrument(
    gateway: Gateway, workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fetch(gateway, "ES.FUT", "2024-03-05", "--definitions", "--yes") == 0
    assert "The instrument ES agrees: tick 0.25, multiplier 50." in capsys.readouterr().err
    assert fetch(gateway, "XYH4", "2024-03-05", "--definitions", "--yes") == 0
    written = workspace.configs / "instruments" / "XY.yaml"
    assert str(written) in capsys.readouterr().out
    assert workspace.instrument("XYH4").tick_value == 10
    written.write_text("root: XY\ntick_size: 1\nmultiplier: 20\n")
    assert fetch(gateway, "XYH4", "2024-03-05", "--definitions") == 2
    message = "The definition of XYH4 has tick 0.5 and multiplier 20.0; configs/instruments/XY.yaml has 1 and 20. Change the file"
    assert message in capsys.readouterr().err
    assert len(gateway.downloads) == 2


def test_the_result_is_a_pipeline(gateway: Gateway, workspace: Workspace) -> None:
    """The chain from an account to specs that hold."""
    assert fetch(gateway, "ES.v.0", "2024-03-05", "--yes") == 0
    assert run(["new-pipeline", f"lake/raw/{NAME}", "--name", "first"]) == 0
    assert workspace.experiment("first").to_harness_config().pipeline.symbol == "ESH4"


# -- interrupted downloads ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cuts", [[0.6], [0.0001], [0.3, 0.5, 0.9], [0.02, 0.999]])
def test_a_cut_download_goes_on_from_its_last_record(gateway: Gateway, workspace: Workspace, cuts: list[float]) -> None:
    gateway.faults.cut = list(cuts)
    assert fetch(gateway, "ESH4", "2024-03-05", "--yes") == 0
    assert records_of(workspace.raw / NAME).tobytes() == RECORDS["ESH4"].tobytes()
    assert len(gateway.downloads) == len(cuts) + 1
    starts = [fields["start"] for fields in gateway.downloads]
    assert starts == sorted(starts)
    assert left(workspace) == [NAME, f"{NAME}.json"]
    assert json.loads((workspace.raw / f"{NAME}.json").read_text())["sha256"] == file_digest(workspace.raw / NAME)


def test_a_download_that_never_ends_is_kept_for_the_next_command(
    gateway: Gateway, workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    gateway.faults.cut = [0.6] + [0.00001] * 9
    assert fetch(gateway, "ESH4", "2024-03-05", "--yes") == 2
    err = capsys.readouterr().err
    assert "records are kept. Run the same command again: it goes on from there." in err
    assert not (workspace.raw / NAME).exists()
    gateway.faults.cut = []
    asked = len(gateway.downloads)
    assert fetch(gateway, "ESH4", "2024-03-05", "--yes") == 0
    assert records_of(workspace.raw / NAME).tobytes() == RECORDS["ESH4"].tobytes()
    assert len(gateway.downloads) == asked + 1
    assert gateway.downloads[-1]["start"] > gateway.downloads[0]["start"]


@pytest.mark.slow
def test_kill_9_in_the_middle_of_a_download(gateway: Gateway, workspace: Workspace) -> None:
    gateway.faults.hold = hold = threading.Event()
    command = [
        sys.executable,
        "-m",
        "vpcore_cli",
        "fetch",
        "ESH4",
        "2024-03-05",
        "--yes",
        "--gateway",
        f"127.0.0.1:{gateway.port}",
    ]
    process = subprocess.Popen(command, cwd=workspace.root, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    part = workspace.raw / f".{NAME}.partial" / "part-0000"
    while not part.exists() or part.stat().st_size < 60_000:
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert not (workspace.raw / NAME).exists()
    assert run(["inspect", "--no-book", str(part)]) == 2  # a part is no file
    gateway.faults.hold = None
    hold.set()
    assert fetch(gateway, "ESH4", "2024-03-05", "--yes") == 0
    assert records_of(workspace.raw / NAME).tobytes() == RECORDS["ESH4"].tobytes()
    assert gateway.downloads[-1]["start"] > gateway.downloads[0]["start"]
    assert left(workspace) == [NAME, f"{NAME}.json"]


def test_parts_of_another_request_are_not_used(gateway: Gateway, workspace: Workspace) -> None:
    folder = workspace.raw / f".{NAME}.partial"
    folder.mkdir()
    (folder / "part-0000").write_bytes(b"of another day")
    (folder / "request.json").write_text("{}")
    assert fetch(gateway, "ESH4", "2024-03-05", "--yes") == 0
    assert records_of(workspace.raw / NAME).tobytes() == RECORDS["ESH4"].tobytes()


def test_a_wrong_count_keeps_nothing(
    gateway: Gateway, workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    gateway.faults.miscount = 1
    assert fetch(gateway, "ESH4", "2024-03-05", "--yes") == 2
    assert (
        f"{NAME} must hold 6,001 records, as Databento counts them, was 6,000. Nothing was kept."
        in capsys.readouterr().err
    )
    assert left(workspace) == []


def test_a_file_of_other_bytes_stays(
    gateway: Gateway, workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    (workspace.raw / NAME).write_bytes(b"mine")
    assert fetch(gateway, "ESH4", "2024-03-05", "--yes") == 2
    assert (
        f"{NAME} is there already, with other bytes than this request wrote, or without its provenance."
        in capsys.readouterr().err
    )
    assert (workspace.raw / NAME).read_bytes() == b"mine"
    assert gateway.downloads == []


def test_two_processes_do_not_write_one_file(
    gateway: Gateway, workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = workspace.raw / f".{NAME}.partial"
    folder.mkdir()
    with (folder / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert fetch(gateway, "ESH4", "2024-03-05", "--yes") == 2
    assert "Another process downloads into" in capsys.readouterr().err


# -- refusals: one sentence each, nothing half-written -----------------------------------------------------------------


@pytest.mark.parametrize("refusal, message", [
    ((403, "license_not_found_unauthorized", "A live data license is required to access GLBX.MDP3 data after 2024-03-04T00:00Z."), "The account has no permission for these data: license_not_found_unauthorized: A live data license"),
    ((402, "account_insufficient_funds", "Top up."), "The account has too little credit: account_insufficient_funds: Top up. Add credit"),
    ((422, "data_end_after_available_end", "The dataset GLBX.MDP3 has data available up to '2024-03-05 04:00'."), "Databento refused the request \\(data_end_after_available_end: The dataset GLBX.MDP3 has data available up to"),
    ((429, "rate_limit", "Slow down."), "Could not resolve the symbol: Databento answered 429"),
    ((500, "internal", "Oops."), "Could not resolve the symbol: Databento answered 500"),
])  # fmt: skip
def test_a_refusal_is_one_sentence(
    gateway: Gateway,
    workspace: Workspace,
    capsys: pytest.CaptureFixture[str],
    refusal: tuple[int, str, str],
    message: str,
) -> None:
    gateway.faults.refuse = refusal
    assert fetch(gateway, "ESH4", "2024-03-05", "--yes") == 2
    err = capsys.readouterr().err
    assert re.search(message, err)
    assert err.count("\n") == 1
    assert left(workspace) == []


def test_a_refusal_in_the_middle_of_a_download(
    gateway: Gateway, workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    gateway.faults.refuse = (403, "license_not_found_unauthorized", "No.")
    gateway.faults.refuse_only = "get_range"
    assert fetch(gateway, "ESH4", "2024-03-05", "--yes") == 2
    assert "The account has no permission for these data" in capsys.readouterr().err
    assert not (workspace.raw / NAME).exists()


def test_server_errors_are_waited_out(gateway: Gateway, workspace: Workspace) -> None:
    gateway.faults.unavailable = 3
    assert fetch(gateway, "ESH4", "2024-03-05", "--yes") == 0


def test_the_clock_of_this_machine(gateway: Gateway, workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    gateway.faults.clock_s = -7200
    gateway.faults.refuse = (422, "data_end_after_available_end", "Not yet.")
    assert fetch(gateway, "ESH4", "2024-03-05", "--yes") == 2
    assert "The clock of this machine is 7,2" in capsys.readouterr().err


def test_no_key_and_a_refused_key(
    gateway: Gateway, workspace: Workspace, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(historical.KEY_VARIABLE, "db-wrong")
    assert fetch(gateway, "ESH4", "2024-03-05") == 2
    out = capsys.readouterr()
    assert "Databento refuses the key in DATABENTO_API_KEY. Take one from https://databento.com/portal/keys" in out.err
    assert "db-wrong" not in out.err + out.out
    monkeypatch.setenv(historical.KEY_VARIABLE, " ")
    assert fetch(gateway, "ESH4", "2024-03-05") == 2
    assert "DATABENTO_API_KEY is not set. Take a key from https://databento.com/portal/keys" in capsys.readouterr().err


def test_the_key_is_nowhere(
    gateway: Gateway, workspace: Workspace, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    gateway.faults.cut = [0.5]
    assert fetch(gateway, "ESH4", "2024-03-05", "--yes", "--json") == 0
    gateway.faults.refuse = (400, "bad", f"What is {KEY}?")
    assert fetch(gateway, "ESM4", "2024-03-05") == 2
    out = capsys.readouterr()
    assert "What is (key)?" in out.err
    assert KEY not in out.out + out.err + caplog.text
    assert all(KEY.encode() not in path.read_bytes() for path in workspace.root.rglob("*") if path.is_file())


def test_nobody_answers(workspace: Workspace, gateway: Gateway, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["fetch", "ESH4", "2024-03-05", "--gateway", "127.0.0.1:9"]) == 2
    assert "Could not resolve the symbol: Databento did not answer, or broke off" in capsys.readouterr().err


def test_an_answer_that_is_not_understood(
    gateway: Gateway, workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    gateway.faults.garbage = "get_cost"
    assert fetch(gateway, "ESH4", "2024-03-05") == 2
    assert "Could not ask for the cost: " in capsys.readouterr().err


def test_an_unknown_symbol_and_a_holiday(
    gateway: Gateway, workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fetch(gateway, "ESH9", "2024-03-05", "--yes") == 2
    assert "GLBX.MDP3 has no symbol ESH9 between 2024-03-05 00:00:00 to" in capsys.readouterr().err
    gateway.faults.refuse, gateway.faults.refuse_only = (
        (422, "symbology_invalid_request", "None of the symbols could be resolved."),
        "resolve",
    )
    assert fetch(gateway, "ESH9", "2024-03-05", "--yes") == 2
    assert "GLBX.MDP3 has no symbol ESH9 between" in capsys.readouterr().err
    gateway.faults.refuse = None
    gateway.exchange.conditions["2024-12-25"] = "missing"
    assert fetch(gateway, "ESH4", "2024-12-25", "--yes") == 2
    err = capsys.readouterr().err
    assert (
        "no record of ESH4 in 2024-12-25 00:00:00 to 2024-12-26 00:00:00 UTC: the exchange was closed (a holiday or a weekend)"
        in err
    )
    assert "Databento says: 2024-12-25 missing." in err
    assert left(workspace) == []


def test_degraded_days_are_said_and_kept(
    gateway: Gateway, workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    gateway.exchange.conditions["2024-03-05"] = "degraded"
    assert fetch(gateway, "ESH4", "2024-03-05", "--yes") == 0
    assert "Databento says of the data: 2024-03-05 degraded." in capsys.readouterr().err
    assert json.loads((workspace.raw / f"{NAME}.json").read_text())["conditions"] == {"2024-03-05": "degraded"}


@pytest.mark.parametrize("arguments, message", [
    (["ESH4", "5.3.2024"], "DATE must be a day as 2024-03-05, was '5.3.2024'"),
    (["ESH4", "2024-03-05", "--start", "25:00"], "--start must be a time of day"),
    (["ESH4", "2024-03-05", "--start", "11:00", "--end", "10:00"], "--end must be after --start 11:00, was 10:00. Fetch each day on its own."),
    (["ESH4", "2024-03-05", "--start", "11:00", "--timezone", "Mars"], "--timezone must be an IANA time zone"),
    (["ESH4", "2024-03-05", "--definitions", "--start", "11:00"], "--start and --end go without --definitions"),
    (["ES.FUT", "2024-03-05"], "ES.FUT stands for 2 contracts between 2024-03-05 00:00:00 to 2024-03-06 00:00:00 UTC: ESH4, ESM4. A book is"),
    (["ES.v.0", "2024-03-05", "--start", "18:00", "--end", "20:00"], "ES.v.0 stands for 2 contracts between"),
])  # fmt: skip
def test_wrong_arguments(
    gateway: Gateway, workspace: Workspace, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert fetch(gateway, *arguments) == 2
    assert message in capsys.readouterr().err
