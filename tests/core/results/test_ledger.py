"""The ledger of trials: what counts as one trial, which datasets are one market, and what deleting results changes."""

from __future__ import annotations

import shutil
from types import SimpleNamespace
from typing import Any

import polars as pl
from hypothesis import given, strategies as st

from vpcore.results import MarketWindow, ResultsDB, Trials, compact
from vpcore.results.ledger import LEDGER

A, B = (0.5, 20, 4, 4), (0.6, 20, 4, 4)
DAY = MarketWindow("ES", 0, 100)


def trades(make: SimpleNamespace, run: str, keys: list[Any], digests: list[str]) -> pl.DataFrame:
    return make.rows(run, keys).with_columns(pl.Series("trades_digest", digests))


def test_one_market_in_two_files_is_one_market_and_equal_trades_are_one_trial(
    db: ResultsDB, make: SimpleNamespace
) -> None:
    """The same day as .dbn and as .dbn.zst has other digests of sources, and is no fresh market."""
    windows = {"ES_plain": DAY, "ES_zst": DAY, "ES_later": DAY._replace(start_ns=100, end_ns=200)}
    for name in windows:
        made = make.meta(f"r-{name}", dataset_id=name, sources_json=f'["{name}"]')
        db.write([made], trades(make, f"r-{name}", [A, B], ["one", f"two-{name}"]), windows)
    found = db.trials()
    assert found.market("ES_plain") == found.market("ES_zst") == ["ES_plain", "ES_zst"]
    assert found.count(["ES_plain"]) == 3
    assert found.count(["ES_later"]) == 2
    assert found.count(windows) == 4
    # A combination on two sessions is one trial; the other file of the first session has trials of its own.
    assert found.count_joint([["ES_plain", "ES_later"]]) == 2 + 2
    assert found.count_joint([["ES_plain", "ES_zst"]]) == 2
    # On two engines it is a trial of each, unless its trades are the same on both.
    assert found.count_joint([["ES_plain"], ["ES_zst"]]) == 3


def test_deleting_or_moving_results_does_not_shorten_the_ledger(db: ResultsDB, make: SimpleNamespace) -> None:
    for run in ("r1", "r2"):
        made = make.meta(run, signal_params_json=f'{{"of":"{run}"}}')
        db.write([made], trades(make, run, [A, B], [f"{run} a", f"{run} b"]), {"D": DAY})
    assert db.trials().count(["D"]) == 4
    compact(db)
    assert db.trials().count(["D"]) == 4
    for table in ("runs", "runs_meta"):
        shutil.rmtree(db.root / f"{table}.parquet")
    assert db.query_runs().is_empty()
    assert db.trials().count(["D"]) == 4
    assert not db.trials().is_first("other", "h", ["D"])


def test_stored_rows_that_the_ledger_lacks_count(db: ResultsDB, make: SimpleNamespace) -> None:
    db.write([make.meta("r1")], trades(make, "r1", [A, B], ["a", "b"]), {"D": DAY})
    shutil.rmtree(db.ledger.root)
    assert db.trials().count(["D"]) == 2
    db.write([make.meta("r2", signal_version=2)], trades(make, "r2", [A], ["c"]), {"D": DAY})
    assert db.trials().count(["D"]) == 3


def test_a_trial_under_newer_core_code_replaces_the_older_one(db: ResultsDB, make: SimpleNamespace) -> None:
    db.write([make.meta("r1", at=1)], trades(make, "r1", [A, B], ["a", "b"]))
    db.write([make.meta("r2", at=2, core_digest="k1")], trades(make, "r2", [A, B], ["c", "d"]))
    assert db.trials().count(["D"]) == 2
    db.write([make.meta("r3", core_digest="k1", code_digest="c1")], trades(make, "r3", [A], ["e"]))
    assert db.trials().count(["D"]) == 3


def test_failed_trials_count_each_on_its_own(db: ResultsDB, make: SimpleNamespace) -> None:
    db.write([make.meta("r1", status="failed")], make.rows("r1", [A, B], net=None))
    assert db.trials().count(["D"]) == 2
    db.write([make.meta("r1", at=9)], trades(make, "r1", [A], ["a"]))
    assert db.trials().count(["D"]) == 2


def test_the_first_batch_is_the_one_that_began_first(db: ResultsDB, make: SimpleNamespace) -> None:
    early, late = (make.meta(f"r{at}", at=at, config_hash=f"h{at}", signal_version=at) for at in (1, 2))
    db.write([late], make.rows("r2", [A]), {"D": DAY})
    assert db.trials().is_first("sweep", "h2", ["D"])
    db.write([early], make.rows("r1", [A]), {"D": DAY})
    found = db.trials()
    assert found.is_first("sweep", "h1", ["D"])
    assert not found.is_first("sweep", "h2", ["D"])
    assert not found.is_first("another name", "h1", ["D"])
    assert found.is_first("sweep", "h9", ["elsewhere"])


@given(
    st.lists(st.tuples(st.sampled_from(["ES", "NQ"]), st.integers(0, 30), st.integers(1, 12)), min_size=1, max_size=9)
)
def test_markets_are_the_connected_windows_of_a_root(windows: list[tuple[str, int, int]]) -> None:
    spans = [(root, start, start + length) for root, start, length in windows]
    columns = {name: [None] * len(spans) for name in LEDGER}
    columns |= {"dataset_id": [f"d{i}" for i in range(len(spans))], "sources_json": ['["one file"]'] * len(spans)}
    columns |= {name: [span[i] for span in spans] for i, name in enumerate(MarketWindow._fields)}
    found = Trials(pl.LazyFrame(columns, schema=LEDGER))
    same = [{i} for i in range(len(spans))]
    for _ in spans:
        for i, (root, start, end) in enumerate(spans):
            for j, (other, first, last) in enumerate(spans):
                if root == other and start < last and first < end:
                    same[i] |= same[j]
    for i in range(len(spans)):
        assert found.market(f"d{i}") == sorted(f"d{j}" for j in same[i])


def test_a_dataset_of_an_unknown_window_belongs_to_those_of_its_files(db: ResultsDB, make: SimpleNamespace) -> None:
    for name, sources in (("ES_1", '["aa"]'), ("ES_2", '["bb","aa"]'), ("NQ_1", '["aa"]'), ("ES_3", '["cc"]')):
        db.write([make.meta(f"r-{name}", dataset_id=name, sources_json=sources)], make.rows(f"r-{name}", [A]))
    found = db.trials()
    assert found.market("ES_2") == ["ES_1", "ES_2"]
    assert found.market("NQ_1") == ["NQ_1"]
    assert found.market("unknown") == ["unknown"]
