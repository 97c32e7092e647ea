"""Two linear fits on sparse columns that scale with what is marked, not with how many columns there are.

Symbols: n rows · s columns · c targets or classes · w weights, shape (n,) · X shape (n, s).
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from scipy.optimize import minimize

from ml.frame import Array, Floats

CLOSE = 1e-5  # share of the squared residual at which a ridge is solved well enough for ranking
SMALL = 1e-12
BASE_PENALTY = 0.01  # on intercepts: only so that a class never seen keeps a finite one


def ridge(matrix: sp.csr_matrix, targets: Floats, penalty: float, weight: Floats, *, steps: int = 40) -> Floats:
    """Fit several targets at once by conjugate gradients, around their weighted means.

    Args:
        matrix: X.
        targets: shape (n, c).
        penalty: prior precision of every weight, in rows.
        weight: of each row, shape (n, 1), or of each row and target, shape (n, c).
        steps: of the solver at most; stopping early shrinks a little more.

    Returns:
        shape (s + 1, c), the last row the intercepts.
    """
    used = _used(matrix)
    if len(used) < matrix.shape[1]:
        return _spread(ridge(matrix[:, used], targets, penalty, weight, steps=steps), used, matrix.shape[1])
    turned = matrix.T.tocsr()
    mean = (weight * targets).sum(axis=0) / np.maximum(weight.sum(axis=0), SMALL)
    w = weight.astype(np.float32)
    residual = turned @ (w * (targets - mean).astype(np.float32))
    found = np.zeros_like(residual)
    direction = residual.copy()
    size = (residual**2).sum(axis=0)
    goal = CLOSE * size
    for _ in range(steps):
        if np.all(size <= goal):
            break
        bent = turned @ (w * (matrix @ direction)) + np.float32(penalty) * direction
        stride = size / np.maximum((direction * bent).sum(axis=0), SMALL)
        found += stride * direction
        residual -= stride * bent
        size, before = (residual**2).sum(axis=0), size
        direction = residual + (size / np.maximum(before, SMALL)) * direction
    return np.vstack([found, mean[None]]).astype(np.float64)


def predict(matrix: sp.csr_matrix, fitted: Floats) -> Floats:
    """Give X B + intercepts, shape (n, c)."""
    return np.asarray(matrix @ fitted[:-1] + fitted[-1], dtype=np.float64)


def softmax_fit(
    matrix: sp.csr_matrix, place: Array, classes: int, penalty: float, weight: Floats, *, steps: int
) -> Floats:
    """Fit a shrunken softmax.

    Args:
        matrix: X.
        place: shape (n,), each row's class, 0..classes-1.
        classes: c.
        penalty: prior precision of every weight.
        weight: of each row.
        steps: of the optimiser.

    Returns:
        shape (s + 1, c), the last row the intercepts.
    """
    used = _used(matrix)
    if len(used) < matrix.shape[1]:
        fitted = softmax_fit(matrix[:, used], place, classes, penalty, weight, steps=steps)
        return _spread(fitted, used, matrix.shape[1])
    rows, width = matrix.shape
    turned = matrix.T.tocsr()
    scale = float(weight.sum())
    w = weight.astype(np.float32)[:, None]
    truth = np.zeros((rows, classes), dtype=np.float32)
    truth[np.arange(rows), place] = 1.0

    def loss(flat: Floats) -> tuple[float, Floats]:
        b = flat.reshape(width + 1, classes).astype(np.float32)
        utility = matrix @ b[:-1] + b[-1]
        utility -= utility.max(axis=1, keepdims=True)
        raised = np.exp(utility)
        total = raised.sum(axis=1, keepdims=True)
        error = (raised / total - truth) * w
        value = -float((w * (utility - np.log(total)) * truth).sum())
        value += 0.5 * penalty * float((b[:-1] ** 2).sum()) + 0.5 * BASE_PENALTY * float((b[-1] ** 2).sum())
        slope = np.vstack([turned @ error + penalty * b[:-1], error.sum(axis=0)[None] + BASE_PENALTY * b[-1:]])
        return value / scale, (slope / scale).ravel().astype(np.float64)

    start = np.zeros((width + 1) * classes)
    solved = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": steps, "maxcor": 6})
    return np.asarray(solved.x.reshape(width + 1, classes), dtype=np.float64)


def _used(matrix: sp.csr_matrix) -> Array:
    """Find the columns that any row marks: of all others the weight is 0, and few rows mark few."""
    return np.flatnonzero(np.bincount(matrix.indices, minlength=matrix.shape[1]))


def _spread(fitted: Floats, used: Array, width: int) -> Floats:
    out = np.zeros((width + 1, fitted.shape[1]))
    out[used] = fitted[:-1]
    out[-1] = fitted[-1]
    return out
