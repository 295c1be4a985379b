"""Conformance suites for plugin authors, and data to run them on.

Each suite is a pytest decorator that calls a test once per check::

    from vpcore.testing import signal_checks

    @signal_checks(MySignal())
    def test_conformance(check):
        check()

`storage_checks`, `tracker_checks`, `executor_checks`, `sampler_checks` and `source_checks` take a class or factory, as
does `vpcore_serving.testing.feed_checks`.
"""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from vpcore._lazy import exports

if TYPE_CHECKING:
    import concurrent.futures

    import pytest

    from vpcore.sampler import Sampler
    from vpcore.signal.conformance.check import (
        CheckReport as CheckReport,
        CheckResult as CheckResult,
        check_signal as check_signal,
        signal_checks as signal_checks,
    )
    from vpcore.signal.conformance.checks import CHECKS as CHECKS, GATE as GATE
    from vpcore.signal.conformance.data import SessionData as SessionData
    from vpcore.signal.conformance.proof import (
        load_proof as load_proof,
        proof_key as proof_key,
        prove as prove,
        save_proof as save_proof,
    )
    from vpcore.signal.conformance.synthetic import (
        mirrored_dataset as mirrored_dataset,
        synthetic_dataset as synthetic_dataset,
    )
    from vpcore.source import Source, SourceRequest
    from vpcore.storage import Storage
    from vpcore.tracker import Tracker

# Storage checks import no numba, and signal checks import no storage.
__getattr__, _names = exports(__name__)
__all__ = sorted([*_names, "executor_checks", "sampler_checks", "source_checks", "storage_checks", "tracker_checks"])


def storage_checks(make: Callable[[Path], Storage]) -> pytest.MarkDecorator:
    """Return a decorator that calls a test once per check of a storage.

    Parameters
    ----------
    make : callable
        Takes an empty folder and returns a new, empty storage.
    """
    from vpcore.storage.conformance import STORAGE_CHECKS

    return suite(STORAGE_CHECKS, lambda check, folder: check(make(folder)))


def tracker_checks(make: Callable[..., Tracker]) -> pytest.MarkDecorator:
    """Return a decorator that calls a test once per check of a tracker.

    Parameters
    ----------
    make : callable
        The class, or a factory with the same arguments.
    """
    from vpcore.tracker.conformance import TRACKER_CHECKS

    return suite(TRACKER_CHECKS, lambda check, folder: check(make, folder))


def executor_checks(make: Callable[[int], concurrent.futures.Executor]) -> pytest.MarkDecorator:
    """Return a decorator that calls a test once per check of an executor.

    Parameters
    ----------
    make : callable
        The class, or a factory that takes the number of workers.
    """
    from vpcore.executor.conformance import EXECUTOR_CHECKS

    return suite(EXECUTOR_CHECKS, lambda check, folder: check(make))


def sampler_checks(make: Callable[..., Sampler]) -> pytest.MarkDecorator:
    """Return a decorator that calls a test once per check of a sampler.

    Parameters
    ----------
    make : callable
        The class, or a factory that takes axes and seed.
    """
    from vpcore.sampler.conformance import SAMPLER_CHECKS

    return suite(SAMPLER_CHECKS, lambda check, folder: check(make))


def source_checks(make: Callable[[], Source], request: Callable[[Path], SourceRequest]) -> pytest.MarkDecorator:
    """Return a decorator that calls a test once per check of a source.

    Parameters
    ----------
    make : callable
        The class, or a factory of a source.
    request : callable
        Takes an empty folder for files and returns a capture window that the source can open.
    """
    from vpcore.source.conformance import SOURCE_CHECKS

    return suite(SOURCE_CHECKS, lambda check, folder: check(make, request(folder)))


def suite(
    checks: Iterable[Callable[..., None]], call: Callable[[Callable[..., None], Path], None]
) -> pytest.MarkDecorator:
    """Return a decorator that calls a test once per check, for packages with a kind of components of their own.

    Parameters
    ----------
    checks : iterable of callable
        The name of a check is the name of its case.
    call : callable
        Takes a check and an empty folder, and calls the check.
    """
    import pytest

    def run(check: Callable[..., None]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            call(check, Path(folder))

    cases = [pytest.param(functools.partial(run, check), id=check.__name__) for check in checks]
    return pytest.mark.parametrize("check", cases)
