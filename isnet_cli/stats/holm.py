"""Holm's correction: p-values of several tests, so that all together err as seldom as one."""

from __future__ import annotations

from collections.abc import Sequence


def holm(p: Sequence[float | None]) -> list[float | None]:
    """Adjusted p-values of one family of tests.

    Rejecting where the adjusted value is at most a keeps the chance of even one false rejection in
    the family at most a, however the tests depend on each other: with the m values in rising order
    p_(1) <= ... <= p_(m), the i-th becomes max over j <= i of min(1, (m - j + 1) p_(j)) (Holm, A
    simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics 6,
    1979).

    Args:
        p: In [0, 1]; None where a test has no result. Such a test stays in the family (m is fixed
            before anything is looked at) and is never rejected.

    Returns:
        As many values, in the order of `p`; None where `p` is None.

    Raises:
        ValueError: When a value is outside [0, 1] or NaN.
    """
    if any(value is not None and not 0 <= value <= 1 for value in p):
        raise ValueError("p-values lie in [0, 1]")
    known = sorted((value, i) for i, value in enumerate(p) if value is not None)
    adjusted: list[float | None] = [None] * len(p)
    largest = 0.0
    for place, (value, i) in enumerate(known):
        largest = max(largest, min(1.0, (len(p) - place) * value))
        adjusted[i] = largest
    return adjusted
