"""Results come in order, and few of them before they are asked for."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from isnet_cli.core.parallel.ahead import ahead


def test_results_come_in_order_and_only_a_few_are_begun() -> None:
    begun: list[int] = []

    def square(number: int) -> int:
        begun.append(number)
        return number**2

    with ThreadPoolExecutor(3) as pool:
        results = ahead(pool, square, range(100), depth=4)
        assert next(results) == 0
        assert len(begun) <= 5
        assert list(results) == [number**2 for number in range(1, 100)]


def test_a_failure_comes_at_its_turn() -> None:
    def inverse(number: int) -> float:
        return 1 / number

    with ThreadPoolExecutor(2) as pool:
        results = ahead(pool, inverse, [2, 0, 1], depth=5)
        assert next(results) == 0.5
        with pytest.raises(ZeroDivisionError):
            next(results)
