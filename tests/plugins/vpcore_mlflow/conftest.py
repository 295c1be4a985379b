"""The workspace of the tests on experiments, and a store of MLflow."""

from pathlib import Path

import pytest
from sweep_workspace import (  # noqa: F401
    edit,
    frames,
    importable,
    make_proven,
    make_workspace,
    paths,
    proofs,
    workspace,
)

from vpcore_mlflow import tracker


@pytest.fixture(scope="session")
def new_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store as MLflow makes it, to be copied."""
    import mlflow

    made = tmp_path_factory.mktemp("store") / tracker.STORE
    tracker._make_store(made, mlflow.MlflowClient)
    return made
