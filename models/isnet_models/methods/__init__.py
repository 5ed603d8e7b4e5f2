"""Training methods behind one small interface, and the registry of their names."""

from isnet_models.methods.base import Batch, Losses, Method
from isnet_models.methods.isnet import ISNet, ISNetSettings
from isnet_models.methods.standard import Standard
from isnet_models.methods.variants import VARIANTS, Explanation

METHODS: dict[str, type[Method]] = {"standard": Standard, "isnet": ISNet}

__all__ = ["METHODS", "VARIANTS", "Batch", "Explanation", "ISNet", "ISNetSettings", "Losses",
           "Method", "Standard"]  # fmt: skip
