"""How far an image lies from the training images, by what the network sees before it decides.

Features of the training images are taken for a Gaussian cloud. The distance of an image is its
Mahalanobis distance (Lee et al., NeurIPS 2018) under a covariance that a few images can determine:
probabilistic principal components (Tipping and Bishop, J. R. Stat. Soc. B 61:611, 1999), a few
directions with their own variance and one variance for all others. The cloud says nothing of a
single image, so that it can be shared with the model.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from isnet_cli.errors import explain_error

AXES = 16  # directions with a variance of their own, at most
FEWEST = 10  # training images
FLOOR = 0.1  # least s.d.: of a feature, as share of the mean one, for units silent in training;
# and of a direction of the scaled features
_TINY = 1e-12

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Cloud:
    """Features of the training images as a Gaussian; F features, r axes.

    Attributes:
        mean: [F].
        scale: Standard deviation of each feature, at least `FLOOR` of their mean [F]; > 0.
        axes: Orthonormal directions of largest variance of the scaled features [r, F].
        variances: Along the axes [r], falling, > 0.
        rest: Mean variance of the directions that are no axes, > 0.
    """

    mean: Floats
    scale: Floats
    axes: Floats
    variances: Floats
    rest: float

    def distance(self, features: ArrayLike) -> Floats:
        """Mahalanobis distance of images [N], features [N, F], divided by the square root of F.

        With z = (x - mean) / scale and c = axes z:
        sqrt((sum_i c_i² / variances_i + (|z|² - |c|²) / rest) / F). NaN where a feature is.
        """
        z = (np.asarray(features, np.float64) - self.mean) / self.scale
        along = z @ self.axes.T
        beside = np.maximum((z**2).sum(axis=1) - (along**2).sum(axis=1), 0.0)
        square = (along**2 / self.variances).sum(axis=1) + beside / self.rest
        found: Floats = np.sqrt(square / z.shape[1])
        return found


def fit_cloud(features: ArrayLike) -> Cloud:
    """The cloud of training images with features [N, F].

    The residual variance is the mean of the covariance's F - r smallest eigenvalues, its maximum
    likelihood (Tipping and Bishop, eq. 8), at least `FLOOR`². r = `AXES`, at most N / 2 and F / 2.

    Raises:
        ValueError: Fewer than `FEWEST` images, fewer than two features, a value that is not finite,
            or images that do not differ.
    """
    x = np.asarray(features, np.float64)
    if len(x) < FEWEST:
        raise ValueError(f"too few training images: {len(x)}, expected {FEWEST} or more")
    if x.shape[1] < 2 or not np.isfinite(x).all():
        raise ValueError("features of training images are not finite, or fewer than two")
    mean, spread = x.mean(axis=0), x.std(axis=0, ddof=1)
    if spread.mean() < _TINY:
        raise ValueError("features of training images do not differ")
    scale = np.maximum(spread, FLOOR * spread.mean())
    values, vectors = _spectrum((x - mean) / scale)
    r = min(AXES, len(x) // 2, x.shape[1] // 2)
    rest = max(float(values[r:].sum()) / (x.shape[1] - r), FLOOR**2)
    return Cloud(mean, scale, vectors[:r], np.maximum(values[:r], rest), rest)


def _spectrum(z: Floats) -> tuple[Floats, Floats]:
    """Eigenvalues of the covariance of z [N, F], falling, and eigenvectors as rows."""
    _, singular, rows = np.linalg.svd(z, full_matrices=False)
    return singular**2 / (len(z) - 1), rows


def pack(cloud: Cloud) -> dict[str, Any]:
    """The cloud as JSON: numbers as base64 of little-endian float32, mean, scale and axes."""
    table = np.vstack([cloud.mean, cloud.scale, cloud.axes]).astype("<f4")
    return {
        "features": int(table.shape[1]),
        "variances": [float(value) for value in cloud.variances],
        "rest": cloud.rest,
        "table": base64.b64encode(table.tobytes()).decode("ascii"),
    }


def unpack(content: Mapping[str, Any]) -> Cloud:
    """The cloud that `pack` wrote.

    Raises:
        ValueError: When the content is damaged.
    """
    try:
        variances = np.array(content["variances"], np.float64)
        rest, count = float(content["rest"]), int(content["features"])
        raw = base64.b64decode(content["table"], validate=True)
        table = np.frombuffer(raw, "<f4").astype(np.float64).reshape(len(variances) + 2, count)
    except (KeyError, TypeError, ValueError, binascii.Error) as error:
        raise ValueError(f"damaged ({explain_error(error)})") from error
    positive = [table[1], variances, np.array([rest])]
    if not np.isfinite(table).all() or not all(
        np.isfinite(part).all() and (part > 0).all() for part in positive
    ):
        raise ValueError("damaged (a value that cannot be)")
    return Cloud(table[0], table[1], table[2:], variances, rest)
