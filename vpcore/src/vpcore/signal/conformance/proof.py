"""Proofs of passed gate checks, stored beside the results: later runs reuse them."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import vpcore
from vpcore.canonical import digest
from vpcore.errors import StorageError
from vpcore.kernels.jit import sources_digest
from vpcore.rules import TradeRules
from vpcore.signal import Signal, SignalData, code_digest
from vpcore.signal.conformance.check import CheckReport, check_signal
from vpcore.signal.conformance.checks import GATE
from vpcore.storage import Folder

PROOF_VERSION = 1


def proof_key(signal: Signal) -> str:
    """Return 64 hex digits over all inputs of a proof: class, sources, parameters, and the part of vpcore.

    The part of vpcore is the kernels, the signal API, the scorer and the checks. A change in them needs a new proof.
    """
    cls = type(signal)
    core = Path(vpcore.__file__).parent
    return digest(
        {
            "proof_version": PROOF_VERSION,
            "signal": f"{cls.__module__}:{cls.__qualname__}",
            "version": cls.version,
            "code": code_digest(cls),
            "params": signal.params.plain(),
            "core": [sources_digest(core / part) for part in ("kernels", "signal", "scoring.py")],
        }
    )


def load_proof(folder: Path | Folder, signal: Signal) -> dict[str, Any] | None:
    """Return a signal's stored proof; None if missing or unreadable."""
    try:
        proof: dict[str, Any] = json.loads(Folder.of(folder).get(f"{proof_key(signal)}.json") or b"")
    except (json.JSONDecodeError, UnicodeDecodeError):
        return None
    return proof if set(GATE) <= set(proof.get("passed", ())) else None


def save_proof(folder: Path | Folder, signal: Signal, report: CheckReport) -> str:
    """Store a report as a proof, in one atomic step, and return its file name; a later one replaces it.

    Raises
    ------
    StorageError
        If writing fails.
    """
    cls = type(signal)
    proof = {
        "signal": report.signal,
        "class": f"{cls.__module__}:{cls.__qualname__}",
        "version": cls.version,
        "code_digest": code_digest(cls),
        "params": signal.params.plain(),
        "dataset_id": report.dataset_id,
        "n_bins": report.n_bins,
        "passed": [result.check for result in report.results if result.passed],
        "failed": [asdict(result) for result in report.failures],
    }
    name, content = f"{proof_key(signal)}.json", json.dumps(proof, indent=2, sort_keys=True).encode()
    Folder.of(folder).put(name, content, f"write the proof of signal '{report.signal}'", durable=False)
    return name


def prove(
    signal: Signal,
    folder: Path | Folder,
    *,
    name: str = "",
    dataset: SignalData | None = None,
    rules: TradeRules | None = None,
) -> dict[str, Any]:
    """Return a signal's proof of causality and streaming parity: the stored one, or a new one after running the checks.

    Parameters
    ----------
    signal : Signal
        The signal, with its parameters.
    folder : Path or Folder
        Folder of the proofs.
    name : str
        The signal's name, for messages.
    dataset : Dataset, optional
        By default a synthetic session.
    rules : TradeRules, optional
        Trade rules of a learning signal.

    Raises
    ------
    CausalityError
        If the signal looks ahead, or streaming and batch differ.
    SignalError
        If the signal fails another gate check.
    """
    stored = load_proof(folder, signal)
    if stored is not None:
        return stored
    report = check_signal(signal, dataset, name=name, checks=GATE, rules=rules)
    report.raise_for_failure()
    save_proof(folder, signal, report)
    proof = load_proof(folder, signal)
    if proof is None:
        raise StorageError(f"The proof of signal '{report.signal}' cannot be read back from {folder}.")
    return proof
