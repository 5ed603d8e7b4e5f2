"""Which of timm's classifiers can be explained, by which rules, and what the others lack.

    python benchmarks/timm_table.py [--journal FILE] [--filter resnet,vit] [--seconds 3600]
                                    [--write docs/timm.md]

Every network is built with random weights and three classes at the smallest image size that it
takes: one of each of timm's modules, then another of each, and so on, large ones last. One forward
pass and one map; the logits must be those of the network alone, the map finite, and the map of
family "gradient" autograd's gradient x input. A network without rules beyond ReLU, linear layers
and pooling is "exact" if the default family's map with epsilon 0 is that, too. Each runs in a
process with a limit of time and memory; what is done stands in the journal and is not done again.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.network_list import CLASSES, Network, images, settle
from benchmarks.networks import count_passed
from isnet_cli.core.workers import run_tasks
from isnet_cli.guard.worker import Budget, Lost
from isnet_lrp import RelevanceError, relevance

LARGE = 40.0  # millions of parameters: such networks come last
SIZES = (64, 96, 128, 160, 192, 224, 240, 256, 384, 448, 512)  # height and width that are tried
# Images. Not one: torch 2.14's gradient of a BatchNorm is wrong where that of its output is
# transposed and the batch is 1 (levit_128s; finite differences agree with family "gradient").
SEVERAL = 2
ROUNDING = 1e-3  # largest error, of the largest value, in float32
UNFIT = (
    TypeError,
    AssertionError,
    RuntimeError,
    ValueError,
    KeyError,
    IndexError,
    ZeroDivisionError,
)


@dataclass(frozen=True)
class Row:
    """What is known of one network.

    Attributes:
        name: Its name in timm.
        module: The module of timm that has it.
        millions: Of parameters.
        size: Height and width of its images; 0: none was found.
        fixed: Whether it was told that size.
        result: "planned", "exact", "rules", "refused", "wrong", "not built", "slow" or "large".
        more: Rules, or what is the matter.
        error: Of family "gradient" against autograd, of the largest value.
        seconds: That it took.
    """

    name: str
    module: str
    millions: float = 0.0
    size: int = 0
    fixed: bool = False
    result: str = "planned"
    more: str = ""
    error: float = 0.0
    seconds: float = 0.0


def build(name: str, size: int, fixed: bool) -> nn.Module:
    """The network in evaluation mode, told the size of its images or not."""
    options = {"img_size": size} if fixed else {}
    return timm.create_model(name, num_classes=CLASSES, **options).eval()


def plan(row: Row) -> Row:
    """Finds the smallest size by tensors without values, which cost no arithmetic."""
    why, plain = "", None
    with torch.device("meta"), torch.no_grad():
        for size in SIZES:
            for fixed in (True, False):
                try:
                    if fixed:
                        net = build(row.name, size, True)
                    else:
                        net = plain = plain or build(row.name, size, False)
                    net(torch.rand(1, count_channels(net), size, size))
                except UNFIT as error:
                    why = why or describe(error)
                    continue
                millions = sum(p.numel() for p in net.parameters()) / 1e6
                return replace(row, millions=millions, size=size, fixed=fixed)
    return replace(row, result="not built", more=why)


def count_channels(net: nn.Module) -> int:
    """Channels of the images that a network of timm is made for."""
    found: int = getattr(net, "default_cfg", {}).get("input_size", (3,))[0]
    return found


def describe(error: Exception) -> str:
    """An error in one line."""
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:80]}"


def try_network(row: Row) -> Row:
    """One forward pass, one map, and the checks of the module's docstring; large ones later."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    torch.manual_seed(0)
    began = time.perf_counter()
    found = row if row.size else plan(row)
    if found.result == "planned" and (row.size or found.millions < LARGE):
        try:
            found = _try(found)
        except UNFIT as error:
            if "alloc" in str(error):
                raise MemoryError from error
            found = replace(found, result="not built", more=describe(error))
    return replace(found, seconds=time.perf_counter() - began)


