"""Notes follow the identity of tensors and die with them."""

from __future__ import annotations

import gc
import weakref

import torch

from isnet_lrp.record.weak_dict import Notes


def test_tensors_are_told_apart_by_identity() -> None:
    notes: Notes[int] = Notes()
    a, b = torch.zeros(2), torch.zeros(2)
    notes[a] = 1
    assert a in notes
    assert b not in notes
    assert notes[a] == notes.get(a) == 1
    assert notes.get(b) is None
    assert notes.get(b, 7) == 7
    notes[a] = 2
    assert notes.setdefault(a, 3) == 2
    assert notes.setdefault(b, 3) == 3
    assert [(t is a, n) for t, n in notes.items()] == [(True, 2), (False, 3)]


def test_a_note_is_forgotten_with_its_tensor_and_never_passed_on() -> None:
    notes: Notes[int] = Notes()
    for n in range(200):  # identities are used again
        t = torch.zeros(1)
        assert t not in notes
        notes[t] = n
        assert len(notes) == 1
        del t
        assert len(notes) == 0


def test_a_tensor_that_only_autograd_holds_keeps_its_note() -> None:
    notes: Notes[int] = Notes()
    x = torch.ones(2, requires_grad=True)
    inner = x * 2
    notes[inner] = 5
    outer = inner.exp()  # keeps exp's result, not `inner`; the product keeps x
    held = torch.nn.functional.relu(inner).square()  # keeps relu's result
    del inner
    gc.collect()
    saved = held.grad_fn.next_functions[0][0]  # type: ignore[union-attr]
    assert saved is not None
    kept = saved._saved_result  # type: ignore[attr-defined]
    assert kept not in notes
    assert len(notes) <= 1
    outer.sum().backward()


def test_notes_leave_no_cycle_behind() -> None:
    gc.disable()
    try:
        notes: Notes[torch.Tensor] = Notes()
        key, value = torch.zeros(1), torch.ones(1)
        notes[key] = value
        watched = weakref.ref(value)
        del value, notes
        assert watched() is None
    finally:
        gc.enable()
