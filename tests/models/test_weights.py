"""Weight files: what is loaded is what was saved, or a typed refusal."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path

import pytest
import torch

from isnet_models.registry import WeightsError
from isnet_models.weights import load_weights, save_weights

STATE = {"a.weight": torch.arange(12.0).reshape(3, 4) / 7, "a.count": torch.tensor(5)}


def test_what_was_saved_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "w.safetensors"
    digest = save_weights(STATE, path)
    assert digest == hashlib.sha256(path.read_bytes()).hexdigest()
    loaded = load_weights(path, digest)
    assert loaded.keys() == STATE.keys()
    assert all(torch.equal(loaded[name], STATE[name]) for name in STATE)
    assert [p.name for p in path.parent.iterdir()] == ["w.safetensors"]


def test_the_same_weights_give_the_same_file(tmp_path: Path) -> None:
    backwards = dict(reversed(STATE.items()))
    first = save_weights(STATE, tmp_path / "1.safetensors")
    assert first == save_weights(backwards, tmp_path / "2.safetensors")


def test_half_precision_keeps_whole_numbers_and_three_digits(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    loaded = load_weights(path, save_weights(STATE, path, half=True))
    assert loaded["a.weight"].dtype == torch.float32
    torch.testing.assert_close(loaded["a.weight"], STATE["a.weight"], rtol=5e-4, atol=0)
    assert torch.equal(loaded["a.count"], STATE["a.count"])


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e6])
def test_values_that_are_not_finite_are_not_saved(tmp_path: Path, value: float) -> None:
    path = tmp_path / "w.safetensors"
    with pytest.raises(WeightsError, match="b is not finite"):
        save_weights({"b": torch.tensor([value])}, path, half=True)
    assert not path.exists()


def test_tied_tensors_are_saved_apart(tmp_path: Path) -> None:
    one = torch.ones(4)
    path = tmp_path / "w.safetensors"
    save_weights({"x": one, "y": one[:2]}, path)
    assert load_weights(path)["y"].tolist() == [1, 1]


def test_a_changed_byte_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    digest = save_weights(STATE, path)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(WeightsError, match=r"SHA-256 is .* damaged or replaced"):
        load_weights(path, digest)


@pytest.mark.parametrize("sixteenths", range(16))
def test_a_truncated_file_is_refused_with_and_without_a_hash(
    tmp_path: Path, sixteenths: int
) -> None:
    path = tmp_path / "w.safetensors"
    digest = save_weights(STATE, path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * sixteenths // 16])
    with pytest.raises(WeightsError, match="damaged or replaced"):
        load_weights(path, digest)
    with pytest.raises(WeightsError, match="not a whole safetensors file"):
        load_weights(path)


class Payload:
    """Leaves a trace when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (str(self.trace),)


def test_a_pickle_is_refused_and_not_executed(tmp_path: Path) -> None:
    path, trace = tmp_path / "w.safetensors", tmp_path / "trace"
    path.write_bytes(pickle.dumps(Payload(trace)))
    with pytest.raises(WeightsError, match="not a whole safetensors file"):
        load_weights(path)
    torch.save(STATE, path)
    with pytest.raises(WeightsError, match="not a whole safetensors file"):
        load_weights(path)
    assert not trace.exists()


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"absent\.safetensors: cannot be read"):
        load_weights(tmp_path / "absent.safetensors")
    with pytest.raises(WeightsError, match="cannot be read"):
        load_weights(tmp_path)
