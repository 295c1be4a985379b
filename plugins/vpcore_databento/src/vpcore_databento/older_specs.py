"""Specs of the older harness in the fields of this one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from vpcore.config.loader import Document, load_document
from vpcore.config.messages import FORMER, validate, validate_value
from vpcore.config.store import FOLDERS, MODELS, ConfigStore, kind_of
from vpcore.engine import EngineParams
from vpcore.errors import ConfigError, listed
from vpcore.storage.atomic import storage_errors, write_atomic

_COEFFICIENTS = ("v_add", "v_rest_pos", "a_add", "v_pull", "v_fill", "v_rest_neg", "a_pull")
RENAMED = {
    "capture.dt": "capture.date",
    "scoring.neutral_threshold": "scoring.threshold_neutral",
    "eval.min_signals": "select.min_signals",
    **{f"pipeline.c{i}_{name}": f"pipeline.c{i}" for i, name in enumerate(_COEFFICIENTS, start=1)},
}
"""Fields with another name, by the name in the older harness."""

DROPPED = (
    "pipeline_code_version",
    "capture.product_type",
    "pipeline.n_absolute_ticks",
    "pipeline.bucket_size_dollars",
    "pipeline.flow_rollup_weights",
    "signal.weights",
    "projection.cubic_scale",
    "stream_schema",
    "visualization",
    "eval.tick_size",
    "tracking.run_name_prefix",
)
"""Fields without a counterpart."""

DEFAULTS = {"tp_ticks": [8], "sl_ticks": [4], "cooldown_bins": 20}
"""Defaults of the older `eval` that are others here: written out, so that an experiment keeps its meaning."""

TIMEZONE = "America/New_York"
"""Time zone of every time in the older harness."""


def convert(document: Document, store: ConfigStore) -> tuple[str, dict[str, Any], list[str]]:
    """Return the kind of a spec, the spec in today's fields, and a note per field that moved or was left out.

    Raises
    ------
    ConfigError
        If the file is no spec, or is of another product than futures.
    """
    kind = kind_of(document)
    if kind not in ("pipeline", "serving", "experiment"):
        raise ConfigError(
            f"{document.name} is a spec of kind '{kind}'",
            fix="The older harness has pipelines, serving specs and experiments.",
        )
    spec: dict[str, Any] = {
        key: dict(value) if isinstance(value, Mapping) else value for key, value in document.data.items()
    }
    product = spec.get("capture", {}).get("product_type", "future_mbo") if kind == "pipeline" else "future_mbo"
    if product != "future_mbo":
        raise ConfigError(
            "capture.product_type", required="future_mbo", was=f"'{product}'", where=document.where(("capture",))
        )
    notes = []
    for older, name in RENAMED.items():
        if (value := _pop(spec, older)) is not None:
            section, _, field = name.partition(".")
            spec.setdefault(section, {})[field] = value
            notes.append(f"{older} is now {name}")
    notes += [
        f"{older} is left out. {FORMER.get(older) or FORMER[older.rpartition('.')[2]]}"
        for older in DROPPED
        if _pop(spec, older) is not None
    ]
    if kind == "pipeline":
        spec["capture"].setdefault("timezone", TIMEZONE)
    elif kind == "serving":
        spec["signal"] = spec.get("signal") or {"name": "derivative"}
        notes += _known_only(spec["signal"], "params", str(spec["signal"].get("name")), store)
    else:
        spec["eval"] = DEFAULTS | spec.get("eval", {})
        per_signal = spec.get("sweep", {}).get("per_signal", {})
        for signal in per_signal:
            notes += _known_only(per_signal, signal, signal, store)
    return kind, spec, notes


def _pop(spec: dict[str, Any], dotted: str) -> Any:
    """Remove a field and return its value; None without the field. An empty section goes with it."""
    section, _, field = dotted.rpartition(".")
    owner = spec.get(section) if section else spec
    if not isinstance(owner, dict) or field not in owner:
        return None
    value = owner.pop(field)
    if section and not owner:
        del spec[section]
    return value


def _known_only(owner: dict[str, Any], key: str, signal: str, store: ConfigStore) -> list[str]:
    """Leave out parameters that the installed signal of this name lacks. An unknown signal keeps its parameters."""
    if signal not in store.plugins.components("signal") or not isinstance(owner.get(key), Mapping):
        return []
    known = store.plugins.load("signal", signal).Params.json_schema().get("properties", {})
    unknown = [name for name in owner[key] if name not in known]
    owner[key] = {name: value for name, value in owner[key].items() if name in known}
    return [
        f"{signal}.{name} is left out: the signal '{signal}' has no such parameter. Parameters: {listed(known)}."
        for name in unknown
    ]


def convert_files(store: ConfigStore, paths: Iterable[Path]) -> list[tuple[Path, list[str]]]:
    """Convert files and write them into the workspace: all of them, or none after an error.

    Parameters
    ----------
    store : ConfigStore
        Its `configs` receives the specs.
    paths : iterable of Path
        YAML files, or folders whose YAML files are taken at any depth. Published versions are skipped.

    Returns
    -------
    list of (Path, list of str)
        Written file, and its notes.

    Raises
    ------
    ConfigError
        If a file is unreadable, a field is unknown or wrong, or a spec of that name exists.
    """
    found = [file for path in paths for file in (sorted(path.rglob("*.yaml")) if path.is_dir() else [path])]
    found = [file for file in found if file.parent.name not in ("serving_versions", "gold_campaigns")]
    if not found:
        raise ConfigError("There is no .yaml file to convert", fix="Name files or folders of the older harness.")
    made: dict[Path, tuple[str, list[str]]] = {}
    for file in found:
        document = load_document(file)
        kind, spec, notes = convert(document, store)
        converted = Document(spec, document.name, None, document.lines)
        validate(MODELS[kind], converted)
        if kind == "pipeline":
            validate_value(EngineParams, spec.get("pipeline", {}), converted, ("pipeline",))
        target = store.configs / FOLDERS[kind] / f"{spec['name']}.yaml"
        if target.exists() or target in made:
            raise ConfigError(f"{target} is there already", where=document.name, fix="Move it away first.")
        made[target] = (yaml.safe_dump(spec, sort_keys=False, allow_unicode=True), notes)
    for target, (text, _) in made.items():
        with storage_errors(target, "write the spec"):
            write_atomic(target, text.encode(), exclusive=True)
    return [(target, notes) for target, (_, notes) in made.items()]
