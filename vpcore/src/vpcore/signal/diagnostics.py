"""Diagnostics of learning signals: figures of a run beside its trades, in files beside the results.

Ranking and promotion ignore diagnostics, and a file may hold times. A new computation of a run replaces its files.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vpcore.canonical import sealed, unsealed
from vpcore.errors import StorageError
from vpcore.rules import TradeRules
from vpcore.signal.base import MLSignal, SignalData, SignalResult
from vpcore.signal.drivers import DeclaredData
from vpcore.signal.extent import Extent
from vpcore.storage import Folder

DIAGNOSTICS = "diagnostics"
"""Folder of the files, beside the results."""


def keep_diagnostics(
    signal: MLSignal,
    dataset: SignalData,
    rules: TradeRules,
    result: SignalResult,
    folder: Path | Folder,
    extent: Extent,
) -> None:
    """Write the diagnostics of a result into a folder; a signal may have none.

    Parameters
    ----------
    signal : MLSignal
        The signal, for its `MLSignal.diagnose`.
    dataset, rules, result
        As for `MLSignal.diagnose`.
    folder : Path or Folder
        Folder of the run, with one file per take-profit and stop.
    extent : {"none", "basic", "full"}
        See `Extent`.

    Raises
    ------
    StorageError
        If writing fails.
    """
    if extent == "none":
        return
    barriers = {"tp_ticks": rules.tp_ticks, "sl_ticks": rules.sl_ticks}
    try:
        found = signal.diagnose(DeclaredData(dataset, signal), rules, result, full=extent == "full")
        text = None if found is None else _text({**found, **barriers})
    except Exception as error:  # looking back must not cost the run its results
        text = _text({**barriers, "error": f"{type(error).__name__}: {error}"})
    if text is None:
        return
    name = f"tp{rules.tp_ticks}_sl{rules.sl_ticks}.json"
    Folder.of(folder).put(name, text.encode(), "write the diagnostics of a run", durable=False)


def _text(found: dict[str, Any]) -> str:
    plain = json.loads(json.dumps(found, allow_nan=False))
    return json.dumps(sealed(plain), allow_nan=False, indent=1, sort_keys=True) + "\n"


def read_diagnostics(folder: Path | Folder) -> list[dict[str, Any]]:
    """Return the stored diagnostics of a run, by take-profit and stop.

    Raises
    ------
    StorageError
        If a file is unreadable, or was changed since it was written.
    """
    found = []
    for path in Folder.of(folder).here(anew=True).glob("tp*_sl*.json"):
        try:
            content = unsealed(path.read_bytes())
        except OSError as error:
            raise StorageError(f"{path} cannot be read: {error}. Delete it, or compute the run again.") from None
        if content is None:
            raise StorageError(f"{path} was changed since it was written", fix="Delete it, or compute the run again.")
        found.append(content)
    return sorted(found, key=lambda item: (item["tp_ticks"], item["sl_ticks"]))


def refit_series(look: Mapping[str, Any]) -> dict[str, list[tuple[int, float]]]:
    """Return what changed from fit to fit, by name: (bin of the fit, value), in order.

    Names are ``examples``, ``fit_ms``, ``importance/FEATURE`` (share of all importance) and ``drift/FEATURE``
    (Kolmogorov-Smirnov distance between the bins of a fit and its use), for the leading features of each fit.

    Parameters
    ----------
    look : mapping
        One item of `read_diagnostics`.
    """
    series: dict[str, list[tuple[int, float]]] = {}
    times = look.get("circumstances", {}).get("fit_ms", ())
    for i, fit in enumerate(look.get("retrains", ())):
        found = {"examples": fit["n_train"] + fit["n_valid"]} | ({"fit_ms": times[i]} if i < len(times) else {})
        for kind in ("importance", "drift"):
            found |= {f"{kind}/{feature}": value for feature, value in fit.get(kind, ())}
        for name, value in found.items():
            series.setdefault(name, []).append((fit["bin_seq"], float(value)))
    return series
