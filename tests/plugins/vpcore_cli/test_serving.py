from __future__ import annotations

import json

import pytest
import stored_world
import yaml
from typer.testing import CliRunner

from vpcore import Workspace
from vpcore.errors import VpError
from vpcore_cli.app import build_app
from vpcore_serving.promote import promote
from vpcore_serving.registry import registry_of

bare_world, world = stored_world.bare_world, stored_world.world


@pytest.fixture
def vp(world, monkeypatch):
    app = build_app(world.workspace.plugins)
    monkeypatch.setattr(Workspace, "find", lambda root, plugins: world.workspace)
    runner = CliRunner()

    def run(*arguments, code=0):
        result = runner.invoke(app, list(arguments))
        if isinstance(result.exception, VpError):
            raise result.exception
        assert result.exit_code == code, result.output + repr(result.exception)
        return result

    return run


@pytest.mark.slow
def test_the_whole_chain(vp, world, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "Nothing is published yet" in vp("serving", "list").stderr
    one, two = world.run(gain=1.0), world.run(gain=2.0)
    world.store(one)
    world.store(two)
    first = vp("promote", "sweep", "--run-id", one.run_id, "--alias", "prod")
    assert "beats random entry, survives " in first.stderr
    assert "p_adj 0.00" in first.stderr
    assert "the best by net_pnl_ticks" in first.stderr
    first_id = first.stdout.strip()
    second = json.loads(
        vp("promote", "sweep", "--run-id", two.run_id, "--alias", "prod", "--why", "better", "--json").stdout
    )
    assert second["previous"] == first_id
    assert second["created"] is True

    listed = json.loads(vp("serving", "list", "--json").stdout)
    assert {row["serving_id"]: row["aliases"] for row in listed} == {first_id: [], second["serving_id"]: ["prod"]}
    shown = json.loads(vp("serving", "show", "prod", "--json").stdout)
    assert shown["runtime"]["signal"]["params"] == {"gain": 2.0}
    assert yaml.safe_load(vp("serving", "show", "prod").stdout) == shown
    assert vp("serving", "rollback", "prod", "--why", "worse").stdout.strip() == first_id
    moves = json.loads(vp("serving", "history", "prod", "--json").stdout)
    assert [(move["action"], move["why"]) for move in moves] == [
        ("rollback", "worse"),
        ("promote", "better"),
        ("promote", ""),
    ]

    path = vp("serving", "export", "prod").stdout.strip()
    assert path.endswith(f"{first_id}.serving.json")
    assert vp("serving", "import", path, "--alias", "live").stdout.strip() == first_id
    assert registry_of(world.workspace).aliases() == {"live": first_id, "prod": first_id}
    file = registry_of(world.workspace).file_of(first_id)
    file.unlink()
    vp("serving", "restore", "prod")
    assert file.exists()


def test_refused(vp, world):
    world.require_proven()
    run = world.run()
    world.store(run, n_signals=1)
    row = world.workspace.results.query_runs(run_id=[run.run_id])["row"][0]
    with pytest.raises(VpError, match="Not promoted") as refused:
        vp("promote", "sweep", "--run-id", run.run_id, "--alias", "prod", "--row", row)
    assert refused.value.exit_code == 1
    done = vp("promote", "sweep", "--run-id", run.run_id, "--alias", "prod", "--row", row, "--force", "--why", "test")
    assert "Overridden by --force: 'sweep' kept no data back" in done.stderr


def test_the_listing_and_the_difference_on_the_command_line(world, vp):
    one, two = world.run(gain=1.0), world.run(gain=2.0)
    world.store(one)
    world.store(two)
    spec = promote(world.workspace, "sweep", one.run_id, alias="prod").spec
    other = promote(world.workspace, "sweep", two.run_id, alias="next").spec
    rows = {row["serving_id"]: row for row in json.loads(vp("serving", "list", "--json").stdout)}
    row = rows[spec.serving_id]
    assert (row["aliases"], row["signal"], row["symbol"]) == (["prod"], "level", "ESZ3")
    rules = spec.runtime.rules
    assert (row["threshold"], row["tp_ticks"], row["sl_ticks"]) == (spec.runtime.threshold, rules.tp_ticks, 4)
    assert row["verdict"] == "unproven"
    header, *lines = vp("serving", "list").stdout.splitlines()
    assert header.split()[:7] == ["serving_id", "aliases", "signal", "symbol", "threshold", "tp_ticks", "sl_ticks"]
    assert len(lines) == 2
    differ = json.loads(vp("serving", "diff", "prod", other.serving_id, "--json").stdout)
    assert {"name": "signal.params.gain", "a": 1.0, "b": 2.0} in differ
    assert vp("serving", "diff", "prod", spec.serving_id).stdout == ""
