"""LRP-Flex: the epsilon factor at every ReLU, else gradients (docs/lrp.md, section 3).

A ReLU with output a passes g_z = g_a · a/(a + epsilon); the pixels have R = x ⊙ g.
"""

from __future__ import annotations

from isnet_lrp.family import Family
from isnet_lrp.targets import TARGETS, start_with_gradient

FLEX = Family("flex", start_with_gradient, targets=TARGETS, mixed=True)
