"""Look-ahead audit of one row: its values at the time against its stored values, and its sensitivity.

The checks of `vpcore.testing` prove a signal on a synthetic session before it is run. This looks at the data that a
row was found on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from vpcore.errors import ResultsError, did_you_mean, listed
from vpcore.experiment.leaderboard import RankedRow, experiment_of, leaderboard
from vpcore.experiment.trades import Leader, Sensitivity
from vpcore.inference.blocks import datasets_of
from vpcore.inference.evidence import STATED, too_few
from vpcore.inference.ranking import COMPUTED
from vpcore.signal import MLSignal
from vpcore.signal.conformance.checks import Subject, cuts, first_difference
from vpcore.signal.conformance.data import SessionData

if TYPE_CHECKING:
    from vpcore.workspace import Workspace

FIGURES = ("n_signals", "n_dropped", "tp_rate", "sl_rate", "timeout_rate", "mean_pnl_ticks", "net_pnl_ticks")
"""Figures of the row that are computed again and held against what is stored."""

MOST_CUTS_OF_MODELS = 3
"""A learning signal is trained anew on every prefix; a few must do."""

_Values = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Finding:
    """One comparison.

    Attributes
    ----------
    what : str
    equal : bool
    bin : int or None
        The first different bin.
    was, now : float or None
        The values in this bin: as evaluated, and now.
    """

    what: str
    equal: bool
    bin: int | None = None
    was: float | None = None
    now: float | None = None


@dataclass(frozen=True, slots=True)
class Audit:
    """Findings about one row.

    Attributes
    ----------
    run_id, row, signal, dataset_id : str
    n_bins : int
        Bins of the dataset.
    verdict : str
        One sentence, no full stop.
    evidence : dict
        `vpcore.inference.evidence.STATED` and `vpcore.inference.ranking.COMPUTED` of the row.
    findings : tuple of Finding
    figures : tuple of Sensitivity
        The row with other delays and costs.
    """

    run_id: str
    row: str
    signal: str
    dataset_id: str
    n_bins: int
    verdict: str
    evidence: dict[str, Any]
    findings: tuple[Finding, ...]
    figures: tuple[Sensitivity, ...]

    @property
    def passed(self) -> bool:
        """True if all required equalities hold."""
        return all(finding.equal for finding in self.findings)

    def plain(self) -> dict[str, Any]:
        """Return it as JSON holds it."""
        return {"passed": self.passed, **asdict(self)}


def audit(
    workspace: Workspace,
    target: str,
    *,
    row: str | None = None,
    on_progress: Callable[[str], None] = lambda what: None,
) -> Audit:
    """Compute a row again: on prefixes, with other futures, bin by bin, and with other delays and costs.

    Parameters
    ----------
    workspace : Workspace
        Where everything is.
    target : str
        An experiment (name or path), whose best row is audited, a run, or the short name of a row.
    row : str, optional
        Another row, by its short name as `compare` prints it.
    on_progress : callable
        Called with the name of the next step.

    Raises
    ------
    ResultsError
        If the results hold no such row, or every row has too few trades.
    SignalError, DatasetError
        If other signal code made the row, or the dataset is gone.
    """
    target, row = experiment_of(workspace, target, row)
    chosen = _choose(workspace, target, row)
    leader = Leader(workspace, chosen.figures)
    subject = Subject(
        leader.signal, SessionData.collect(leader.dataset, leader.signal.columns, leader.scoring), leader.labels
    )
    findings = list(_findings(leader, subject, chosen.figures, on_progress))
    on_progress("other delays and costs")
    return Audit(
        run_id=chosen.run_id,
        row=chosen.row,
        signal=chosen.signal,
        dataset_id=leader.dataset.dataset_id,
        n_bins=leader.dataset.n_bins,
        verdict=chosen.verdict,
        evidence={name: chosen.figures[name] for name in dict.fromkeys((*STATED, *COMPUTED))},
        findings=tuple(findings),
        figures=tuple(leader.sensitivity()),
    )


def _choose(workspace: Workspace, target: str, row: str | None) -> RankedRow:
    board = leaderboard(workspace, target)
    if row is None:
        if board.best is None:
            raise ResultsError(f"There is nothing to audit of '{target}'. {too_few(board.frame, board.min_signals)}")
        return board.best
    names = board.frame["row"].to_list()
    found = [i for i, name in enumerate(names) if name.startswith(row)]
    if len(found) != 1:
        hint = did_you_mean(row, names) if not found else f" It begins {listed(names[i] for i in found[:10])}."
        raise ResultsError(f"'{target}' has {'no' if not found else 'more than one'} row '{row}'.{hint}")
    return board.ranked_row(board.frame.row(found[0], named=True))


def _findings(
    leader: Leader, subject: Subject, row: dict[str, Any], on_progress: Callable[[str], None]
) -> Iterator[Finding]:
    values = leader.values
    if len(datasets_of(row["dataset_id"])) == 1:  # figures of several sessions are of no single one
        yield from _stored(leader, row)
    on_progress("again")
    yield _compared("computed again", values, subject.values)
    for n in _some(list(cuts(subject)), leader):
        on_progress(f"the first {n:,} bins")
        yield _compared(f"on the first {n:,} bins alone", values[:n], subject.compute(subject.data.prefix(n)))
        other = subject.compute(subject.data.disturbed(n, seed=n))
        yield _compared(f"with another future from bin {n:,}", values[:n], other[:n])
    on_progress("bin by bin")
    yield _compared("bin by bin", values, subject.stream(subject.data))


def _some(lengths: list[int], leader: Leader) -> list[int]:
    if not isinstance(leader.signal, MLSignal) or len(lengths) <= MOST_CUTS_OF_MODELS:
        return lengths
    return [lengths[round(i)] for i in np.linspace(0, len(lengths) - 1, MOST_CUTS_OF_MODELS + 1)[1:]]


def _stored(leader: Leader, row: dict[str, Any]) -> Iterator[Finding]:
    now = leader.evaluate().figures
    for name in FIGURES:
        was, found = row[name], float(getattr(now, name))
        yield Finding(f"stored {name}", was == found, None, None if was is None else float(was), found)


def _compared(what: str, was: _Values, now: _Values) -> Finding:
    at = first_difference(was, now)
    if at is None:
        return Finding(what, True)
    return Finding(what, False, at, *(None if np.isnan(value) else float(value) for value in (was[at], now[at])))
