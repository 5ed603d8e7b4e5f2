"""The table of timm's classifiers, on a sample; and its judgement where something is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from benchmarks import timm_table
from benchmarks.timm_table import (
    Row,
    examine,
    list_rows,
    read_journal,
    try_network,
    work,
    write_page,
)
from isnet_cli.guard.worker import Budget
from isnet_lrp import RelevanceError

# (network, module of timm, result, rules or the beginning of the reason)
SAMPLE = (
    ("resnet10t", "resnet", "exact", ""),
    ("mobileone_s0", "byobnet", "exact", ""),
    ("repghostnet_050", "repghost", "rules", "gate"),
    ("lcnet_035", "mobilenetv3", "rules", "act gate"),
    ("convnext_atto", "convnext", "rules", "act norm"),
    ("starnet_s1", "starnet", "rules", "act half"),
    ("efficientvit_m0", "efficientvit_msra", "rules", "attn gate"),
    ("levit_128s", "levit", "rules", "act attn gate"),
    ("xcit_nano_12_p16_224", "xcit", "rules", "act norm attn gate"),
    ("vit_tiny_patch16_224", "vision_transformer", "rules", "act norm attn"),
    ("test_resnet", "resnet", "exact", ""),
    ("sequencer2d_s", "sequencer", "rules", "act norm gate"),
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("name", "module", "result", "more"), SAMPLE, ids=[s[0] for s in SAMPLE])
def test_a_sample_of_the_table(name: str, module: str, result: str, more: str) -> None:
    found = try_network(Row(name, module))
    assert (found.result, found.more) == (result, more)
    assert found.size == 64
    assert found.error < 1e-4
    assert 0.1 < found.millions < timm_table.LARGE


class Silent(nn.Module):
    """Its logits do not depend on the image by an operation with a rule."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.special.i0(x.flatten(1)[:, :3])


class Forgetful(nn.Module):
    """Gives other logits at every second call."""

    def __init__(self) -> None:
        super().__init__()
        self.head, self.calls = nn.Linear(48, 3), 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.head(x.flatten(1)) * (1 + self.calls % 2)


def test_what_is_wrong_is_not_called_right() -> None:
    torch.manual_seed(0)
    x = torch.rand(2, 3, 4, 4)
    with pytest.raises(RelevanceError, match="no relevance rule"):
        examine(Silent(), x)
    assert examine(Forgetful(), x).result == "wrong"
    assert examine(nn.Sequential(nn.Flatten(), nn.Linear(48, 3)), x).result == "exact"
    dead = nn.Sequential(nn.Flatten(), nn.Linear(48, 3))
    nn.init.zeros_(dead[1].weight)
    assert examine(dead, x).more == "the map is zero or not finite"


def test_every_module_has_its_turn_first() -> None:
    rows = list_rows([])
    modules = {row.module for row in rows}
    assert {row.module for row in rows[: len(modules)]} == modules
    assert len({row.name for row in rows}) == len(rows) > 1000


def test_a_journal_is_continued_and_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [Row("resnet10t", "resnet"), Row("resnet18", "resnet"), Row("vgg11", "vgg")]
    journal = tmp_path / "journal.jsonl"
    done = [
        Row("resnet10t", "resnet", 4.9, 64, False, "exact", "", 1e-7),
        Row("resnet18", "resnet", 11.2, 64, False, "refused", "lstm: no relevance rule"),
    ]
    journal.write_text("".join(json.dumps(vars(row)) + "\n" for row in done), encoding="utf-8")
    tried: list[str] = []

    def fake(function: object, tasks: list[Row], *_: object, **__: object) -> object:
        tried.extend(row.name for row in tasks)
        return ((i, Row(r.name, r.module, 9.0, 64, False, "rules", "act", 1e-6))
                for i, r in enumerate(tasks))  # fmt: skip

    monkeypatch.setattr(timm_table, "run_tasks", fake)
    found = work(journal, rows, Budget(1, 10**9), 10)
    assert tried == ["vgg11"]
    assert list(read_journal(journal)) == list(found) == [row.name for row in rows]
    page = write_page(list(found.values()), Budget(1, 10**9), 9)
    assert "3 of the 9 classifiers of timm" in page
    assert "**1 exact**, **1 by rules**, **1 refused**." in page
    assert "* lstm: no relevance rule: `resnet18`" in page
    assert "| resnet | 2 | 1 |  | 1 |  |  |" in page
