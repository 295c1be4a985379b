"""What commands say to names and values that are not quite right."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

Vp = Callable[..., int]


def test_a_dataset_goes_by_the_name_of_its_pipeline_everywhere(vp: Vp, capsys: pytest.CaptureFixture[str]) -> None:
    assert vp("online-sim", "--signal", "plain", "--dataset-id", "open", "--bin-budget-ms", "1000", "--json") == 0
    dataset_id = json.loads(capsys.readouterr().out)["dataset_id"]
    assert dataset_id.startswith("ESH4_2023-12-25_1800_1859__open__")
    assert vp("check", "plain", "--dataset-id", "open", "--json") == 0
    assert json.loads(capsys.readouterr().out)["signals"][0]["dataset_id"] == dataset_id
    for command in ("check", "online-sim"):
        signal = ("plain",) if command == "check" else ("--signal", "plain")
        assert vp(command, *signal, "--dataset-id", "opne") == 2
        assert "No dataset is called 'opne'" in capsys.readouterr().err


def test_the_budget(vp: Vp, capsys: pytest.CaptureFixture[str]) -> None:
    simulate = ("online-sim", "--signal", "plain", "--dataset-id", "open", "--bin-budget-ms")
    for wrong in ("0", "-1"):
        assert vp(*simulate, wrong) == 2
        assert f"--bin-budget-ms must be greater than 0 ms, was {wrong}." in capsys.readouterr().err
    assert vp(*simulate, "0.000001") == 1
    assert "Over the budget: p99 was " in capsys.readouterr().err


def test_compare_knows_the_names_of_stored_signals(vp: Vp, capsys: pytest.CaptureFixture[str]) -> None:
    vp("run", "sweep")
    capsys.readouterr()
    assert vp("compare", "--signal", "plan") == 2
    message = "No row of a signal 'plan' is stored. Did you mean 'plain'? There are rows of: plain, scored."
    assert message in capsys.readouterr().err
    assert vp("compare", "--stale") == 0
    assert "Every stored row is of the installed code." in capsys.readouterr().err
