"""What this package registers. Nothing is imported before it is used."""

from __future__ import annotations

from vpcore import Component, hookimpl


@hookimpl
def vp_samplers() -> tuple[Component, ...]:
    summary = "Optuna's tree-structured Parzen estimator: each round from the results before."
    return (Component("optuna", "vpcore_optuna.sampler:OptunaSampler", summary),)
