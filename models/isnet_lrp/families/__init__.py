"""Families of rules, a file each; importing this registers them."""

from isnet_lrp.families.alpha_beta import ALPHA_BETA, AlphaBeta
from isnet_lrp.families.attention import ATTN_LRP, CP_LRP
from isnet_lrp.families.block import BLOCK
from isnet_lrp.families.box import ZB
from isnet_lrp.families.composites import (
    EPSILON,
    EPSILON_ALPHA2_BETA1,
    EPSILON_PLUS,
    compose,
)
from isnet_lrp.families.flex import FLEX
from isnet_lrp.families.gamma import GAMMA, Gamma
from isnet_lrp.families.gradient import GRADIENT
from isnet_lrp.families.rules import Epsilon
from isnet_lrp.families.zplus import ZPLUS, ZPlus
from isnet_lrp.family import list_families, register_family

for _family in (FLEX, BLOCK, ZPLUS):
    register_family(_family)
register_family(ZPLUS, BLOCK, name="dual")
for _family in (EPSILON, GAMMA, ALPHA_BETA, EPSILON_PLUS, EPSILON_ALPHA2_BETA1, ATTN_LRP, CP_LRP,
                GRADIENT):  # fmt: skip
    register_family(_family)
BUILT_IN = list_families()

__all__ = [
    "BLOCK",
    "BUILT_IN",
    "EPSILON",
    "FLEX",
    "ZB",
    "ZPLUS",
    "AlphaBeta",
    "Epsilon",
    "Gamma",
    "ZPlus",
    "compose",
]
