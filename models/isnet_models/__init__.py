"""Networks and training methods; `isnet_lrp` has the relevance maps and their losses.

`isnet_models.registry` and `isnet_models.methods.registry` name what there is without torch.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from isnet_models.backbones import build_backbone

__version__ = "0.2.0.dev0"
__all__ = ["build_backbone"]


def __getattr__(name: str) -> Any:  # torch is loaded with the first network, not with a list
    if name in __all__:
        from isnet_models import backbones

        return getattr(backbones, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
