"""Thresholds given as quantiles of the signal's values on the first bins. The evaluation skips these bins.

A signal's value depends on the bins up to its own only, which is proved for every signal that runs. So its values on
the first bins alone equal its values within the whole session, and the thresholds are known before the evaluation: rows
keep a number as their threshold, and stored and missing rows are found in the usual way.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from vpcore.backtest.config import EvalConfig
from vpcore.dataset import Dataset
from vpcore.errors import ConfigError
from vpcore.scoring import ScoringConfig, score_arrays
from vpcore.signal import MLSignal, Signal, batch


class Calibration:
    """The first bins of a dataset, scored once per scoring.

    Parameters
    ----------
    dataset : Dataset
        The whole session.
    settings : EvalConfig
        With `threshold_quantiles` and `calibration_bins`.

    Raises
    ------
    ConfigError
        If the calibration covers the whole dataset.
    """

    def __init__(self, dataset: Dataset, settings: EvalConfig) -> None:
        assert settings.threshold_quantiles is not None
        assert settings.calibration_bins is not None
        if settings.calibration_bins >= dataset.n_bins:
            raise ConfigError(
                f"eval.calibration_bins must be less than the {dataset.n_bins} bins of {dataset.dataset_id}, "
                f"was {settings.calibration_bins}: what is calibrated on is not evaluated."
            )
        self._quantiles = settings.threshold_quantiles
        self._first = dataset.slice(0, settings.calibration_bins)
        self._scored: dict[str, Dataset] = {}

    def thresholds(self, signal: Signal, name: str, scoring: ScoringConfig | None) -> tuple[float, ...]:
        """Return a threshold per quantile: of the values' magnitude, or of the likelier side of a probability.

        Parameters
        ----------
        signal : Signal
            With its parameters.
        name : str
            For messages.
        scoring : ScoringConfig or None
            None for a signal that ignores the score.

        Raises
        ------
        ConfigError
            If the signal learns, lacks values in the first bins, or has a quantile of 0.
        """
        if isinstance(signal, MLSignal):
            raise ConfigError(
                f"eval.threshold_quantiles cannot be taken of '{name}': it learns from labels, which differ from row "
                "to row. Give eval.thresholds as numbers."
            )
        values = batch(signal, self._data(scoring)).values
        values = values[~np.isnan(values)]
        bins = self._first.n_bins
        if not len(values):
            raise ConfigError(
                f"'{name}' has no value in the first {bins} bins (eval.calibration_bins): it is still warming up. "
                "Calibrate on more."
            )
        size = np.maximum(values, 1.0 - values) if signal.prediction_mode == "probability" else np.abs(values)
        found = tuple(float(value) for value in np.quantile(size, self._quantiles))
        for quantile, threshold in zip(self._quantiles, found, strict=True):
            if not threshold > 0.0:
                raise ConfigError(
                    f"The {quantile:g} quantile of the magnitude of '{name}' in the first {bins} bins is 0, which is "
                    "no threshold. Choose a higher one in eval.threshold_quantiles."
                )
        return found

    def _data(self, scoring: ScoringConfig | None) -> Dataset:
        if scoring is None:
            return self._first
        key = scoring.model_dump_json()
        if key not in self._scored:
            first = self._first
            d1, d2, d3 = (first.grid(f"composite_d{i}") for i in (1, 2, 3))
            score, state = score_arrays(d1, d2, d3, first.valid, scoring)
            columns: dict[str, Any] = {"flow_score": score, "flow_state_code": state}
            self._scored[key] = first.with_grid(columns)
        return self._scored[key]
