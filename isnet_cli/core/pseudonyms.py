"""Pseudonyms of patients and studies: the same within a run, irreversible without its salt."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from pathlib import Path

from isnet_cli.errors import IsnetError
from isnet_cli.guard.opening import read_bytes

SALT_BYTES = 32
PSEUDONYM_DIGITS = 12


def new_salt() -> bytes:
    """A fresh random salt as it is kept in a file: 64 hex digits and a line end."""
    return secrets.token_hex(SALT_BYTES).encode("ascii") + b"\n"


def read_salt(path: Path) -> bytes:
    """The salt kept in `path`: any bytes, at least 16 after trimming white space.

    Raises:
        IsnetError: Kind "data", when the file is missing or too short to protect anyone.
    """
    try:
        salt = read_bytes(path).strip()
    except OSError as error:
        raise IsnetError(
            "data",
            f"{path}: no salt file ({(error.strerror or 'unreadable').lower()}),"
            " expected a file of 16 random bytes or more",
            fix="python -c 'import secrets; print(secrets.token_hex(32))' > FILE"
            "   or leave data.privacy.salt_file out",
        ) from error
    if len(salt) < 16:
        raise IsnetError(
            "data",
            f"{path}: a salt of {len(salt)} bytes, expected 16 or more",
            fix="python -c 'import secrets; print(secrets.token_hex(32))' > FILE",
        )
    return salt


def pseudonym(salt: bytes, value: str, digits: int = PSEUDONYM_DIGITS) -> str:
    """Replaces an identity by a short hash that only the holder of the salt can repeat.

    Args:
        salt: Secret bytes of the run.
        value: What is hidden: a patient id, a study uid; "" stays "".
        digits: Length of the pseudonym, hex digits.

    Returns:
        The first `digits` digits of HMAC-SHA-256.
    """
    if not value:
        return ""
    content = value.encode("utf-8", "surrogateescape")
    return hmac.new(salt, content, hashlib.sha256).hexdigest()[:digits]
