"""A fitted model as files, without pickle: facts and digests, skops, LightGBM's text.

``model.json`` has the facts of the model, the sha256 of every other file, and its own digest. ``model.skops`` has
scaling, calibration and estimator: a zip archive of a description and plain arrays. A LightGBM model is its text,
``booster.txt``. Reading checks digests first, then the types against an allow-list, then loads.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import io
import itertools
import json
import re
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vpcore import SignalError, TradeRules
from vpcore_signals_ml.models import Fitted

HEAD, SKOPS, BOOSTER = "model.json", "model.skops", "booster.txt"
FORMAT = 3
LIBRARIES = ("numpy", "numba", "scikit-learn", "lightgbm")
"""Libraries behind fits and predictions."""


def label_block(rules: TradeRules, tick_int: int) -> dict[str, Any]:
    """Return the part of the rules that decides labels, with the tick: a model belongs to it."""
    names = ("tp_ticks", "sl_ticks", "max_hold_bins", "latency_bins", "price", "stale_after_ms")
    halt = list(rules.daily_halt) if rules.daily_halt else None
    return {**{name: getattr(rules, name) for name in names}, "daily_halt": halt, "tick_int": tick_int}


def model_files(model: Fitted) -> dict[str, bytes]:
    """Return a model as files; the same model gives the same bytes."""
    import skops.io

    content = model._asdict()
    if not hasattr(model.estimator, "model_to_string"):
        return {SKOPS: _canonical(skops.io.dumps(content))}
    text = content.pop("estimator").model_to_string()
    return {SKOPS: _canonical(skops.io.dumps(content)), BOOSTER: text.encode()}


def model_of(files: Mapping[str, bytes], n_features: int, trusted: Sequence[str], where: str) -> Fitted:
    """Return the model in files.

    Raises
    ------
    SignalError
        If a type is not on the allow-list, the archive is damaged, or the arrays do not fit the features.
    """
    import skops.io

    try:
        unknown = sorted(set(skops.io.get_untrusted_types(data=files[SKOPS])) - set(trusted))
        if unknown:
            raise SignalError(
                f"{where}/{SKOPS} holds the type {unknown[0]}, which the signal does not name",
                fix="If its code is safe to run, add it to trusted_types of the signal.",
            )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # versions are named by `read_artifact`
            content = skops.io.loads(files[SKOPS], trusted=list(trusted))
        if BOOSTER in files:
            import lightgbm

            content["estimator"] = lightgbm.Booster(model_str=files[BOOSTER].decode())
            if content["estimator"].num_feature() != n_features:
                raise ValueError(f"the booster has {content['estimator'].num_feature()} features")
        model = Fitted(**content)
    except SignalError:
        raise
    except Exception as error:  # damaged files fail in many ways, in the parsers of several libraries
        raise SignalError(f"{where} holds no model: {type(error).__name__}: {error}.") from None
    linear = n_features + 1 if np.size(model.linear) else 0
    for name, n in {"mean": n_features, "scale": n_features, "linear": linear, "sigmoid": 2}.items():
        found = np.asarray(getattr(model, name))
        if found.dtype != np.float64 or found.shape != (n,) or np.isinf(found).any():
            raise SignalError(f"{where} holds no model: '{name}' must be finite float64 of shape ({n},).")
    return model


def _canonical(archive: bytes) -> bytes:
    """Return a skops archive without its times and addresses of objects."""
    source = zipfile.ZipFile(io.BytesIO(archive))
    schema, arrays, number = source.read("schema.json").decode(), {}, itertools.count(1)
    for name in source.namelist():
        if name != "schema.json":
            data = _without_padding(source.read(name))
            own = f"{hashlib.sha256(data).hexdigest()[:24]}{Path(name).suffix}"
            arrays[own], schema = data, schema.replace(f'"{name}"', f'"{own}"')
    schema = re.sub(r'("__id__": )\d+', lambda found: f"{found[1]}{next(number)}", schema)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as target:
        for name, data in (("schema.json", schema.encode()), *sorted(arrays.items())):
            target.writestr(zipfile.ZipInfo(name), data)
    return buffer.getvalue()


def _without_padding(data: bytes) -> bytes:
    """Return the bytes of an array file; between the fields of its records stands 0 instead of old memory."""
    array = np.load(io.BytesIO(data), allow_pickle=False)
    if not array.dtype.names:
        return data
    clean = np.zeros(array.shape, array.dtype)
    for name in array.dtype.names:
        clean[name] = array[name]
    buffer = io.BytesIO()
    np.save(buffer, clean, allow_pickle=False)
    return buffer.getvalue()


def versions() -> dict[str, str]:
    """Return the installed version of each library behind a model."""
    return {name: importlib.metadata.version(name) for name in LIBRARIES}


def write_artifact(folder: Path, facts: Mapping[str, Any], files: Mapping[str, bytes]) -> None:
    """Write a model into an existing folder."""
    for name, data in files.items():
        (folder / name).write_bytes(data)
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in sorted(files.items())}
    content = {"format": FORMAT, **facts, "files": digests}
    content["digest"] = _digest(content)
    (folder / HEAD).write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")


def read_artifact(folder: Path, facts: Mapping[str, Any]) -> dict[str, bytes]:
    """Return the files of a model; warn of other versions of the libraries.

    Raises
    ------
    SignalError
        If the model is missing, was changed, or has other facts (``signal``, ``version``, ``features``, ``labels``).
    """
    where, name = folder / HEAD, facts["signal"]
    try:
        content = json.loads(where.read_bytes())
        wanted, fitted_with = dict(content["files"]), dict(content["libraries"])
        digest = content.pop("digest")
        found = {key: content[key] for key in ("format", *facts)} | {"features": list(content["features"])}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise SignalError(f"{where} is no model of signal '{name}': {error}.") from None
    if _digest(content) != digest:
        raise SignalError(f"{where} was changed after it was saved: its digest does not match. Restore it from a copy.")
    for key, value in {"format": FORMAT, **facts}.items():
        if key == "features" and found[key] != value:
            raise SignalError(f"{where} has other features than signal '{name}': {_difference(found[key], value)}")
        if found[key] != value:
            raise SignalError(f"{where} is no model for signal '{name}': its {key} is {found[key]!r}, not {value!r}.")
    files = {}
    for file, sha in sorted(wanted.items()):
        if Path(file).name != file:
            raise SignalError(f"{where} names a file outside its folder: {file!r}.")
        try:
            files[file] = (folder / file).read_bytes()
        except OSError as error:
            raise SignalError(f"{folder / file} cannot be read: {error}.") from None
        if hashlib.sha256(files[file]).hexdigest() != sha:
            raise SignalError(f"{folder / file} was changed after it was saved: its sha256 does not match {where}.")
    other = [f"{key} {was} (here {now})" for key, now in versions().items() if (was := fitted_with.get(key)) != now]
    if other:
        warnings.warn(f"The model of signal '{name}' was fitted with {', '.join(other)}.", stacklevel=2)
    return files


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _difference(found: Sequence[Any], features: Sequence[str]) -> str:
    if len(found) != len(features):
        return f"{len(features)} are required, {len(found)} was found."
    at = next(i for i, (a, b) in enumerate(zip(found, features, strict=True)) if a != b)
    return f"number {at + 1} is {found[at]!r}, not {features[at]!r}."
