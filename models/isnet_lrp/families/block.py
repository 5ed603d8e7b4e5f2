"""LRP Block: the epsilon factor at every affine output (docs/lrp.md, section 2).

The signal goes back like a gradient and is multiplied by t/stab(t) at every epsilon site t, which
`record/sites.py` finds.
"""

from __future__ import annotations

from isnet_lrp.family import Family
from isnet_lrp.targets import start_with_sites

BLOCK = Family("block", start_with_sites, sites=True, mixed=True)
