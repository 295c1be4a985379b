"""The causality gate: every signal proves that it reads the past alone before its evaluation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from vpcore.canonical import canonical_json
from vpcore.errors import CausalityError
from vpcore.executor import Executor
from vpcore.experiment.dispatch import dispatch
from vpcore.experiment.runs import Run
from vpcore.experiment.worker import describe, load_class
from vpcore.signal.conformance.proof import load_proof, prove
from vpcore.storage import Folder

PROOFS = "proofs"
"""Folder of the proofs, beside the results."""


def prove_signal(target: str, code: str, params: dict[str, Any], name: str, folder: Folder) -> tuple[str, str] | None:
    """Prove one signal in a worker; return None, or the kind of refusal and its message."""
    try:
        cls = load_class(target, code)
        prove(cls(cls.Params.parse(params, name)), folder, name=name)
    except CausalityError as error:
        return "causality", str(error)
    except Exception as error:
        return "other", describe(error)
    return None


def unproven_runs(runs: Sequence[Run], folder: Path | Folder) -> list[list[Run]]:
    """Return the runs that lack a stored proof, grouped by signal and parameters."""
    of_signal: dict[tuple[str, bytes], list[Run]] = {}
    for run in runs:
        of_signal.setdefault((run.signal_name, canonical_json(run.params)), []).append(run)
    return [same for _, same in sorted(of_signal.items()) if load_proof(folder, same[0].signal) is None]


def pass_gate(
    runs: Sequence[Run], folder: Path | Folder, executor: Executor, on_proof: Callable[[int, int], None]
) -> dict[str, str]:
    """Prove every signal of these runs that lacks a stored proof.

    Parameters
    ----------
    runs : sequence of Run
        Runs to compute.
    folder : Path or Folder
        Where proofs are kept.
    executor : Executor
        Who runs the checks.
    on_proof : callable
        Called with the number of finished proofs and their total.

    Returns
    -------
    dict
        Error by run id of runs whose signal broke its contract in another way. Their evaluation is skipped too.

    Raises
    ------
    CausalityError
        If a signal looks ahead, or its streaming and batch values differ. The whole evaluation stops.
    """
    unproven = unproven_runs(runs, folder)
    on_proof(0, len(unproven))
    calls = [
        (run.target, run.meta["code_digest"], run.params, run.signal_name, Folder.of(folder)) for run, *_ in unproven
    ]
    refusals: dict[int, tuple[str, str]] = {}
    with closing(dispatch(executor, prove_signal, calls)) as results:
        for done, (index, result) in enumerate(results, 1):
            on_proof(done, len(unproven))
            if isinstance(result, BaseException):
                refusals[index] = ("other", describe(result))
            elif result is not None:
                refusals[index] = result
    causal = [message for index, (kind, message) in sorted(refusals.items()) if kind == "causality"]
    if causal:
        more = f" It and {len(causal) - 1} more sets of parameters are refused." if len(causal) > 1 else ""
        raise CausalityError(f"Nothing was evaluated.{more} {causal[0]}")
    return {run.run_id: message for index, (_, message) in refusals.items() for run in unproven[index]}