def _try(row: Row) -> Row:
    net = build(row.name, row.size, row.fixed)
    x = images(Network("timm", row.name, row.size), SEVERAL)
    x = x[:, :1].repeat(1, count_channels(net), 1, 1) if count_channels(net) != 3 else x
    settle(net, x)
    for precision in (torch.float32, torch.float64):  # what rounds is tried again
        try:
            found = examine(net.to(precision), x.to(precision))
        except RelevanceError as error:
            return replace(row, result="refused", more=str(error).partition(";")[0])
        if found.result != "wrong":
            break
    return replace(found, name=row.name, module=row.module, millions=row.millions, size=row.size,
                   fixed=row.fixed)  # fmt: skip


def examine(net: nn.Module, x: Tensor) -> Row:
    """Result, rules and error of a network.

    Raises:
        RelevanceError: It cannot be explained.
    """
    image = x.clone().requires_grad_()
    logits = net(image)
    (slope,) = torch.autograd.grad(logits.max(1).values.sum(), image)
    expected = (x * slope)[:, None]
    found = relevance(net, x)
    gradient = compare(relevance(net, x, family="gradient").maps, expected)
    rules = count_passed(net, x).rules
    row = Row("", "", result="rules" if rules else "exact", more=" ".join(rules), error=gradient)
    if not (found.maps.isfinite().all() and found.maps.abs().max() > 0):
        return replace(row, result="wrong", more="the map is zero or not finite")
    if compare(found.logits, logits) > ROUNDING:
        return replace(row, result="wrong", more="other logits than the network's")
    if gradient > ROUNDING:
        return replace(row, result="wrong", more="family 'gradient' is not autograd's")
    if not rules and compare(relevance(net, x, epsilon=0.0).maps, expected) > ROUNDING:
        return replace(row, result="wrong", more="epsilon 0 is not gradient x input")
    return row


def compare(ours: Tensor, theirs: Tensor) -> float:
    """Largest difference, of the largest value."""
    return float((ours - theirs).detach().abs().max() / theirs.detach().abs().max())


# -- all of them ---------------------------------------------------------------------------------


def list_rows(wanted: list[str]) -> list[Row]:
    """The networks of timm whose names have one of these parts, of all modules in turn."""
    found: list[tuple[int, Row]] = []
    for module in timm.list_modules():
        names = sorted(timm.list_models(module=module), key=lambda name: (len(name), name))
        fit = [name for name in names if not wanted or any(part in name for part in wanted)]
        found += [(turn, Row(name, module)) for turn, name in enumerate(fit)]
    return [row for _, row in sorted(found, key=lambda pair: pair[0])]


def read_journal(path: Path) -> dict[str, Row]:
    """The last row of every network."""
    if not path.exists():
        return {}
    lines = path.read_text(encoding="utf-8").splitlines()
    return {row.name: row for row in (Row(**json.loads(line)) for line in lines)}


def work(journal: Path, rows: list[Row], budget: Budget, seconds: float) -> dict[str, Row]:
    """Tries every network that the journal does not have yet; the last row of each."""
    deadline = time.monotonic() + seconds
    known = read_journal(journal)
    lost = {Lost.SLOW: "slow", Lost.LARGE: "large", Lost.CRASHED: "not built"}
    for large in (False, True):
        todo = [known.get(row.name, row) for row in rows]
        todo = [row for row in todo if row.result == "planned" and (large or not row.size)]
        todo.sort(key=lambda row: row.millions)
        tried = run_tasks(
            try_network, todo, 1, budget=budget, stop=lambda: time.monotonic() > deadline
        )
        with journal.open("a", encoding="utf-8") as file:
            for index, found in tried:
                row = (
                    replace(todo[index], result=lost[found], more="beyond the limit")
                    if isinstance(found, Lost)
                    else found
                )
                known[row.name] = row
                file.write(json.dumps(asdict(row)) + "\n")
                file.flush()
                print(f"{row.name:44} {row.size:4} {row.millions:7.1f} {row.result:10} {row.more}",
                      flush=True)  # fmt: skip
    return {row.name: known[row.name] for row in rows if row.name in known}


# -- the page ------------------------------------------------------------------------------------

