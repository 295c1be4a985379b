"""The core's own components, registered like a stranger's."""

from __future__ import annotations

from vpcore.plugins.component import Component
from vpcore.plugins.hookspecs import hookimpl


@hookimpl
def vp_sources() -> tuple[Component, ...]:
    return (
        Component(
            "dbn", "vpcore.source.dbn.source:DbnSource", "Databento .dbn and .dbn.zst files of market-by-order records."
        ),
        Component(
            "synthetic", "vpcore.source.synthetic:SyntheticSource", "A calibrated market, simulated order by order."
        ),
    )


@hookimpl
def vp_storages() -> tuple[Component, ...]:
    return (Component("local", "vpcore.storage.local:LocalStorage", "A directory of this machine."),)


@hookimpl
def vp_trackers() -> tuple[Component, ...]:
    return (
        Component("none", "vpcore.tracker.none:NoTracker", "No tracking beyond the results store."),
        Component("mlflow", "vpcore.tracker.mlflow:MlflowTracker", "One MLflow run per experiment and per run."),
        Component("jsonl", "vpcore.tracker.jsonl:JsonlTracker", "One line of JSON per run, in the lake."),
    )


@hookimpl
def vp_executors() -> tuple[Component, ...]:
    return (
        Component("serial", "vpcore.executor.serial:SerialExecutor", "One run after the other, in this process."),
        Component("local", "vpcore.executor.local:LocalExecutor", "Processes of this machine."),
        Component("dask", "vpcore.executor.dask:DaskExecutor", "Workers of a Dask cluster, of this machine or many."),
    )
