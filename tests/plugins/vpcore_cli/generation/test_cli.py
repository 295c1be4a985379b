from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from vpcore import Workspace
from vpcore.errors import VpError
from vpcore_cli.app import build_app


@pytest.fixture
def vp(workspace, monkeypatch):
    app = build_app(workspace.plugins)
    monkeypatch.setattr(Workspace, "find", lambda root, plugins: workspace)
    runner = CliRunner()

    def run(*arguments, code=0):
        result = runner.invoke(app, list(arguments))
        if isinstance(result.exception, VpError):
            raise result.exception
        assert result.exit_code == code, result.output + repr(result.exception)
        return result

    return run


def test_generate_list_verify(vp, workspace, put_tape, put_pipeline):
    assert "The lake has no dataset yet" in vp("list-datasets").stderr
    put_tape()
    made = vp("generate", put_pipeline())
    dataset_id = made.stdout.strip()
    assert workspace.datasets.ids() == [dataset_id]
    assert "Made in" in made.stderr
    again = json.loads(vp("generate", "p", "--json").stdout)
    assert again["dataset_id"] == dataset_id
    assert again["created"] is False
    assert again["n_bins"] == 20
    assert "Was there already: 20 bins" in vp("generate", "p").stderr

    (row,) = json.loads(vp("list-datasets", "--json").stdout)
    assert (row["dataset_id"], row["symbol"], row["bins"]) == (dataset_id, "ESZ3", 20)
    assert row["start_utc"] == "2023-11-14 22:13:20"
    assert row["end_utc"] == "2023-11-14 22:13:22"
    assert dataset_id in vp("list-datasets").stdout
    details = json.loads(vp("list-datasets", "--details", "p").stdout)
    assert details == workspace.datasets.manifest(dataset_id)

    answer = json.loads(vp("verify", dataset_id, "--json").stdout)
    assert answer["ok"] is True
    rebuilt = json.loads(vp("verify", "p", "--rebuild", "--json").stdout)
    assert rebuilt["rebuilt"] is True
    assert rebuilt["compared_by"] == "bytes"
    assert "compared byte for byte: equal" in vp("verify", "p", "--rebuild").stderr


def test_a_hand_changed_file(vp, workspace, put_tape, put_pipeline):
    put_tape()
    dataset_id = vp("generate", put_pipeline()).stdout.strip()
    path = workspace.datasets.path(dataset_id) / "grid_clean.parquet"
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 4
    path.chmod(0o644)
    path.write_bytes(data)
    result = vp("verify", dataset_id, code=1)
    assert "grid_clean.parquet  changed" in result.stdout
    assert "is not as it was written" in result.stderr
    assert json.loads(vp("verify", dataset_id, "--rebuild", "--json", code=1).stdout)["ok"] is False


def test_one_damaged_manifest_leaves_the_others_listed(vp, workspace, put_tape, put_pipeline):
    put_tape()
    vp("generate", put_pipeline())
    bad = vp("generate", put_pipeline("q")).stdout.strip()
    path = workspace.datasets.path(bad) / "manifest.json"
    path.chmod(0o644)
    path.write_text("{")
    result = vp("list-datasets", "--json")
    listed = json.loads(result.stdout)
    assert [entry["dataset_id"] for entry in listed if "error" in entry] == [bad]
    assert len(listed) == 2
    assert f"Dataset '{bad}' cannot be listed" in result.stderr
