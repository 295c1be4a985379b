"""The core's components, registered through the hooks that every plugin uses."""

from __future__ import annotations

from vpcore.plugins.component import Component
from vpcore.plugins.hookspecs import hookimpl


@hookimpl
def vp_storages() -> tuple[Component, ...]:
    return (Component("local", "vpcore.storage.local:LocalStorage", "A directory of this machine."),)


@hookimpl
def vp_trackers() -> tuple[Component, ...]:
    return (
        Component("none", "vpcore.tracker.none:NoTracker", "No tracking beyond the results store."),
        Component("jsonl", "vpcore.tracker.jsonl:JsonlTracker", "One line of JSON per run, in the lake."),
    )


@hookimpl
def vp_executors() -> tuple[Component, ...]:
    return (
        Component("serial", "vpcore.executor.serial:SerialExecutor", "One run after the other, in this process."),
        Component("local", "vpcore.executor.local:LocalExecutor", "Processes of this machine."),
    )


@hookimpl
def vp_samplers() -> tuple[Component, ...]:
    return (
        Component("grid", "vpcore.sampler.designs:GridSampler", "Every combination."),
        Component("random", "vpcore.sampler.designs:RandomSampler", "Combinations drawn at random."),
        Component(
            "lhs", "vpcore.sampler.designs:LatinHypercubeSampler", "A Latin hypercube: each axis covered evenly."
        ),
    )


PACKAGES: dict[str, dict[str, str]] = {
    "function": {
        **dict.fromkeys(("execution", "report", "tearsheet"), "vpcore-report"),
        **dict.fromkeys(
            ("Confirmation", "Exit", "LiveBin", "LivePipeline", "Promotion", "confirm", "promote"), "vpcore-serving"
        ),
    },
    "executor": {"dask": "vpcore-dask"},
    "feed": {"databento": "vpcore-databento", "replay": "vpcore-serving"},
    "sampler": {"optuna": "vpcore-optuna"},
    "source": {"dbn": "vpcore-dbn", "synthetic": "vpcore-market"},
    "storage": {"object": "vpcore-object-store"},
    "tracker": {"mlflow": "vpcore-mlflow"},
}
"""By kind and name, the package of this project that has a component outside the core, for messages."""
