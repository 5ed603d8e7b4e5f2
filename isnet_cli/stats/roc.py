"""DeLong's variance of areas under ROC curves, their intervals, and tests of differences.

The area of class k is the mean over (positive, negative) pairs of the right order, ties one half.
An image's placement is its share of won pairs: V10 of a positive, V01 of a negative. Every variance
and covariance here is a sum over images, or over patients, of products of

    psi_k(image) = (V10 - auc) / sqrt(m (m - 1))   for the m positives of class k,
                  (V01 - auc) / sqrt(n (n - 1))   for its n negatives, 0 where unknown:

of one class it is DeLong's variance S10/m + S01/n (DeLong, DeLong and Clarke-Pearson, Biometrics
44, 1988), of two models on the same images their covariance, and of images summed by patient, with
numbers of patients in m - 1 and n - 1, Obuchowski's (Biometrics 53, 1997). A macro mean has the psi
that is the mean of the classes' psi, so that it takes their covariance into account. Placements
come from midranks (Sun and Xu, IEEE Signal Processing Letters 21, 2014): n log n.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import expit, ndtri

from isnet_cli.stats.sample import Bools, Floats, Sample

Z = float(ndtri(0.975))


@dataclass(frozen=True)
class Areas:
    """Areas under the ROC curves of K classes.

    Attributes:
        auc: [K]; NaN without positives or without negatives.
        psi: [N, K], see the module; NaN for classes whose variance has no value.
        pairs: Positives and negatives of each class [K, 2].
    """

    auc: Floats
    psi: Floats
    pairs: Floats


def compute_areas(sample: Sample) -> Areas:
    """Areas and influence of each image.

    Images of one patient are counted as one where the spread is estimated; with one positive or one
    negative patient there is no spread and `Areas.psi` is NaN.
    """
    size = len(sample.classes)
    auc, psi = np.full(size, np.nan), np.zeros((len(sample), size))
    pairs = np.zeros((size, 2))
    for k in range(size):
        known = sample.known[:, k]
        pairs[k] = sample.truth[known, k].sum(), (~sample.truth[known, k]).sum()
        if pairs[k].min() > 0:
            auc[k], psi[known, k] = _one(
                sample.p[known, k], sample.truth[known, k], sample.patients[known]
            )
        else:
            psi[:, k] = np.nan
    return Areas(auc, psi, pairs)


def _one(score: Floats, truth: Bools, patients: np.ndarray) -> tuple[float, Floats]:
    from scipy.stats import rankdata

    m, n = int(truth.sum()), int((~truth).sum())
    ranks = rankdata(score)
    v = np.empty(len(score))
    v[truth] = (ranks[truth] - rankdata(score[truth])) / n
    v[~truth] = 1 - (ranks[~truth] - rankdata(score[~truth])) / m
    auc = float(v[truth].mean())
    psi = np.empty(len(score))
    for side, count in ((truth, m), (~truth, n)):
        groups = len(np.unique(patients[side]))
        scale = math.sqrt(groups / (groups - 1)) / count if groups > 1 else math.nan
        psi[side] = (v[side] - auc) * scale
    return auc, psi


def area_variance(psi: Floats, patients: np.ndarray) -> float:
    """Variance of an area, or of a mean or difference of areas, from its psi [N]."""
    if np.isnan(psi).any() or not len(psi):
        return math.nan
    sums = np.bincount(patients, weights=psi)
    return float(sums @ sums)


def area_interval(auc: float, var: float, pairs: Sequence[float]) -> tuple[float, float, str]:
    """95 % interval of an area, and its method.

    On the logit scale (Pepe, The Statistical Evaluation of Medical Tests, 2003, 5.2.4), which keeps
    it inside (0, 1) and its coverage right near 1: logit(auc) +- z s.d. / (auc (1 - auc)). Where
    DeLong's variance is 0 (classes that do not overlap) or has no value (one positive or negative),
    Newcombe's score interval (Statistics in Medicine 25, 2006, method 5).

    Args:
        auc: In [0, 1].
        var: DeLong's variance, or NaN.
        pairs: Numbers of positives and negatives, both at least 1.
    """
    if not var > 0 or not 0 < auc < 1:
        return (*_newcombe(auc, pairs[0], pairs[1]), "newcombe")
    middle = math.log(auc / (1 - auc))
    half = Z * math.sqrt(var) / (auc * (1 - auc))
    return float(expit(middle - half)), float(expit(middle + half)), "delong"


def _newcombe(auc: float, m: float, n: float) -> tuple[float, float]:
    """The values t at which (t - auc)^2 = z^2 var(t), below and above `auc`."""
    from scipy.optimize import brentq

    extra = (m + n) / 2 - 1

    def excess(t: float) -> float:
        spread = 1 + extra * ((1 - t) / (2 - t) + t / (1 + t))
        return (t - auc) ** 2 - Z * Z * t * (1 - t) * spread / (m * n)

    low = 0.0 if auc == 0 else float(brentq(excess, 0.0, min(auc, 1 - 1e-12), xtol=1e-15))
    high = 1.0 if auc == 1 else float(brentq(excess, max(auc, 1e-12), 1.0, xtol=1e-15))
    return low, high


def p_value(difference: float, var: float) -> float:
    """Two-sided p of a difference of areas against 0 under the normal distribution.

    A variance of 0 gives 1 for no difference and 0 for any.
    """
    if not var > 0:
        return 1.0 if difference == 0 else 0.0
    return math.erfc(abs(difference) / math.sqrt(2 * var))
