"""A run looks at its dataset before it computes."""

from __future__ import annotations

import numpy as np
import pytest

from vpcore import Workspace
from vpcore.errors import DatasetError
from vpcore.experiment.run import run_experiment
from vpcore.kernels.records import MBO_DTYPE
from vpcore_dbn.header import Mapping
from vpcore_dbn.writer import DbnWriter, encode_metadata


def test_a_run_notices_a_changed_source_and_a_changed_dataset(workspace: Workspace) -> None:
    assert any("could not be checked: a.dbn" in warning for warning in run_experiment(workspace, "sweep").warnings)

    day, second = 1703462400 * 10**9, 10**9  # 2023-12-25 UTC
    metadata = encode_metadata(
        dataset="GLBX.MDP3",
        start_ns=day,
        end_ns=day + 86_400 * second,
        mappings=[Mapping("ESH4", 7, day, day + second)],
    )
    with DbnWriter(workspace.raw / "a.dbn", metadata) as writer:
        writer.write(np.zeros(1, MBO_DTYPE))
    with pytest.raises(DatasetError, match=r"was made from another a\.dbn: its sha256 was (ab){32} then"):
        run_experiment(workspace, "sweep")

    (workspace.raw / "a.dbn").unlink()
    (dataset_id,) = workspace.datasets.ids()
    path = workspace.datasets.path(dataset_id) / "bins.parquet"
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DatasetError, match=r"is not as it was written: bins\.parquet is changed"):
        run_experiment(workspace, "sweep")
