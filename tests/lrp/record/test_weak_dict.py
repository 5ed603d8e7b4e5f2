"""A weak dictionary follows the identity of tensors, and its entries die with them."""

from __future__ import annotations

import gc
import weakref

import torch

from isnet_lrp.record.weak_dict import WeakDict


def test_tensors_are_told_apart_by_identity() -> None:
    found: WeakDict[int] = WeakDict()
    a, b = torch.zeros(2), torch.zeros(2)
    found[a] = 1
    assert a in found
    assert b not in found
    assert found[a] == found.get(a) == 1
    assert found.get(b) is None
    assert found.get(b, 7) == 7
    found[a] = 2
    assert found.setdefault(a, 3) == 2
    assert found.setdefault(b, 3) == 3
    assert [(t is a, n) for t, n in found.items()] == [(True, 2), (False, 3)]


def test_an_entry_is_forgotten_with_its_tensor_and_never_passed_on() -> None:
    found: WeakDict[int] = WeakDict()
    for n in range(200):  # identities are used again
        t = torch.zeros(1)
        assert t not in found
        found[t] = n
        assert len(found) == 1
        del t
        assert len(found) == 0


def test_a_tensor_that_only_autograd_holds_keeps_its_entry() -> None:
    found: WeakDict[int] = WeakDict()
    x = torch.ones(2, requires_grad=True)
    inner = x * 2
    found[inner] = 5
    outer = inner.exp()  # keeps exp's result, not `inner`; the product keeps x
    held = torch.nn.functional.relu(inner).square()  # keeps relu's result
    del inner
    gc.collect()
    saved = held.grad_fn.next_functions[0][0]  # type: ignore[union-attr]
    assert saved is not None
    kept = saved._saved_result  # type: ignore[attr-defined]
    assert kept not in found
    assert len(found) <= 1
    outer.sum().backward()


def test_weak_dictionaries_leave_no_cycle_behind() -> None:
    gc.disable()
    try:
        found: WeakDict[torch.Tensor] = WeakDict()
        key, value = torch.zeros(1), torch.ones(1)
        found[key] = value
        watched = weakref.ref(value)
        del value, found
        assert watched() is None
    finally:
        gc.enable()
