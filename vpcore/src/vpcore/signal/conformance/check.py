"""Running the checks of a signal: a report, pytest parameters, and errors for failures."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vpcore.errors import CausalityError, ConfigError, SignalError, VpError, did_you_mean
from vpcore.rules import TradeRules
from vpcore.scoring import ScoringConfig
from vpcore.signal import MLSignal, Signal, SignalContext, SignalData
from vpcore.signal.conformance.checks import CAUSAL, CHECKS, Subject, applies, run_check
from vpcore.signal.conformance.data import SessionData
from vpcore.signal.conformance.synthetic import synthetic_dataset

if TYPE_CHECKING:
    import pytest

AFTER_WARMUP = 600
"""Bins of the synthetic session beyond a signal's warm-up."""

CHECK_SCORING = ScoringConfig(zscore_window_bins=60, zscore_min_periods=20)
"""Scoring of the synthetic session: the default windows would leave a short one mostly silent."""

CHECK_RULES = TradeRules(tp_ticks=2, sl_ticks=2, max_hold_bins=40, price="mid")
"""Default trades of learning signals on the synthetic session: near barriers on the mid, which nearly every trade
reaches, so that there is something to learn."""

DATASET_RULES = TradeRules(tp_ticks=2, sl_ticks=2, max_hold_bins=600, price="mid")
"""Default trades of learning signals on a given dataset: near barriers on the mid, so that quiet hours end them too."""


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One check of one signal.

    Attributes
    ----------
    check : str
    passed : bool
    message : str
        Problem, bin, difference, and the command to reproduce the failure; empty for a pass.
    seconds : float
    """

    check: str
    passed: bool
    message: str
    seconds: float


@dataclass(frozen=True, slots=True)
class CheckReport:
    """All checks of one signal on one dataset."""

    signal: str
    dataset_id: str
    n_bins: int
    results: tuple[CheckResult, ...]

    @property
    def passed(self) -> bool:
        """True if every check passed."""
        return all(result.passed for result in self.results)

    @property
    def failures(self) -> tuple[CheckResult, ...]:
        """The failed checks."""
        return tuple(result for result in self.results if not result.passed)

    def raise_for_failure(self) -> None:
        """Raise the first failure: `CausalityError` for the checks of `CAUSAL`, else `SignalError`."""
        failures = sorted(self.failures, key=lambda result: result.check not in CAUSAL)
        if failures:
            error = CausalityError if failures[0].check in CAUSAL else SignalError
            raise error(failures[0].message)


def check_signal(
    signal: Signal,
    dataset: SignalData | None = None,
    *,
    name: str = "",
    checks: Iterable[str] | None = None,
    rules: TradeRules | None = None,
) -> CheckReport:
    """Check a signal against its contract.

    Parameters
    ----------
    signal : Signal
        The signal, with its parameters.
    dataset : Dataset, optional
        Read-only data; by default a synthetic session that is longer than the warm-up.
    name : str
        The signal's name, for messages; default: the name of its class.
    checks : iterable of str, optional
        Names of `CHECKS`; default: all applicable checks.
    rules : TradeRules, optional
        Trade rules of a learning signal.

    Returns
    -------
    CheckReport

    Raises
    ------
    ConfigError
        If a check is unknown.
    """
    wanted = _names(checks, signal)
    subject, dataset_id = subject_of(signal, dataset, rules)
    results = []
    for check in wanted:
        started = time.perf_counter()
        problem = run_check(check, subject)
        seconds = time.perf_counter() - started
        message = _message(signal, name, problem, dataset_id if dataset is not None else "") if problem else ""
        results.append(CheckResult(check, not problem, message, seconds))
    return CheckReport(name or type(signal).__name__, dataset_id, subject.data.n_bins, tuple(results))


def subject_of(
    signal: Signal, dataset: SignalData | None = None, rules: TradeRules | None = None
) -> tuple[Subject, str]:
    """Return a signal with the data for its checks, and the id of the data. See `check_signal`."""
    scoring = None
    if dataset is None:
        # The warm-up may depend on the bin width, which every synthetic session shares.
        context = SignalContext.of(synthetic_dataset(n_bins=1), CHECK_RULES)
        dataset = _session(int(signal.warmup_bins(context)) + AFTER_WARMUP)
        scoring = CHECK_SCORING
        if rules is None and isinstance(signal, MLSignal):
            rules = CHECK_RULES
    if rules is None and isinstance(signal, MLSignal):
        rules = DATASET_RULES
    data = SessionData.collect(dataset, signal.columns, scoring)
    return Subject(signal, data, rules), str(getattr(dataset, "dataset_id", ""))


@functools.lru_cache(maxsize=4)
def _session(n_bins: int) -> Any:
    return synthetic_dataset(n_bins=n_bins)


def _names(checks: Iterable[str] | None, signal: Signal) -> list[str]:
    wanted = list(CHECKS) if checks is None else list(checks)
    for check in wanted:
        if check not in CHECKS:
            raise ConfigError(
                f"No check is called '{check}'.{did_you_mean(check, CHECKS)} Checks: {', '.join(CHECKS)}."
            )
    return [check for check in CHECKS if check in wanted and applies(check, signal)]


@functools.lru_cache(maxsize=1)
def _installed() -> dict[str, str]:
    """Return the name of every installed signal by its target."""
    from vpcore.plugins.manager import Plugins

    try:
        found = Plugins().components("signal")
    except VpError:  # two plugins are in each other's way: that is not what is being checked
        return {}
    return {registered.component.target: name for name, registered in found.items()}


def _message(signal: Signal, name: str, problem: str, dataset_id: str) -> str:
    """Return the problem as a sentence, and the command to reproduce it."""
    if not name:
        name = _installed().get(f"{type(signal).__module__}:{type(signal).__qualname__}", "")
    if name:
        again = f"vp check {name}" + (f" --dataset-id {dataset_id}" if dataset_id else "")
        if signal.params != type(signal.params)():
            again += f" --params-json '{signal.params.model_dump_json()}'"
    else:
        on = ", dataset" if dataset_id else ""
        again = f"vpcore.testing.check_signal({signal!r}{on})"
    stop = "" if problem.endswith(".") else "."
    return f"Signal '{name or type(signal).__name__}' {problem}{stop} Reproduce: {again}"


def signal_checks(
    *signals: Signal, dataset: SignalData | None = None, expected_failures: Mapping[str, str] | None = None
) -> pytest.MarkDecorator:
    """Return a pytest decorator that calls a test once per signal and check.

    ::

        @signal_checks(MySignal(), MySignal(window=20))
        def test_conformance(check):
            check()

    Parameters
    ----------
    *signals : Signal
        Signals to check.
    dataset : Dataset, optional
        By default a synthetic session.
    expected_failures : mapping of str to str, optional
        Known failures: reasons by check. A pass of such a check fails the test.
    """
    import pytest

    known = dict(expected_failures or {})
    cases = []
    for signal in signals:
        subject: Callable[[], Subject] = functools.lru_cache(maxsize=1)(
            functools.partial(lambda chosen: subject_of(chosen, dataset)[0], signal)
        )
        for check in _names(None, signal):
            marks = [pytest.mark.xfail(reason=known[check], strict=True)] if check in known else []
            cases.append(
                pytest.param(functools.partial(_assert, check, signal, subject), id=f"{signal!r}-{check}", marks=marks)
            )
    return pytest.mark.parametrize("check", cases)


def _assert(check: str, signal: Signal, subject: Callable[[], Subject]) -> None:
    problem = run_check(check, subject())
    if problem:
        raise AssertionError(_message(signal, "", problem, ""))
