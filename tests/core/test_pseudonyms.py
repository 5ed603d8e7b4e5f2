from __future__ import annotations

from pathlib import Path

import pytest

from isnet_cli.core.pseudonyms import PSEUDONYM_DIGITS, new_salt, pseudonym, read_salt
from isnet_cli.errors import IsnetError


def test_same_salt_same_key_other_salt_other_key() -> None:
    one, two = b"a" * 32, b"b" * 32
    assert pseudonym(one, "PAT-1") == pseudonym(one, "PAT-1")
    assert pseudonym(one, "PAT-1") != pseudonym(two, "PAT-1")
    assert pseudonym(one, "PAT-1") != pseudonym(one, "PAT-2")
    assert len(pseudonym(one, "PAT-1")) == PSEUDONYM_DIGITS
    assert set(pseudonym(one, "PAT-1")) <= set("0123456789abcdef")
    assert len(pseudonym(one, "PAT-1", 16)) == 16


def test_key_is_the_hmac_of_the_value() -> None:
    # RFC 4231, test case 2: key "Jefe", data "what do ya want for nothing?"
    digest = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    assert pseudonym(b"Jefe", "what do ya want for nothing?", 64) == digest


def test_empty_value_has_no_key_and_odd_bytes_are_taken() -> None:
    assert pseudonym(b"x" * 16, "") == ""
    assert len(pseudonym(b"x" * 16, "caf\udce9")) == PSEUDONYM_DIGITS


def test_salts_are_fresh_and_come_back_from_a_file(tmp_path: Path) -> None:
    first, second = new_salt(), new_salt()
    assert first != second
    path = tmp_path / "salt"
    path.write_bytes(first)
    assert read_salt(path) == first.strip()
    assert len(read_salt(path)) == 64


@pytest.mark.parametrize(
    ("content", "found"), [(None, "no salt file"), (b"", "0 bytes"), (b"short\n", "5 bytes")]
)
def test_missing_and_weak_salts_are_refused(
    tmp_path: Path, content: bytes | None, found: str
) -> None:
    path = tmp_path / "salt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(IsnetError) as caught:
        read_salt(path)
    assert str(path) in caught.value.message
    assert found in caught.value.message
    assert "expected" in caught.value.message
    assert caught.value.fix
