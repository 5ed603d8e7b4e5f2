"""What a golden name asks for, and the engine's call that answers it.

Names look like "flex/selective/e1e-2/zb1/delta0.01" or "block_lds/multiple/e1e-2/zb1/LRPlayer4".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from isnet_lrp import Choice, Relevance, relevance
from tests.golden.tools.folder import Array, UnknownFormError

TARGETS = {
    "multiple": "all", "all": "all", "highest": "predicted", "predicted": "predicted",
    "selective": "selective", "label_selective": "selective", "label_logit": "labels",
    "label": "labels", "stochastic": "drawn", "random": "drawn", "dual": "every-logit-at-once",
    "z+": "every-logit-at-once", "zplus": "every-logit-at-once", "sum": "every-logit-at-once",
    "every-logit-at-once": "every-logit-at-once",
}  # fmt: skip
FAMILIES = {"dual": "dual", "z+": "z+", "zplus": "z+"}  # modes that are families of ours


@dataclass(frozen=True)
class Request:
    """A map: family flex or block, mode, epsilon, rule of the first layer, contrast, place."""

    family: str
    mode: str
    epsilon: float
    zb: bool
    delta: float = 0.01
    place: str = "input"


def read(name: str, facts: dict[str, Any] | None = None) -> Request:
    """Takes a name apart; what the JSON file says beside it must agree.

    Raises:
        UnknownFormError: For a part without a reading.
    """
    group, _, rest = name.partition("/")
    family, deep = group.removesuffix("_lds"), group.endswith("_lds")
    mode, *tags = rest.split("/")
    values: dict[str, Any] = {}
    while tags and (tag := _tag(tags[0])) is not None and tag[0] not in values:
        values[tag[0]] = tag[1]
        tags.pop(0)
    place = "/".join(tags) or "input"
    known = family in ("flex", "block") and mode in TARGETS and {"epsilon", "zb"} <= set(values)
    if not known or (deep != bool(tags) and not (tags == ["input"])):
        raise UnknownFormError(f"array '{name}': no such map is known")
    request = Request(family, mode, place=place, **values)
    for key, ours in (("eps", request.epsilon), ("zB", request.zb), ("delta", request.delta)):
        said = (facts or {}).get(key, ours)
        if said != ours:
            raise UnknownFormError(
                f"array '{name}': the JSON file says {key} {said}, the name {ours}"
            )
    return request


def _tag(text: str) -> tuple[str, Any] | None:
    """e1e-2 -> epsilon 0.01; zb1 -> zb True; delta0.01 -> delta 0.01; else None."""
    number = r"(\d+(?:\.\d+)?(?:e[+-]?\d+)?)"
    if found := re.fullmatch(rf"e(?:ps)?{number}", text):
        return "epsilon", float(found[1])
    if found := re.fullmatch(r"zb([01])", text):
        return "zb", found[1] == "1"
    if found := re.fullmatch(rf"delta{number}", text):
        return "delta", float(found[1])
    return None


def ask(
    net: nn.Module,
    x: Tensor,
    request: Request,
    *,
    labels: Array | None = None,
    drawn: Array | None = None,
    layers: tuple[str, ...] = (),
    create_graph: bool = False,
    training: bool = False,
) -> Relevance:
    """The engine's answer: maps, logits and the maps of `layers` (module names).

    Args:
        net: Network in the precision of `x`.
        x: Images [B, C, H, W].
        request: What to ask.
        labels: Given classes [B], for the modes that explain them.
        drawn: Stored choice of the stochastic mode [B].
        layers: Module names whose maps are wanted too.
        create_graph: Whether a loss of the maps is differentiated.
        training: Statistics of the batch, treated as in the published code.
    """
    target: Any = TARGETS[request.mode]
    if target in ("labels", "drawn"):
        target = _classes(labels if target == "labels" else drawn, request.mode)
    more: dict[str, Any] = {}
    chosen: Tensor | None = None
    if request.mode == "label_selective":
        chosen = _classes(labels, request.mode)
    if training:
        more["batch_norm"] = "full"
    if layers:
        more["layers"] = layers
    family = FAMILIES.get(request.mode, request.family)
    if family != "flex":
        more["family"] = family
    bounds = (0.0, 1.0) if request.zb else None
    return relevance(
        net, x, target, epsilon=request.epsilon, zb=bounds,
        choice=Choice(chosen, request.delta), create_graph=create_graph, **more,
    )  # fmt: skip


def _classes(values: Array | None, mode: str) -> Tensor:
    if values is None:
        raise UnknownFormError(f"mode '{mode}' needs classes, and the case holds none")
    return torch.from_numpy(values).long()


def drawn_classes(arrays: Mapping[str, Array], key: str) -> Array | None:
    """The classes that were drawn for the stochastic maps of `key`'s family, if it is one."""
    family, mode = key.split("/")[:2]
    if TARGETS.get(mode) != "drawn":
        return None
    return arrays.get(f"{family.removesuffix('_lds')}/{mode}/selected_indices")


def is_choice(key: str) -> bool:
    """Whether an array holds drawn classes, an input of the maps beside it."""
    return key.endswith("/selected_indices")


STAGES = (
    (r"LRP(?:Classifier|FinalLayers|FinalLayer|Final)", "_last"),
    (r"LRPlayer(\d+)", "_before_layer"),
    (r"LRPTransition(\d+)", "_transition"),
)


def places(net: nn.Module, place: str, x: Tensor, shape: tuple[int, ...]) -> list[str]:
    """Module names where a deep-supervision map may lie, the likeliest first.

    A module's own name is itself. Stages of LRP Block are named by the layer that the relevance
    leaves, so it lies on the output of the layer before. Other stage names give every module
    whose output has the map's size.

    Raises:
        UnknownFormError: Where no module fits.
    """
    names = dict(net.named_modules())
    if place in names:
        return [place]
    last = [n for n in ("features.fReLU", f"layer{_stages(net)}", "features") if n in names]
    if re.fullmatch(STAGES[0][0], place) and last:
        return last[:1]
    if found := re.fullmatch(STAGES[1][0], place):
        before = f"layer{int(found[1]) - 1}" if int(found[1]) > 1 else "maxpool"
        if before in names:
            return [before]
    found = re.fullmatch(STAGES[2][0], place)
    if found and f"features.transition{found[1]}.relu" in names:
        return [f"features.transition{found[1]}.relu"]
    fitting = _of_shape(net, x, shape)
    if not fitting:
        raise UnknownFormError(f"no module of the network has an output like the map '{place}'")
    return fitting


def _stages(net: nn.Module) -> int:
    return sum(re.fullmatch(r"layer\d+", name) is not None for name, _ in net.named_children())


def _of_shape(net: nn.Module, x: Tensor, shape: tuple[int, ...]) -> list[str]:
    """Modules whose output is [B, *shape[2:]], last first."""
    found: list[str] = []
    wanted = (shape[0], *shape[2:])

    def note(name: str) -> Any:
        def hook(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
            if tuple(output.shape) == wanted and name not in found:
                found.append(name)

        return hook

    handles = [m.register_forward_hook(note(n)) for n, m in net.named_modules() if n]
    try:
        with torch.no_grad():
            net(x)
    finally:
        for handle in handles:
            handle.remove()
    return found[::-1]
