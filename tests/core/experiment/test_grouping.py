"""Settings by their names."""

from __future__ import annotations

import polars as pl
import pytest

from vpcore import ResultsError
from vpcore.experiment.grouping import with_settings


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
