"""Networks with parts of their weights shuffled, to see whether maps depend on what was learned.

Source of the idea: Adebayo et al., "Sanity checks for saliency maps", NeurIPS 2018 (arXiv
1810.03292), who draw weights anew. Here the values of each tensor are shuffled, which keeps their
scale in every kind of network and destroys what they mean.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn

Group = tuple[str, ...]


def list_groups(net: nn.Module, most: int = 8) -> list[Group]:
    """Names of the modules with weights of their own, in groups from the head down.

    The last module, the head, is a group by itself; the others are shared out evenly, in the order
    in which the network names them.

    Args:
        net: The network.
        most: Number of groups at most, >= 2.
    """
    names = [
        name for name, module in net.named_modules()
        if any(True for _ in module.parameters(recurse=False))
    ][::-1]  # fmt: skip
    head, rest = names[:1], names[1:]
    count = min(most - 1, len(rest))
    edges = [round(i * len(rest) / count) for i in range(count + 1)] if count else [0]
    parts = [tuple(rest[a:b]) for a, b in itertools.pairwise(edges)]
    return [tuple(head), *parts] if head else []


def shuffle_weights(net: nn.Module, names: Sequence[str], generator: torch.Generator) -> nn.Module:
    """A copy of `net` in which the weights of the modules `names` are shuffled.

    Values move within their own tensor; running statistics of normalisation are shuffled too.

    Args:
        net: The network; it stays as it is.
        names: As of `named_modules`.
        generator: On the CPU.

    Returns:
        The copy, in the same mode and on the same device.
    """
    twin = copy.deepcopy(net)
    modules = dict(twin.named_modules())
    with torch.no_grad():
        for name in names:
            module = modules[name]
            for values in (*module.parameters(recurse=False), *module.buffers(recurse=False)):
                if values.is_floating_point() and values.numel() > 1:
                    values.copy_(_shuffle(values, generator))
    return twin


def _shuffle(values: Tensor, generator: torch.Generator) -> Tensor:
    order = torch.randperm(values.numel(), generator=generator).to(values.device)
    return values.flatten()[order].view_as(values)
