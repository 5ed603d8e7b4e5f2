"""The folder is whole: hashes, listed arrays, and every case and array has a comparison."""

from __future__ import annotations

import pytest

from tests.golden.tools.asking import is_choice, read
from tests.golden.tools.folder import MAP_GROUPS, Case, cases, folder, kind, params, sha256, source

pytestmark = pytest.mark.shared
INPUTS = ("param/", "paramq/")
GIVEN = {"x", "labels", "multilabels", "mask", "logits", "logits_train"}
ALL = params([(case.name, case) for case in cases()], "cases")


def _explained(case: Case, key: str) -> bool:
    """Whether an array is an input, is compared by name, or may not be required."""
    if case.left_out(key) or key.startswith(INPUTS) or key in GIVEN or is_choice(key):
        return True
    group, _, rest = key.partition("/")
    what = kind(case)
    if what == "maps" and group in MAP_GROUPS:
        read(key, case.facts(key))  # raises for an unknown name
        return True
    if what == "losses":
        used = {one[name] for one in case.meta["cases"] for name in ("H", "M")}
        return key in used | {one.get("gradient_array") for one in case.meta["cases"]}
    modes = case.description.get("hyper", case.meta.get("expected", {}))
    named = any(rest == m or rest.startswith(f"{m}/") for m in modes)
    return what in ("gradients", "alternatives") and group in ("map", "grad") and named


@pytest.mark.parametrize("case", ALL)
def test_arrays_are_those_of_the_manifest(case: Case) -> None:
    if case.path is None:
        assert "arrays_file" not in case.entry
        return
    assert case.path.stat().st_size == case.entry.get("bytes", case.path.stat().st_size)
    assert sha256(case.path) == case.entry["sha256"], f"{case.path.name} is not as listed"


@pytest.mark.parametrize("case", ALL)
def test_described_arrays_are_there(case: Case) -> None:
    described = case.meta.get("arrays", {})
    assert set(described) <= set(case.names)
    arrays = case.arrays()
    wrong = [k for k, v in described.items() if tuple(v["shape"]) != arrays[k].shape]
    assert not wrong


@pytest.mark.parametrize("case", ALL)
def test_every_case_has_a_reading(case: Case) -> None:
    assert kind(case) != "unknown", f"{case.name}: nobody compares a case of this form"
    unread = [key for key in case.names if not _explained(case, key)]
    assert not unread, f"arrays that nobody compares: {unread}"
    assert source(case) is not None


@pytest.mark.parametrize("case", ALL)
def test_every_case_compares_something(case: Case) -> None:
    what = kind(case)
    count = {
        "maps": len([k for k in case.required(*(f"{g}/" for g in MAP_GROUPS)) if not is_choice(k)]),
        "gradients": len(case.description.get("hyper", {})),
        "losses": len(case.meta.get("cases", ())), "cuts": len(case.meta.get("cases", ())),
        "alternatives": len(case.meta.get("expected", {})), "metrics": 1,
    }[what]  # fmt: skip
    assert count, f"{case.name}: no comparisons"


def test_no_case_is_listed_twice() -> None:
    names = [case.name for case in cases()]
    assert len(names) == len(set(names))
    assert names or not folder().is_dir()
