"""What a call may ask for beyond the usual, a record per concern."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from isnet_lrp.errors import RelevanceError
from isnet_lrp.family import Family


@dataclass(frozen=True)
class Choice:
    """How the targets that choose a class choose it.

    Attributes:
        classes: Class of the "selective" contrast, int64 [B]; None: the smallest logit.
        delta: Offset of the selective target of LRP-Flex, >= 0.
        probability: Of the predicted class in the "stochastic" target, 0 to 1.
        generator: Random source of the stochastic target (on the CPU).
        draws: Chance of the stochastic target drawn before, [2, B] in [0, 1), instead.
    """

    classes: Tensor | None = None
    delta: float = 0.01
    probability: float = 0.5
    generator: torch.Generator | None = None
    draws: Tensor | None = None

    def check(self) -> None:
        """Looks at the numbers.

        Raises:
            RelevanceError: One is out of range.
        """
        if not self.delta >= 0:
            raise RelevanceError(f"delta {self.delta}: expected >= 0")
        if not 0 <= self.probability <= 1:
            raise RelevanceError(f"probability {self.probability}: expected a number from 0 to 1")


@dataclass(frozen=True)
class Compute:
    """How a pass is computed; its maps are the same but for rounding.

    Attributes:
        precision: "float32": all in the type of the images. "mixed": the forward pass so, the
            relevance pass and the training backward pass in bfloat16 (families that carry signals).
        memory: Bytes that the maps of one pass may take: several maps are then made in series, as
            many at once as fit, at least one; None: all at once.
        checkpoint: True makes the relevance pass anew in the training backward pass instead of
            keeping it: less memory for one more pass.
        check: Look at the values of images, bounds and class indices, which waits for the device;
            False: trust them, as a training does whose images are known.
    """

    precision: Literal["float32", "mixed"] = "float32"
    memory: int | None = None
    checkpoint: bool = False
    check: bool = True

    def check_for(self, x: Tensor, families: tuple[Family, ...], create_graph: bool) -> None:
        """Looks whether images and families can be computed so.

        Args:
            x: Images.
            families: Of the call.
            create_graph: Whether maps will be differentiated.

        Raises:
            RelevanceError: They cannot.
        """
        if self.memory is not None and self.memory < 0:
            raise RelevanceError(f"memory {self.memory}: expected bytes, 0 or more, or None")
        if self.precision not in ("float32", "mixed"):
            raise RelevanceError(f"precision {self.precision!r}: expected 'float32' or 'mixed'")
        able = all(family.mixed for family in families) and x.dtype == torch.float32
        if self.precision == "mixed" and not able:
            name = "+".join(family.name for family in families)
            raise RelevanceError(
                f"precision 'mixed' with family {name!r} and {x.dtype} images: it exists for "
                "float32 images with 'flex' and 'block'"
            )
        half = x.dtype in (torch.float16, torch.bfloat16)
        kind = x.device.type
        autocast = torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)
        if create_graph and (half or autocast):
            raise RelevanceError(
                "a forward pass in half precision turns the gradient of a map loss: leave "
                "autocast, give float32 images, and use Compute(precision='mixed') for speed"
            )
