"""The conformance check of the saved models of learning signals."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from vpcore.errors import SignalError
from vpcore.signal import MLSignal, SignalStream, batch, frames

if TYPE_CHECKING:
    from vpcore.signal.conformance.checks import Subject

REPLAYED_BINS = 400
"""Number of bins for the predictions of a loaded model."""


def model_problem(subject: Subject) -> str:
    """Return the problem of a signal's saved model; empty for a pass.

    Requirements: two saves after the session give equal bytes, without pickle. A loaded model predicts other values
    than a fresh start. A second save and load keep the predictions, bit for bit. The signal refuses an empty folder
    and a model with other `MLSignal.feature_names`.
    """
    signal = subject.signal
    assert isinstance(signal, MLSignal)
    if np.isnan(subject.values).all():  # nothing was fitted: there is no model
        return ""
    state = batch(signal, subject.data, subject.rules).state
    if state is None:
        driver = SignalStream(signal, subject.context)
        for frame in frames(signal, subject.data):
            driver.push(frame)
        state = driver.state
    with tempfile.TemporaryDirectory(prefix="vpcore-check-") as root:
        folders = [Path(root) / name for name in ("first", "again", "loaded", "empty")]
        for folder in folders:
            folder.mkdir()
        first, again, loaded, empty = folders
        signal.save_model(state, first)
        signal.save_model(state, again)
        return (
            _files_problem(first, again)
            or _refusal_problem(signal, subject, empty, "an empty folder as a model")
            or _loading_problem(signal, subject, first, loaded)
            or _foreign_problem(signal, subject, first)
        )


def _files_problem(first: Path, again: Path) -> str:
    contents = {path.name: path.read_bytes() for path in sorted(first.iterdir())}
    if not contents:
        return "saves a model of no files. Write what load_model needs into the folder."
    for name, data in contents.items():
        if data[:1] == b"\x80" and data[-1:] == b".":
            return f"saves its model as a pickle ('{name}'), which executes code when it is loaded. Save plain arrays."
        if not (again / name).is_file() or (again / name).read_bytes() != data:
            return f"saves the same model as other bytes the second time ('{name}'). Leave out times and random names."
    return ""


def _loading_problem(signal: MLSignal, subject: Subject, first: Path, loaded: Path) -> str:
    state = signal.load_model(first, subject.context)
    signal.save_model(state, loaded)
    values = _replay(signal, subject, signal.load_model(first, subject.context))
    once_more = _replay(signal, subject, signal.load_model(loaded, subject.context))
    differs = np.flatnonzero((values != once_more) & ~(np.isnan(values) & np.isnan(once_more)))
    if len(differs):
        at = int(differs[0])
        return (
            f"loses something of its model on the way: bin {at} is {values[at]!r} with the loaded model but "
            f"{once_more[at]!r} when that was saved and loaded once more. Save every digit."
        )
    fresh = _replay(signal, subject, signal.start(subject.context))
    if ((values == fresh) | (np.isnan(values) & np.isnan(fresh))).all():
        return (
            f"does not use a loaded model: the first {len(values)} bins are those of a fresh start. "
            "load_model returns a state that predicts with it."
        )
    return ""


def _foreign_problem(signal: MLSignal, subject: Subject, folder: Path) -> str:
    names = signal.feature_names
    if not names:
        return ""
    other = (*names[1:], "another_feature")
    cls = type(signal)
    foreign = type(cls.__name__, (cls,), {"feature_names": property(lambda self: other), "__module__": cls.__module__})
    return _refusal_problem(foreign(signal.params), subject, folder, "a model of other features")


def _refusal_problem(signal: Any, subject: Subject, folder: Path, what: str) -> str:
    try:
        signal.load_model(folder, subject.context)
    except SignalError:
        return ""
    except Exception as error:
        return f"refuses {what} with {type(error).__name__}, not with SignalError: {error}"
    return f"loads {what}. Raise SignalError in load_model."


def _replay(signal: MLSignal, subject: Subject, state: Any) -> npt.NDArray[np.float64]:
    """Return the values of the first bins, from a state on."""
    part = subject.data.prefix(min(subject.data.n_bins, REPLAYED_BINS))
    driver = SignalStream(signal, subject.context)
    driver.state = state
    return np.array([driver.push(frame) for frame in frames(signal, part)])
