"""Pictures of a row, and of a table of two settings."""

from __future__ import annotations

import errno
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from vpcore import Workspace
from vpcore_report import plugin

Call = Callable[..., tuple[str, str]]


@pytest.mark.slow
def test_a_picture_is_written_whole_or_not_at_all(
    swept: Workspace, call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    best = json.loads(call("compare", "sweep", "--json")[0])["rows"][0]
    run_id = best["run_id"]
    (tmp_path / "pictures").mkdir()
    out = tmp_path / "pictures" / "a.png"
    call("plot", run_id, "--out", str(out))
    assert out.read_bytes().startswith(b"\x89PNG")
    out.unlink()
    call("plot", best["row"], "--out", str(out))
    assert out.read_bytes().startswith(b"\x89PNG")
    out.unlink()
    assert "No run is called 'zz'" in call("plot", "zz", "--out", str(out), code=2)[1]
    pictures = []
    for span in (
        ("--at", "2"),
        ("--at", "3"),
        ("--from", "15:00:30", "--to", "15:01:00"),
        ("--from", "15:01", "--minutes", "0.5"),
    ):
        call("plot", best["row"], "--out", str(out), *span)
        pictures.append(out.read_bytes())
        out.unlink()
    assert len(set(pictures)) == 4
    for wrong, message in (
        (("--at", "9999"), r"--at must be from 1 to \d+, the row's trades, was 9999"),
        (("--at", "1", "--from", "18:00"), "--from and --at exclude each other"),
        (("--to", "18:01"), "--to needs --from"),
        (("--from", "6 pm"), "--from must be a time of day, HH:MM or HH:MM:SS, was 6 pm"),
        (("--from", "12:00"), r"--from must be between \d\d:\d\d:\d\d and .*, was 12:00"),
        (("--from", "15:01", "--to", "15:00"), "--to must be later than --from, was 15:00"),
    ):
        assert re.search(message, call("plot", best["row"], "--out", str(out), *wrong, code=2)[1])

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("vpcore.storage.atomic.os.write", full)
        said = call("plot", run_id, "--out", str(out), code=2)[1]
    assert "The disk is full: could not write the picture" in said
    assert list(out.parent.iterdir()) == []


@pytest.mark.slow
def test_a_table_of_two_settings_as_a_picture(swept: Workspace, call: Call, tmp_path: Path) -> None:
    one, two = tmp_path / "one.png", tmp_path / "two.png"
    assert call("plot-pivot", "sweep", "gain", "tp", "--out", str(one))[0] == f"{one}\n"
    call("plot-pivot", "sweep", "gain", "tp_ticks", "--out", str(two))
    assert one.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert one.read_bytes() == two.read_bytes()
    assert "'gian'. Did you mean 'gain'?" in call("plot-pivot", "sweep", "gian", "tp", code=2)[1]


@pytest.mark.slow
def test_equity_of_several_rows(swept: Workspace, call: Call, tmp_path: Path) -> None:
    names = [row["row"] for row in json.loads(call("compare", "sweep", "--json")[0])["rows"][:2]]
    one, two, alone = (tmp_path / name for name in ("one.png", "two.png", "alone.png"))
    assert call("plot-equity", *names, "--out", str(one))[0] == f"{one}\n"
    call("plot-equity", *names, "--out", str(two))
    call("plot-equity", names[0], "--out", str(alone))
    assert one.read_bytes() == two.read_bytes() != alone.read_bytes()
    said = call("plot-equity", *names * 5, code=2)[1]
    assert "vp plot-equity must be at most 8 rows, was 10." in said


@pytest.mark.parametrize("command", [("plot", "run"), ("plot-equity", "row"), ("plot-pivot", "sweep", "gain", "tp")])
@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("a.jpg", "--out must be a file that ends in .png, was a.jpg."),
        ("none/a.png", "--out names a folder that does not exist: "),
    ],
)
def test_where_a_picture_cannot_go(
    proven: Workspace, call: Call, command: tuple[str, ...], out: str, message: str
) -> None:
    assert message in call(*command, "--out", out, code=2)[1]


def test_help_says_of_every_command_what_the_command_says() -> None:
    for component in plugin.vp_commands():
        assert component.load().__doc__.partition("\n")[0] == component.summary
