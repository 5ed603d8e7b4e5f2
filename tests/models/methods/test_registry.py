"""Names, additions and needs of the training methods."""

from __future__ import annotations

import pytest

from isnet_models.methods import registry
from isnet_models.methods.base import Context, Method
from isnet_models.methods.registry import ENTRIES, NEEDS, Entry

ADDED = (*ENTRIES, Entry("plus", "standard:Standard", "an addition", addition=True))


@pytest.mark.parametrize("entry", ENTRIES, ids=registry.names())
def test_entries_are_whole(entry: Entry) -> None:
    kind = entry.load()
    assert issubclass(kind, Method)
    kind.Settings()  # every setting has a default
    assert all(name.islower() for name in kind.Settings.model_fields)
    assert set(entry.needs) <= set(NEEDS)
    assert entry.summary
    assert not entry.summary.endswith(".")
    assert (entry.explains in ("lrp", "grad_input")) or "rules" not in entry.needs


def test_names_are_found_and_additions_have_a_base() -> None:
    assert [e.name for e in registry.parts("isnet + plus", ADDED)] == ["isnet", "plus"]
    assert [e.name for e in registry.parts("plus", ADDED)] == ["standard", "plus"]
    assert registry.needs("isnet") == {"masks", "rules", "range"}
    made = registry.make("plus", Context(), entries=ADDED)
    assert type(made.base) is registry.parts("standard")[0].load()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("isnt", "did you mean 'isnet'"),
        ("isnet+isnet", "named twice"),
        ("isnet+standard", "cannot be added to 'isnet'"),
        ("", "unknown"),
    ],
)
def test_wrong_names_are_refused(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        registry.parts(text, ADDED)
