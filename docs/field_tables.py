"""Print the tables of docs/reference/configuration.md: every field of every kind of spec, from the models."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import NamedTuple

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from vpcore.config.experiment import ExperimentSpec
from vpcore.config.fields import allowed_range, field_at
from vpcore.config.instruments import InstrumentSpec
from vpcore.config.pipeline import PipelineSpec
from vpcore.config.serving import ServingSpec
from vpcore.config.workspace import WorkspaceSpec
from vpcore.engine import EngineParams
from vpcore_cli.fields import default_of, type_of

_SPECS: dict[str, tuple[str, type[BaseModel]]] = {
    "instrument": ("Instrument: `configs/instruments/<root>.yaml`", InstrumentSpec),
    "pipeline": ("Pipeline: `configs/pipelines/<name>.yaml`", PipelineSpec),
    "serving": ("Serving: `configs/serving/<name>.yaml`", ServingSpec),
    "experiment": ("Experiment: `configs/experiments/<name>.yaml`", ExperimentSpec),
    "workspace": ("Workspace: `configs/workspace.yaml`", WorkspaceSpec),
}

_UNIT_OF_SUFFIX = {"_ms": "ms", "_ns": "ns", "_bins": "bins", "_ticks": "ticks"}
_UNITS = {
    "parallel.timeout_seconds": "s",
    "tick_size": "points",
    "multiplier": "currency per point",
    "fee_per_side": "currency",
    "reserve.confirmations": "rows",
    "pipeline.tau_velocity": "s",
    "pipeline.tau_acceleration": "s",
    "pipeline.tau_jerk": "s",
    "pipeline.tau_rest_decay": "s",
    "pipeline.composite_floor": "contracts/s",
    "pipeline.flow_windows": "bins",
    "scoring.zscore_min_periods": "bins",
    "scoring.zscore_scale_floor": "1/s, 1/s^2, 1/s^3",
    "projection.damping_lambda": "1/s",
    "eval.calibration_bins": "bins",
    "eval.null_draws": "draws",
    "eval.bootstrap_draws": "draws",
    "eval.splits.groups": "groups",
    "eval.splits.train_groups": "groups",
    "eval.splits.test_groups": "groups",
    "select.min_signals": "signals",
    "sweep.sample.n": "combinations",
    "sweep.sample.round": "combinations",
    "parallel.max_workers": "processes",
    "executor.max_workers": "processes",
    "parallel.keep_mb": "MB",
}
"""Units that the name of a field does not say. A number in neither table has none."""


class Field(NamedTuple):
    """One line of the table."""

    name: str
    type: str
    unit: str
    range: str
    default: str
    meaning: str


def fields_of(kind: str) -> list[Field]:
    """Return every field of a kind of spec, dotted; nested fields follow their owner."""
    return list(_walk(_SPECS[kind][1], ""))


def _walk(model: type[BaseModel], prefix: str) -> Iterator[Field]:
    documented = _parameters_section(model)
    for name, info in model.model_fields.items():
        full = f"{prefix}{name}"
        inner = (
            EngineParams
            if name in ("engine", "pipeline") and type_of(info) == "mapping to values"
            else field_at(model, (name,))
        )
        nested = inner if isinstance(inner, type) and issubclass(inner, BaseModel) else None
        meaning = info.description or documented.get(name, "")
        if nested is EngineParams and full == "engine":
            yield Field(full, "mapping", "", "the fields of `pipeline` below", "", meaning)
        elif nested is not None:
            yield Field(full, "mapping", "", "", "required" if info.is_required() else "", meaning)
            yield from _walk(nested, f"{full}.")
        else:
            yield Field(full, type_of(info), _unit(full), allowed_range(info), _default(info), meaning)


def _default(info: FieldInfo) -> str:
    return "required" if info.is_required() else default_of(info)


def _unit(full: str) -> str:
    if full in _UNITS:
        return _UNITS[full]
    return next((unit for suffix, unit in _UNIT_OF_SUFFIX.items() if full.endswith(suffix)), "")


_PARAMETER = re.compile(r"^(\w+) : .*\n((?: {4}.*\n?)+)", re.MULTILINE)


def _parameters_section(model: type[BaseModel]) -> dict[str, str]:
    """Return the parameter texts of a numpydoc docstring, for fields that lack a description."""
    text = inspect.cleandoc(model.__doc__ or "")
    return {name: " ".join(body.split()) for name, body in _PARAMETER.findall(text + "\n")}


def _code(default: str) -> str:
    return default if default in ("", "required") else f"`{default}`"


def field_tables() -> str:
    """Return the tables of docs/reference/configuration.md: every field of every kind of spec, as Markdown."""
    lines = []
    for kind, (title, _) in _SPECS.items():
        lines += [f"## {title}", "", "| field | type | unit | range | default | meaning |", "|---|---|---|---|---|---|"]
        for field in fields_of(kind):
            cells = (f"`{field.name}`", field.type, field.unit, field.range, _code(field.default), field.meaning)
            lines.append("| " + " | ".join(cell.rstrip(".").replace("|", "\\|") for cell in cells) + " |")
        lines.append("")
    return "\n".join(lines).rstrip("\n") + "\n"


if __name__ == "__main__":
    print(field_tables(), end="")
