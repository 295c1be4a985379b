"""``vp mlflow-ui``: MLflow's own pages on what the lake holds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vpcore_cli.common import RootOption

JOBS_VARIABLE = "MLFLOW_SERVER_ENABLE_JOB_EXECUTION"
"""Setting of mlflow: by default its server starts eight processes more, for jobs on language models."""


def mlflow_ui(
    port: Annotated[int, typer.Option("--port", min=1, max=65535, help="Port on 127.0.0.1.")] = 5000,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the command, and start nothing.")] = False,
    root: RootOption = None,
) -> None:
    """Start MLflow's user interface on this lake's store, for this machine only, until Ctrl-C."""
    import os
    import shlex
    import sys

    from vpcore_cli.common import open_workspace, say
    from vpcore_mlflow.tracker import ENVIRONMENT

    workspace = open_workspace(root)
    command = ui_command(workspace.harness_dir, port, sys.executable)
    print(f"http://127.0.0.1:{port}")
    say(shlex.join(command))
    say("It opens with pages for language models: runs are shown under 'Model training', at the top left.")
    if not dry_run:
        # In place of this process, so that who ends it ends the server.
        sys.stdout.flush()
        os.execve(command[0], command, {**ENVIRONMENT, JOBS_VARIABLE: "false", **os.environ})


def ui_command(folder: Path, port: int, python: str) -> list[str]:
    """Return the command that serves the store in `folder`.

    Raises
    ------
    PluginError
        If mlflow is not installed.
    ResultsError
        If there is no store.
    """
    import importlib.util
    import os

    from vpcore.errors import PluginError, ResultsError
    from vpcore_mlflow.tracker import ARTIFACTS, STORE, URI_VARIABLE

    if importlib.util.find_spec("mlflow") is None:
        raise PluginError("vp mlflow-ui needs mlflow, which is not installed. Run: pip install vpcore-mlflow")
    uri = os.environ.get(URI_VARIABLE, "")
    if uri.startswith(("http://", "https://")):
        raise ResultsError(f"Runs are reported to the server that {URI_VARIABLE} names. Open it: {uri}")
    store = folder / STORE
    if not uri and not store.is_file():
        raise ResultsError(
            f"There is no MLflow store in this lake yet ({store}). Report runs to it: "
            "vp track EXPERIMENT --tracker mlflow, or set tracking.backend: mlflow."
        )
    store_uri = uri or f"sqlite:///{store.absolute()}"
    return [
        python, "-m", "mlflow", "server", "--backend-store-uri", store_uri, "--host", "127.0.0.1", "--port", str(port),
        "--workers", "1", "--artifacts-destination", str((folder / ARTIFACTS).absolute()),
    ]  # fmt: skip
