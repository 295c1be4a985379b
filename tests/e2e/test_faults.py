"""A sample of `make faults`: damage to every kind of stored file, a killed promotion, two compactions at once."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "faults"))

import fault_suite as faults
import fault_world as world

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[faults.Suite]:
    scratch = tmp_path_factory.mktemp("faults")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("VP_ROOT", "MLFLOW_TRACKING_URI"):
            patch.delenv(name, raising=False)
        yield faults.Suite(world.make(scratch / "template", whole=False), scratch, seed=1)


@pytest.mark.parametrize(
    ("fault", "targets", "tries"),
    [("damage", (), 1), ("kill", ("promote",), 1), ("both", ("compact",), 1)],
)
def test_nothing_is_lost_and_nothing_is_wrong(
    suite: faults.Suite, fault: str, targets: tuple[str, ...], tries: int
) -> None:
    jobs = list(faults.FAULTS[fault][0](suite, tries, targets))
    for job in jobs:
        suite.once(job.fault, job.target, 0, job.one)
    assert suite.failures == []
    assert all(suite.tallies[fault, job.target].tries == 1 for job in jobs)
    if fault == "damage":
        kinds = (
            "bins",
            "grid",
            "manifest",
            "checksums",
            "rows",
            "commits",
            "ledger",
            "reserve",
            "confirmation",
            "version",
        )
        assert all(suite.tallies["damage", kind].detected for kind in kinds)
    print(suite.table())


def test_the_suite_sees_what_is_lost_and_what_is_wrong(suite: faults.Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    """The judge itself: deleted results, and another answer."""
    root = suite.world.copy(suite.scratch / "try")
    results = root / "lake/research/vp_harness/results"
    for path in list(results.rglob("part-*")):
        path.unlink()
    assert {item.split(":")[0] for item in world.missing(suite.before, world.stored(root))} == {"rows", "runs"}
    monkeypatch.setitem(suite.answers, "version", suite.right("version").replace("ads", "erd"))
    monkeypatch.setitem(faults.FILES, "nothing", ("configs/experiments/next.yaml", ("version",)))
    (job,) = faults.damage(suite, 1, ["nothing"])
    suite.once(job.fault, job.target, 0, job.one)
    assert "damage/nothing/0 wrong: " in suite.failures.pop()
    assert suite.tallies.pop(("damage", "nothing")).wrong == 1
