"""The AUC of a walk-forward over independent sessions, for the tests and the study of learning signals."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def auc_across(sessions: Sequence[tuple[Floats, Floats]]) -> tuple[float, float]:
    """Return the AUC over all pairs of an up of one session and a down of another, and its standard error.

    Inside one short session the AUC of a walk-forward without any effect lies below 1/2 on average: a session that rose
    has taught its models to say up, and the rest of it holds the fewer ups. Across independent sessions it is 1/2.

    Parameters
    ----------
    sessions : sequence of (float64[n], float64[n])
        Predictions and outcomes (1 up, 0 down) of three independent sessions or more. The standard error is that of
        the jackknife over sessions.
    """
    n = len(sessions)
    won, pairs = np.zeros((n, n)), np.zeros((n, n))
    for a, (p, y) in enumerate(sessions):
        ups = p[y == 1.0]
        for b, (q, z) in enumerate(sessions):
            if a != b:
                downs = np.sort(q[z == 0.0])
                below = (np.searchsorted(downs, ups, "left") + np.searchsorted(downs, ups, "right")) / 2.0
                won[a, b], pairs[a, b] = below.sum(), len(ups) * len(downs)
    kept = [np.delete(np.arange(n), a) for a in range(n)]
    left_out = np.array([won[np.ix_(rows, rows)].sum() / pairs[np.ix_(rows, rows)].sum() for rows in kept])
    error = np.sqrt((n - 1) / n * ((left_out - left_out.mean()) ** 2).sum())
    return float(won.sum() / pairs.sum()), float(error)
