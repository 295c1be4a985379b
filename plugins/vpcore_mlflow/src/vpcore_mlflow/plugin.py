"""Components of this package; vpcore imports a target on first use."""

from __future__ import annotations

from vpcore import Component, hookimpl


@hookimpl
def vp_trackers() -> tuple[Component, ...]:
    return (Component("mlflow", "vpcore_mlflow.tracker:MlflowTracker", "One MLflow run per experiment and per run."),)


@hookimpl
def vp_commands() -> tuple[Component, ...]:
    summary = "Start MLflow's user interface on this lake's store, for this machine only, until Ctrl-C."
    return (Component("mlflow-ui", "vpcore_mlflow.ui:mlflow_ui", summary, "Experiments"),)
