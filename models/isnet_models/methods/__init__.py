"""Training methods behind one small interface, and the registry of their names."""

from isnet_models.methods.base import Batch, Losses, Method
from isnet_models.methods.isnet import ISNet, ISNetSettings
from isnet_models.methods.standard import Standard

METHODS: dict[str, type[Method]] = {"standard": Standard, "isnet": ISNet}

__all__ = ["METHODS", "Batch", "ISNet", "ISNetSettings", "Losses", "Method", "Standard"]
