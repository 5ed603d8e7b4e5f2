"""Values of a configuration that no machine can take."""

from __future__ import annotations

from pathlib import Path

import pytest

from isnet_cli.config.load import load
from isnet_cli.errors import IsnetError


@pytest.mark.parametrize(
    "text",
    [
        f"seed: {'9' * 5000}",
        f"train: {{optimizer: {{lr: {'1' * 5000}.5}}}}",
        f"data: {{images: {'x' * 5000}}}",
        f"masks: {{files: a/{'x' * 300}}}",
        'data: {images: "a\\0b"}',
    ],
)
def test_extremes_are_faults_of_the_configuration(tmp_path: Path, text: str) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(IsnetError) as caught:
        load(path)
    assert caught.value.exit_code == 3
