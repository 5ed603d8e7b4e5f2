"""The interval of a share of images: a Beta posterior, or a bootstrap where patients repeat."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isnet_cli.config.schema import Intervals
from isnet_cli.stats.bootstrap import percentile, weights
from isnet_cli.stats.posterior import interval

PRIORS = {"jeffreys": 0.5, "uniform": 1.0}  # both parameters of the Beta prior


def share_interval(
    chosen: NDArray[np.bool_], patients: Sequence[str], settings: Intervals, seed: int
) -> dict[str, Any]:
    """95 % interval of the share of images that are chosen.

    Independent images: the posterior Beta(a + count, a + n - count), its prior by
    ``settings.prior``. Patients with several images: percentiles of the share over draws of
    patients; where every draw is alike (no image or all), the posterior, with patients for images.

    Args:
        chosen: [n], at least one.
        patients: [n]; images without one ("") are each their own.
        settings: Method, prior, shape and numbers of draws.
        seed: Of the draws.

    Returns:
        ``low``, ``high``, ``method`` (``beta`` or ``bootstrap``).
    """
    names = [patient or f"\0{i}" for i, patient in enumerate(patients)]
    people = np.unique(np.asarray(names, dtype=str), return_inverse=True)[1].astype(np.int64)
    clusters = int(people.max()) + 1
    repeated = clusters < len(chosen)
    closed = settings.method == "closed" or (settings.method == "auto" and not repeated)
    alike = bool(chosen.all() or not chosen.any())
    if not closed and not alike and clusters > 1:
        shares = [w @ chosen / w.sum(axis=1) for w in weights(people, settings.bootstrap, seed)]
        low, high = percentile(np.concatenate(shares), clusters)
        return {"low": low, "high": high, "method": "bootstrap"}
    n = len(chosen) if closed else clusters
    count = float(chosen.mean() * n)
    prior = PRIORS[settings.prior]
    rng = np.random.default_rng(seed)
    low, high = interval(rng.beta(prior + count, prior + n - count, settings.draws), settings.shape)
    return {"low": low, "high": high, "method": "beta"}