PAGE = """# timm's classifiers

{tried} of the {total} classifiers of timm {timm}, of each module in turn and the large ones last, with random weights and three classes at the
smallest image size that they take: one forward pass and one map with torch {torch}. Made by

```sh
python benchmarks/timm_table.py --journal timm.jsonl --write docs/timm.md   # again: the others
```

{counts}

* *exact*: nothing beyond linear layers, ReLU, BatchNorm and pooling. With epsilon 0 the map was gradient x input.
* *by rules*: further rules, named as in [networks.md](networks.md): {rules}.
* *refused*: an operation has no rule. *not tried*: timm does not build it without a network or a further package, or it needs more than
  {memory:.0f} GB or {seconds:.0f} s here.

In all that were explained the logits were those of the network alone, and the map of family `gradient` was autograd's gradient x input, found
operation by operation: the largest error was {worst:.0e} of the largest value, the median {median:.0e}.

## Refused
{refused}

## Not tried
{absent}

## By module of timm

| module | networks | exact | by rules | refused | not tried | rules |
|---|--:|--:|--:|--:|--:|---|
{modules}
"""  # noqa: E501 - a page
COLUMNS = {"exact": ("exact",), "by rules": ("rules",), "refused": ("refused",),
           "not tried": ("not built", "slow", "large"), "wrong": ("wrong",)}  # fmt: skip


def write_page(rows: list[Row], budget: Budget, total: int) -> str:
    """The page of these rows, of so many networks in all."""
    rows = [row for row in rows if row.result != "planned"]
    counted = {c: sum(r.result in kinds for r in rows) for c, kinds in COLUMNS.items()}
    explained = [row.error for row in rows if row.result in ("exact", "rules")]
    of_rules = Counter(rule for row in rows if row.result == "rules" for rule in row.more.split())
    return PAGE.format(
        timm=version("timm"), torch=version("torch"),
        tried=len(rows), total=total,
        counts=", ".join(f"**{n} {column}**" for column, n in counted.items() if n) + ".",
        rules=", ".join(f"*{rule}* {n}" for rule, n in of_rules.most_common()),
        memory=budget.memory / 1e9, seconds=budget.seconds,
        worst=max(explained), median=statistics.median(explained),
        refused=list_reasons([r for r in rows if r.result in ("refused", "wrong")]),
        absent=list_reasons([r for r in rows if r.result in COLUMNS["not tried"]]),
        modules="\n".join(list_modules(rows)),
    )  # fmt: skip


def list_reasons(rows: list[Row]) -> str:
    """Names by reason."""
    found: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        found[row.more if row.result in ("refused", "wrong", "not built") else row.result].append(
            row.name
        )
    lines = [f"* {why}: {', '.join(f'`{n}`' for n in names)}" for why, names in found.items()]
    return "\n" + ("\n".join(lines) or "None.")


def list_modules(rows: list[Row]) -> Iterator[str]:
    """A line of the table for each module."""
    for module in sorted({row.module for row in rows}):
        own = [row for row in rows if row.module == module]
        counts = [sum(r.result in COLUMNS[c] for r in own) or "" for c in list(COLUMNS)[:4]]
        rules = sorted({rule for row in own if row.result == "rules" for rule in row.more.split()})
        cells: list[Any] = [module, len(own), *counts, ", ".join(rules)]
        yield "| " + " | ".join(map(str, cells)) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--journal", type=Path, default=Path("timm.jsonl"), help="what is done")
    parser.add_argument("--filter", default="", help="parts of names, separated by commas")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop after these")
    parser.add_argument("--limit", type=float, default=120, help="seconds for one network")
    parser.add_argument("--memory", type=float, default=5, help="GB for one network")
    parser.add_argument("--write", type=Path, help="the page to write")
    given = parser.parse_args()
    budget = Budget(given.limit, int(given.memory * 1e9))
    rows = list_rows([part for part in given.filter.split(",") if part])
    found = list(work(given.journal, rows, budget, given.seconds).values())
    print(f"\n{len(found)} of {len(rows)}: {dict(Counter(row.result for row in found))}")
    if given.write:
        given.write.write_text(write_page(found, budget, len(rows)), encoding="utf-8")


if __name__ == "__main__":
    main()
