"""Components of this package; vpcore imports a target on first use."""

from __future__ import annotations

from vpcore import Component, hookimpl


@hookimpl
def vp_samplers() -> tuple[Component, ...]:
    summary = "Optuna's tree-structured Parzen estimator: each round from the results before."
    return (Component("optuna", "vpcore_optuna.sampler:OptunaSampler", summary),)
