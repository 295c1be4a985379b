"""Components of this package; vpcore imports a target on first use."""

from __future__ import annotations

from vpcore import Component, hookimpl


@hookimpl
def vp_executors() -> tuple[Component, ...]:
    summary = "Workers of a Dask cluster, of this machine or many."
    return (Component("dask", "vpcore_dask.executor:DaskExecutor", summary),)
