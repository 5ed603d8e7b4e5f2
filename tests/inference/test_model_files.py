"""A trained model is loaded whole and unchanged, or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from isnet_cli.core.pipeline import run_stage
from isnet_cli.core.run_context import RunContext
from isnet_cli.errors import IsnetError
from isnet_cli.inference.model_files import load_model
from isnet_cli.train import stage as train
from tests.support.runs import make_run, small_config


def test_damaged_model_is_refused(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run")
    run_stage(train, small_config(), folder, RunContext())
    path = folder.path / "train" / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(IsnetError, match="SHA-256"):
        load_model(folder.path, torch.device("cpu"))
    assert not folder.is_current("train", train.fingerprint(small_config(), folder))


def test_a_model_of_version_0_1_0_is_refused_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "model.json").write_text('{"schema": 1, "classes": ["a", "b"]}', encoding="utf-8")
    with pytest.raises(IsnetError, match=r"card format 1\), expected format 2") as caught:
        load_model(tmp_path, torch.device("cpu"))
    assert caught.value.kind == "weights"
    assert "train the model again" in caught.value.fix
