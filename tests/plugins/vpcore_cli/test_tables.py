"""Rows as tables: settings by their names, columns, and sessions in words."""

from __future__ import annotations

from datetime import datetime

import polars as pl
import pytest

from vpcore import ResultsError
from vpcore.results import TRIAL_KEY
from vpcore_cli.grouping import grouped, with_settings
from vpcore_cli.tables import described, people_columns, ranked


def test_a_name_of_two_settings_is_the_one_that_is_an_axis() -> None:
    """`ads` has a tanh_scale of its own, the same in every run; the scorer's is swept."""
    runs = [("erd", "{}", '{"tanh_scale":2.0}'), ("erd", "{}", '{"tanh_scale":3.0}'), ("ads", '{"tanh_scale":1.5}', "")]
    rows = pl.DataFrame(
        [
            {
                "run_id": str(i), "signal_name": signal, "signal_params_json": own, "scoring_json": scoring,
                "dataset_id": "d", "threshold": 0.5, "cooldown_bins": 5, "tp_ticks": 2, "sl_ticks": 2,
            }
            for i, (signal, own, scoring) in enumerate(runs)
        ]
    )  # fmt: skip
    assert with_settings(rows, ["tanh_scale"])[1] == ["scoring.tanh_scale"]
    other = rows.with_columns(
        signal_name=pl.lit("erd"), signal_params_json=pl.Series(['{"tanh_scale":1}', "{}", '{"tanh_scale":2}'])
    )
    with pytest.raises(
        ResultsError, match="'tanh_scale' is a setting of two things: write signal.tanh_scale or scoring"
    ):
        with_settings(other, ["tanh_scale"])


def test_settings_of_one_name_are_told_apart_by_what_they_set() -> None:
    """A signal's own tanh_scale is not the scorer's: mixing them reversed a conclusion."""
    form = {"n_signals": 5, "n_dropped": 1, "tp_rate": 0.5, "sl_rate": 0.25, "finished_utc": datetime(2025, 7, 1)}
    rows = pl.DataFrame(
        [
            {
                "run_id": f"r{own}{scorer}", "row": f"r{own}{scorer}", "dataset_id": "D", "signal_name": "s",
                "signal_params_json": f'{{"scale":{own},"n":1}}', "scoring_json": f'{{"scale":{scorer}}}',
                "eval_json": '{"scale":9}', "net_pnl_ticks": 10.0 * own - scorer,
                **dict.fromkeys(TRIAL_KEY, 1), **form,
            }
            for own in (1, 2) for scorer in (1, 2, 3)
        ]
    )  # fmt: skip
    assert [row["varied"] for row in ranked(rows, rows)][:2] == [
        "signal.scale=1 scoring.scale=1", "signal.scale=1 scoring.scale=2",
    ]  # fmt: skip
    assert [row["varied"] for row in ranked(rows, rows[:2])] == [f"scoring.scale={n}" for n in (1, 2, 3)] * 2
    assert [line["scoring.scale"] for line in grouped(rows, "scoring.scale", "net_pnl_ticks")] == [1.0, 2.0, 3.0]
    assert [line["signal.scale"] for line in grouped(rows, "signal.scale", "net_pnl_ticks")] == [2.0, 1.0]
    with pytest.raises(
        ResultsError, match=r"'scale' is a setting of two things: write signal\.scale or scoring\.scale"
    ):
        grouped(rows, "scale", "net_pnl_ticks")
    alone = rows.filter(pl.col("scoring_json") == '{"scale":1}')
    assert [line["scale"] for line in grouped(alone, "scale", "net_pnl_ticks")] == [2.0, 1.0]


def test_rows_of_several_sessions_have_a_column_for_theirs() -> None:
    assert people_columns("net_pnl_ticks", sessions=True)[:5] == ("row", "run", "signal", "session", "threshold")


def test_many_sessions_are_counted_instead_of_named() -> None:
    names = [f"ES_2024-01-{day:02}_0900_1000__open__0123abcd" for day in range(2, 7)]
    assert described(" + ".join(names[:3])) == " + ".join(names[:3])
    assert described(" + ".join(names)) == f"5 sessions from {names[0]} to {names[-1]}"
    two = " | ".join([" + ".join(names), " + ".join(names)])
    assert described(two) == f"5 sessions from {names[0][:-10]} to {names[-1][:-10]} (2 engines)"
