"""Tags, notes, archiving and descriptions; the trials that a run adds."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

import vpcore as vp
from vpcore_cli.notes import Notes, note_key

Call = Callable[..., tuple[str, str]]


@pytest.mark.slow
def test_remarks_change_what_is_shown_and_no_figure(ws: vp.Workspace, call: Call, edit: Callable[..., None]) -> None:
    edit(("name: sweep\n", "name: sweep\ndescription: Does gain help?\n"), name="sweep")
    _, said = call("run", "sweep")
    assert "sweep has 40 new rows. Each with trades of its own is a trial on this market, which has none yet." in said
    assert "new row" not in call("run", "sweep")[1]
    before = json.loads(call("compare", "sweep", "--json", "--limit", "99")[0])["rows"]
    assert "sweep: Does gain help?" in call("compare", "sweep")[1]
    first, second = before[0]["row"], before[1]["row"]
    assert f"Row {first}: good, later." in call("results", "tag", first, "later", "good")[1]
    assert "- looks odd" in call("results", "note", first[:7], "looks odd")[1]
    assert f"Row {second}, archived: no tags." in call("results", "archive", second)[1]

    after = json.loads(call("compare", "sweep", "--json", "--limit", "99")[0])["rows"]
    assert [row["row"] for row in after] == [row["row"] for row in before if row["row"] != second]
    noted = {row["row"]: (row.pop("tags"), row.pop("notes"), row.pop("archived")) for row in after}
    assert noted[first] == (["good", "later"], ["looks odd"], False)
    assert after == [row for row in before if row["row"] != second]
    out, said = call("compare", "sweep")
    assert "tags" in out.splitlines()[0]
    assert "Archived and hidden: 1 row. See --archived." in said
    everything = json.loads(call("compare", "sweep", "--archived", "--json", "--limit", "99")[0])["rows"]
    assert [row["row"] for row in everything] == [row["row"] for row in before]
    tagged = json.loads(call("compare", "sweep", "--tag", "good", "--json")[0])["rows"]
    assert [row["row"] for row in tagged] == [first]
    call("results", "archive", second, "--undo")
    assert f"Row {first}: later." in call("results", "tag", first, "good", "--remove")[1]
    assert json.loads(call("compare", "sweep", "--tag", "good", "--json")[0])["rows"] == []
    assert "Does gain help?" in call("list-specs")[0]

    # Other code that computes the row again gives it another name; what was tried is the same.
    row = ws.results.find_row(first)
    assert note_key({**row, "run_id": "other", "row": "other", "core_digest": "other"}) == note_key(row)
    assert (
        "A tag must be 1 to 40 characters without blanks and commas, was 'a b'."
        in call("results", "tag", first, "a b", code=2)[1]
    )
    assert "A note must be some text, was empty." in call("results", "note", first, " ", code=2)[1]


def test_remarks_are_bounded_and_read_as_they_were_written(tmp_path: Path) -> None:
    notes = Notes(tmp_path / "notes")
    row = {"dataset_id": "d", "signal_name": "s", "signal_params_json": "{}", "scoring_json": None, "eval_json": "{}",
           "threshold": 0.5, "cooldown_bins": 3, "tp_ticks": 4, "sl_ticks": 4, "row": "r"}  # fmt: skip
    assert notes.all() == {}
    for text in ("one", "two"):
        notes.add(row, text=text)
    assert notes.of(row).texts == ("one", "two")
    assert notes.of({**row, "threshold": 0.6}).texts == ()
    with pytest.raises(vp.ResultsError, match="A note must be at most 2,000 characters, was 2,001"):
        notes.add(row, text="x" * 2001)
    notes.add(row, tags=[f"t{i}" for i in range(20)])
    with pytest.raises(vp.ResultsError, match="The tags of a row must be at most 20, was 21"):
        notes.add(row, tags=["more"])
    (tmp_path / "notes" / "a.json").write_text("{")
    with pytest.raises(vp.ResultsError, match=r"A note cannot be read.*a\.json.*Move it away"):
        notes.all()
