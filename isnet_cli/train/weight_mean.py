"""Exponential mean of a network's weights, with BatchNorm statistics of its own.

Sources: Polyak and Juditsky, SIAM J. Control Optim. 30:838 (1992); the statistics as in Izmailov et
al., UAI 2018 (arXiv 1803.05407).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from isnet_cli.core.records.checkpoints import check_tensors
from isnet_cli.core.training_loop import LoopSettings
from isnet_models.batch_statistics import estimate_statistics
from isnet_models.methods.base import Batch, Method


class WeightMean:
    """The network whose weights are the exponential mean of another's over its training.

    After step t the mean is d·mean + (1 - d)·weights, with d = min(1 - 1/n, t/(t + 1)) and n the
    number of steps in `epochs`: at first the plain mean of all steps, then one over about n.

    Args:
        net: The network that is trained.
        epochs: How long the mean remembers; 0: there is no mean, `net` itself is handed out.
        settings: Of the training.
    """

    def __init__(self, net: nn.Module, epochs: float, settings: LoopSettings) -> None:
        steps = max(epochs * settings.steps / settings.accumulate, 1.0)
        self._trained = net
        self._longest = 1 - 1 / steps
        self._model = AveragedModel(net) if epochs else None

    @property
    def net(self) -> nn.Module:
        """The network of the mean; the trained one where there is no mean."""
        return self._trained if self._model is None else self._model.module

    def update(self) -> None:
        """Takes a step's new weights in."""
        if self._model is None:
            return
        # as AveragedModel.update_parameters, which copies its counter to the device for each tensor
        n, averaged = int(self._model.n_averaged), self._model.module
        share = 1 - min(self._longest, n / (n + 1))
        with torch.no_grad():
            for mean, own in zip(averaged.parameters(), self._trained.parameters(), strict=True):
                mean.copy_(own if n == 0 else mean + share * (own - mean))
            for kept, now in zip(averaged.buffers(), self._trained.buffers(), strict=True):
                kept.copy_(now)
        self._model.n_averaged += 1

    def set_statistics(self, batches: Iterable[Batch], method: Method) -> None:
        """Gives BatchNorm layers the statistics of the mean weights' own features.

        Those that stay in evaluation mode while the network trains, as in a frozen part, keep what
        they have.

        Args:
            batches: Training images.
            method: Says how the network sees a batch.
        """
        if self._model is None:
            return
        net = self._model.module

        def show() -> None:
            for batch in batches:
                method.answer(net, batch)

        estimate_statistics(net, show)

    def state(self) -> dict[str, Any]:
        """For the checkpoint; empty where there is no mean."""
        return {} if self._model is None else self._model.state_dict()

    def load(self, state: dict[str, Any]) -> None:
        """Takes back what `state` gave."""
        own = self.state()
        check_tensors(state, own, "mean")
        if self._model is not None:
            self._model.load_state_dict(state)
