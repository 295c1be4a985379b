"""Conformance checks for plugin authors, and the data to run them on.

::

    from vpcore.testing import signal_checks

    @signal_checks(MySignal())
    def test_conformance(check):
        check()
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vpcore.signal.conformance.check import CheckReport, CheckResult, check_signal, signal_checks
    from vpcore.signal.conformance.checks import CHECKS, GATE
    from vpcore.signal.conformance.data import SessionData
    from vpcore.signal.conformance.proof import load_proof, proof_key, prove, save_proof
    from vpcore.signal.conformance.synthetic import mirrored_dataset, synthetic_dataset

_HOME = {
    **dict.fromkeys(("CheckReport", "CheckResult", "check_signal", "signal_checks"), "check"),
    **dict.fromkeys(("CHECKS", "GATE"), "checks"),
    "SessionData": "data",
    **dict.fromkeys(("load_proof", "proof_key", "prove", "save_proof"), "proof"),
    **dict.fromkeys(("mirrored_dataset", "synthetic_dataset"), "synthetic"),
}

__all__ = [
    "CHECKS",
    "GATE",
    "CheckReport",
    "CheckResult",
    "SessionData",
    "check_signal",
    "load_proof",
    "mirrored_dataset",
    "proof_key",
    "prove",
    "save_proof",
    "signal_checks",
    "synthetic_dataset",
]


def __getattr__(name: str) -> Any:
    # The storage checks must not import numba, nor the signal checks a storage.
    if name not in _HOME:
        raise AttributeError(f"module 'vpcore.testing' has no attribute '{name}'")
    value = getattr(importlib.import_module(f"vpcore.signal.conformance.{_HOME[name]}"), name)
    globals()[name] = value
    return value
