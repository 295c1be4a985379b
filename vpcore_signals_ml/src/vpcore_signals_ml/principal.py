# mypy: disable-error-code="no-any-return"
"""Principal components of a profile, and how unusual a profile is. No labels: nothing here knows what paid.

With z the standardised profile of m cells, V the first r eigenvectors of its covariance and l their eigenvalues::

    t = V'z        T2 = sum_j t_j^2 / l_j  (Mahalanobis distance within the components, Hotelling)
                   Q  = |z - V t|^2        (reconstruction error, the squared prediction error)
    a = max(T2 / limit of T2, Q / limit of Q)          gate = 1 - 1/a where a > 1, else 0

The limits are quantiles over the profiles of the fit. Eigenvectors come from Jacobi's rotations in a compiled loop of
fixed order: a LAPACK gives other last bits on another machine. Source of T2 and Q: J. E. Jackson, "A User's Guide to
Principal Components" (1991), chapter 2.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from vpcore.kernels.jit import jit
from vpcore_signals_ml.labels import Floats
from vpcore_signals_ml.linear import CLIP, moments, standardise

SWEEPS = 30
LEAST_EIGENVALUE = 1e-9
"""Of a component that counts; a profile in which nothing moves has none."""


class Principal(NamedTuple):
    """Components of a profile of m cells.

    Attributes
    ----------
    mean, scale : float64[m]
        ``z = clip((x - mean) / scale)``.
    vectors : float64[r, m]
        Components, the largest first.
    values : float64[r]
        Their eigenvalues, above 0.
    limits : float64[2]
        Of T2 and Q; above 0.
    """

    mean: Floats
    scale: Floats
    vectors: Floats
    values: Floats
    limits: Floats


@jit
def covariance(z: Floats, w: Floats) -> Floats:
    """Return the weighted second moments of standardised values, float64[m, m]."""
    n, m = z.shape
    out = np.zeros((m, m))
    total = 0.0
    for i in range(n):
        total += w[i]
        for j in range(m):
            part = w[i] * z[i, j]
            for k in range(j + 1):
                out[j, k] += part * z[i, k]
    for j in range(m):
        for k in range(j + 1):
            out[j, k] /= total
            out[k, j] = out[j, k]
    return out


@jit
def jacobi(a: Floats, vectors: Floats) -> None:
    """Turn a symmetric matrix into its eigenvalues, on the diagonal, by cyclic rotations.

    Parameters
    ----------
    a : float64[m, m], written
        The matrix; afterwards what is left beside the diagonal is rounding.
    vectors : float64[m, m], written
        Row j is the eigenvector of ``a[j, j]``.
    """
    m = a.shape[0]
    for j in range(m):
        for k in range(m):
            vectors[j, k] = 1.0 if j == k else 0.0
    for _ in range(SWEEPS):
        off = 0.0
        size = 0.0
        for j in range(m):
            size += a[j, j] * a[j, j]
            for k in range(j):
                off += a[j, k] * a[j, k]
        if off <= 1e-28 * size:
            return
        for p in range(m - 1):
            for q in range(p + 1, m):
                if a[p, q] == 0.0:
                    continue
                theta = (a[q, q] - a[p, p]) / (2.0 * a[p, q])
                t = (1.0 if theta >= 0.0 else -1.0) / (abs(theta) + math.sqrt(theta * theta + 1.0))
                c = 1.0 / math.sqrt(t * t + 1.0)
                s = t * c
                for k in range(m):
                    first = a[k, p]
                    second = a[k, q]
                    a[k, p] = c * first - s * second
                    a[k, q] = s * first + c * second
                for k in range(m):
                    first = a[p, k]
                    second = a[q, k]
                    a[p, k] = c * first - s * second
                    a[q, k] = s * first + c * second
                for k in range(m):
                    first = vectors[p, k]
                    second = vectors[q, k]
                    vectors[p, k] = c * first - s * second
                    vectors[q, k] = s * first + c * second


@jit
def distances(model: Principal, z: Floats, residual: Floats) -> tuple[float, float]:
    """Return T2 and Q of one standardised profile; `residual` float64[m] is what the components leave of it."""
    m = z.shape[0]
    for j in range(m):
        residual[j] = z[j]
    within = 0.0
    for c in range(model.values.shape[0]):
        score = 0.0
        for j in range(m):
            score += model.vectors[c, j] * z[j]
        within += score * score / model.values[c]
        for j in range(m):
            residual[j] -= score * model.vectors[c, j]
    left = 0.0
    for j in range(m):
        left += residual[j] * residual[j]
    return within, left


@jit
def measure(model: Principal, z: Floats, out: Floats) -> None:
    """Write T2 and Q of every standardised profile, float64[n, m], to `out` float64[n, 2]."""
    residual = np.empty(z.shape[1])
    for i in range(z.shape[0]):
        out[i, 0], out[i, 1] = distances(model, z[i], residual)


@jit
def predict_gated(model: Principal, x: Floats, out: Floats) -> None:
    """Write ``gate * direction`` of every row of `x` float64[n, m + 1], last column the direction, to `out`."""
    m = model.mean.shape[0]
    z = np.empty(m)
    residual = np.empty(m)
    for i in range(x.shape[0]):
        for j in range(m):
            z[j] = min(max((x[i, j] - model.mean[j]) / model.scale[j], -CLIP), CLIP)
        within, left = distances(model, z, residual)
        unusual = max(within / model.limits[0], left / model.limits[1])
        out[i] = x[i, m] * (1.0 - 1.0 / unusual) if unusual > 1.0 else 0.0


def fit_principal(x: Floats, weight: Floats, *, components: int, quantile: float) -> Principal:
    """Fit the components of a profile.

    Parameters
    ----------
    x : float64[n, m]
        Profiles.
    weight : float64[n]
        Of each.
    components : int
        At most how many; those that do not vary are left out.
    quantile : float
        Of T2 and of Q over these profiles, above which one is unusual.
    """
    n, m = x.shape
    mean, scale = np.empty(m), np.empty(m)
    moments(x, weight, mean, scale)
    z = standardise(x, mean, scale)
    values = covariance(z, weight)
    vectors = np.empty((m, m))
    jacobi(values, vectors)
    diagonal = np.diag(values)
    order = np.argsort(-diagonal, kind="stable")[:components]
    order = order[diagonal[order] > LEAST_EIGENVALUE]
    model = Principal(
        mean, scale, np.ascontiguousarray(vectors[order]), np.ascontiguousarray(diagonal[order]), np.ones(2)
    )
    found = np.empty((n, 2))
    measure(model, z, found)
    limits = np.maximum(np.quantile(found, quantile, axis=0), LEAST_EIGENVALUE)
    return model._replace(limits=limits)
