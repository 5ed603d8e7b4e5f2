"""The epsilon rule carried as relevance, families of one rule for each sort of layer, and by layer.

`epsilon`: R_j = a_j Σ_k W_jk R_k/stab(z_k) everywhere (Bach et al. 2015; docs/lrp.md, section 2.1).
Its maps are those of LRP Block, which carries signals and is quicker, but for one more division
between a convolution and a pooling that a BatchNorm reads. Here each layer may have another rule,
and biases are no constants when maps are differentiated.

Sources of the others: Montavon et al. 2019; the names are those of zennit (Anders et al. 2021,
arXiv 2106.13200). `epsilon-plus` has z+ in convolutions, `epsilon-alpha2-beta1` alpha-beta with 2
and 1; both have the epsilon rule in linear layers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from isnet_lrp.errors import RelevanceError
from isnet_lrp.families.alpha_beta import AlphaBeta
from isnet_lrp.families.rules import MIXES, Epsilon, refuse
from isnet_lrp.families.zplus import ZPlus
from isnet_lrp.family import Family, Rule
from isnet_lrp.ops.weighted import Linear, Weighted
from isnet_lrp.targets import start_with_logits

_REFUSED: dict[Any, Any] = dict.fromkeys(MIXES, refuse)
EPSILON = Family("epsilon", start_with_logits, "relevance", {Weighted: Epsilon()})
EPSILON_PLUS = Family(
    "epsilon-plus", start_with_logits, "relevance",
    _REFUSED | {Weighted: ZPlus(), Linear: Epsilon()},
)  # fmt: skip
EPSILON_ALPHA2_BETA1 = Family(
    "epsilon-alpha2-beta1", start_with_logits, "relevance",
    _REFUSED | {Weighted: AlphaBeta(), Linear: Epsilon()},
)  # fmt: skip


def compose(family: Family, net: nn.Module, rules: Mapping[str | type[nn.Module], Rule]) -> Family:
    """A family with rules of its own for the weighted operations of some modules.

    Args:
        family: One that carries relevance.
        net: The network.
        rules: By name of a module, for it and all inside it (the longest name goes first), or by
            class of the module that calls the operation (in the order given).

    Raises:
        RelevanceError: The family carries signals, or the network has no such module.
    """
    if family.carries != "relevance":
        raise RelevanceError(
            f"rules with family {family.name!r}: it carries signals; take 'epsilon' or another "
            "family that carries relevance"
        )
    modules = dict(net.named_modules())
    names = {key: rule for key, rule in rules.items() if isinstance(key, str)}
    kinds = [(key, rule) for key, rule in rules.items() if not isinstance(key, str)]
    for name in names:
        if name not in modules:
            raise RelevanceError(f"rules {name!r}: the network has no such module")
    for kind, _ in kinds:
        if not any(isinstance(module, kind) for module in modules.values()):
            raise RelevanceError(f"rules {kind.__name__}: the network has no such module")
    found: dict[str, Rule] = {}
    for name, module in modules.items():
        inside = [key for key in names if name == key or name.startswith(f"{key}.") or key == ""]
        of_kind = [rule for kind, rule in kinds if isinstance(module, kind)]
        if inside:
            found[name] = names[max(inside, key=len)]
        elif of_kind:
            found[name] = of_kind[0]
    return family.with_modules(found)
