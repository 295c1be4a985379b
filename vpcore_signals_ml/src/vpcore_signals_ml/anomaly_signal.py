"""``pca_ad``: a direction that speaks when the profile around the mid is unlike the profiles of late.

Unsupervised: a rolling window of profiles, and no labels. The direction is the lean of pressure minus vacuum 1 to 3
ticks from the mid; the gate is 0 for a usual profile and rises towards 1 with its distance from the others, within the
principal components (Mahalanobis) or beside them (reconstruction error). The value is their product, in [-1, 1]; see
`vpcore_signals_ml.principal`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from pydantic import Field

from vpcore_signals_ml.artifact import arrays_of, arrays_to_bytes
from vpcore_signals_ml.compact_features import AD, PROFILE
from vpcore_signals_ml.features import FeatureSet
from vpcore_signals_ml.labels import Floats
from vpcore_signals_ml.principal import Principal, fit_principal, predict_gated
from vpcore_signals_ml.schedule import ScheduleParams
from vpcore_signals_ml.walk import WalkForward, columns_of
from vpcore_signals_ml.walk_state import WalkState

FILE = "principal.npz"
CELLS = 2 * PROFILE
MIN_PROFILES = 2
"""Below, there is nothing to compare with: the model that there is goes on."""


@dataclass(frozen=True, slots=True)
class Profiles:
    """What a fit is given: profiles, oldest first, and their weights."""

    x: Floats
    weight: Floats

    @property
    def n_train(self) -> int:
        """Profiles."""
        return len(self.x)

    @property
    def n_valid(self) -> int:
        """None: nothing is validated."""
        return 0


class PcaAd(WalkForward):
    """Rolling principal components of the profile: unusual ones let the lean at the touch speak."""

    prediction_mode = "confidence"
    columns = columns_of(AD)
    features: ClassVar[FeatureSet] = AD

    class Params(ScheduleParams):
        """Parameters of ``pca_ad``."""

        train_window_bins: int = Field(
            12_000,
            ge=0,
            le=10_000_000,
            examples=[200, 18_000],
            description="How far back a fit looks (a rolling window); 0 for the whole past, in bins.",
        )
        components: int = Field(5, ge=1, le=CELLS, description="Principal components at most.")
        quantile: float = Field(
            0.8, gt=0.0, lt=1.0, description="Of both distances in the window, above which a profile is unusual."
        )

    params: Params

    def examples(self, state: WalkState, row: int) -> Profiles | None:
        """Return the profiles up to a row that are in the window, one out of every stride."""
        p, seq = self.params, state.seq[: row + 1]
        chosen = (seq - seq[0]) % p.stride_bins == 0
        if p.train_window_bins:
            chosen &= seq > seq[row] - p.train_window_bins
        rows = np.flatnonzero(chosen)
        if len(rows) < MIN_PROFILES:
            return None
        age = seq[row] - seq[rows]
        weight = np.exp2(-age / p.half_life_bins) if p.half_life_bins else np.ones(len(rows))
        return Profiles(np.ascontiguousarray(state.x[rows, :CELLS]), weight)

    def fit(self, training: Profiles) -> Principal:
        """Return the components of the profiles."""
        p = self.params
        return fit_principal(training.x, training.weight, components=p.components, quantile=p.quantile)

    def rehearsal(self) -> Profiles:
        """Return made-up profiles."""
        return Profiles(np.random.default_rng(0).standard_normal((60, CELLS)), np.ones(60))

    def predict(self, model: Principal, x: Floats, out: Floats) -> None:
        """Write gate times direction of every row."""
        predict_gated(model, x, out)

    def model_files(self, model: Principal) -> dict[str, bytes]:
        """Return the arrays of a model."""
        return {FILE: arrays_to_bytes(model._asdict())}

    def model_of(self, files: dict[str, bytes], where: str) -> Principal:
        """Return the model in files.

        Raises
        ------
        SignalError
            If the arrays are missing or do not fit the features or each other.
        """
        shapes: dict[str, tuple[int | None, ...]] = {
            "mean": (CELLS,),
            "scale": (CELLS,),
            "vectors": (None, CELLS),
            "limits": (2,),
        }
        arrays = arrays_of(files.get(FILE, b""), shapes, f"{where}/{FILE}")
        arrays |= arrays_of(files[FILE], {"values": (len(arrays["vectors"]),)}, f"{where}/{FILE}")
        return Principal(**arrays)
