"""C1 and C2 are positive, ordered and reproducible."""

from __future__ import annotations

from pathlib import Path

import torch

from isnet_cli.ports import Ports
from isnet_cli.stages.cuts import estimate_cuts
from train_factory import films


def test_cuts_are_positive_ordered_and_reproducible(tmp_path: Path) -> None:
    store, config = films(tmp_path)
    device = torch.device("cpu")
    one = estimate_cuts(config, store, "standard", device, Ports())
    assert one == estimate_cuts(config, store, "standard", device, Ports())
    assert 0 < one[0] <= one[1]
    assert (
        estimate_cuts(config, store, "standard", device, Ports(stop_requested=lambda: True)) is None
    )
