"""Shares of a stage: how they are typed, named, and what belongs to them."""

from __future__ import annotations

import pytest

from isnet_cli.core.parallel.shares import WHOLE, Share, parse_name, read_share
from isnet_cli.errors import IsnetError


def test_shares_divide_chunks_among_them() -> None:
    shares = [read_share(f"{i}/3") for i in (1, 2, 3)]
    owners = [[share.index for share in shares if share.owns(number)] for number in range(7)]
    assert owners == [[0], [1], [2], [0], [1], [2], [0]]
    assert all(WHOLE.owns(number) for number in range(7))
    assert WHOLE.whole
    assert not shares[0].whole


def test_a_name_says_which_share_it_is() -> None:
    assert read_share("2/4").name == "2of4"
    assert parse_name("2of4") == Share(1, 4)
    assert [parse_name(name) for name in ("5of4", "0of4", "2of", "x")] == [None] * 4


@pytest.mark.parametrize("text", ["", "3", "0/4", "5/4", "1/0", "a/b", "-1/4", "1/4/2"])
def test_what_is_no_share_is_refused(text: str) -> None:
    with pytest.raises(IsnetError, match="expected I/N") as caught:
        read_share(text)
    assert caught.value.exit_code == 2
