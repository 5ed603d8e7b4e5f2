"""What can go wrong while relevance is made; every message says what to do."""

from __future__ import annotations


class RelevanceError(ValueError):
    """A relevance map cannot be made from these arguments; the message says why."""


class UnsupportedOperation(RelevanceError):  # noqa: N818 - the name says what is wrong
    """The network uses an operation without a relevance rule; the message names it."""


class RelevanceWarning(UserWarning):
    """An operation has no rule of its own, but its plain gradient conserves relevance."""
