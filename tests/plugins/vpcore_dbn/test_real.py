"""The shared sample file through the real source, engine and writer."""

from __future__ import annotations

import shutil

import pytest
from real_data import ESH4, needs_esh4

from vpcore.generation.generate import generate_dataset
from vpcore.workspace import Workspace
from vpcore_cli.rebuild import rebuild

PIPELINE = """
name: {name}
capture: {{symbol: ESH4, date: 2023-12-25, start_time: "18:00", end_time: "{end}"}}
pipeline: {{columns: [composite, bid_depth]}}
"""


@pytest.fixture(scope="module")
def real_workspace(tmp_path_factory):
    root = tmp_path_factory.mktemp("real")
    (root / "configs" / "pipelines").mkdir(parents=True)
    (root / "lake" / "raw" / "cme").mkdir(parents=True)
    shutil.copy(ESH4, root / "lake" / "raw" / "cme")
    for name, end in (("open", "18:59"), ("whole", "19:00")):
        (root / "configs" / "pipelines" / f"{name}.yaml").write_text(PIPELINE.format(name=name, end=end))
    return Workspace(root)


@needs_esh4
def test_the_evening_open(real_workspace):
    result = generate_dataset(real_workspace, "open")
    dataset = result.dataset
    assert result.warnings == ()
    assert dataset.n_bins == 35_400
    assert (~dataset.valid).nonzero()[0].tolist() == [0]
    assert dataset.manifest["sources"][0]["path"] == f"cme/{ESH4.name}"
    assert not dataset.cold_start


@pytest.mark.slow
@needs_esh4
def test_the_whole_file(real_workspace):
    dataset = generate_dataset(real_workspace, "whole").dataset
    quality = dataset.manifest["data_quality"]
    names = ("add_contracts", "pull_contracts", "fill_contracts", "aggressor_fill_contracts", "hidden_contracts")
    assert [quality[name] for name in names] == [87_627, 73_849, 9_922, 265, 331]
    assert (quality["unknown_cancels"], quality["unknown_modifies"]) == (0, 0)
    assert quality["unattributed_fill_contracts"] == 14
    assert dataset.n_bins == 36_000
    assert dataset.bin("best_bid_price_int")[-1] == 4810_000_000_000
    assert dataset.bin("best_ask_price_int")[-1] == 4810_250_000_000
    one = generate_dataset(real_workspace, "open").dataset
    assert (dataset.grid("composite")[:35_400] == one.grid("composite")).all()
    assert rebuild(real_workspace, one.dataset_id).equal
