"""A workspace with an experiment on three sessions."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sweep_workspace import THREE, add_dataset

from vpcore import Workspace
from vpcore.experiment.run import harness_config

Edit = Callable[..., None]


@pytest.fixture
def sessions(make_proven: Callable[[str], Workspace], edit: Edit) -> Workspace:
    """Three days with a dataset each, of which the first is that of the other tests."""
    workspace = make_proven("ws")
    edit(THREE, name="three")
    for seed, (name, n_bins) in enumerate(
        zip(harness_config(workspace, "three").dataset_ids[1:], (4000, 1000), strict=True), 11
    ):
        add_dataset(workspace, name, seed, n_bins)
    return workspace
