"""C1 and C2 of the heat-map loss, estimated from a short plain training (LRP_SPEC 4.1)."""

from __future__ import annotations

import torch
from torch import Tensor

from isnet_cli.config.schema import Config
from isnet_cli.data.augment import augment
from isnet_cli.data.dataset import FilmStore, Version
from isnet_cli.ports import Ports
from isnet_cli.runs.runtime import derive_seed, generator
from isnet_cli.stages.training_setup import build_net, build_optimizer, epoch_batches
from isnet_models.heatmap_loss import cut_values
from isnet_models.lrp import relevance
from isnet_models.methods.base import classification_loss


def estimate_cuts(
    config: Config, films: FilmStore, version: Version, device: torch.device, ports: Ports
) -> tuple[float, float] | None:
    """Trains a throw-away network without map loss and measures its maps in the last epoch.

    Args:
        config: The configuration; `train.heatmap_loss.cut_epochs` epochs are trained.
        films: Training films with labels.
        version: Synthetic bias of the films.
        device: Where to work.
        ports: Side effects.

    Returns:
        (C1, C2), or None when a stop was asked for.
    """
    h = config.train.heatmap_loss
    steps = len(epoch_batches(config, films, 0))
    net = build_net(config, len(films.classes)).to(device).train()
    optimizer = build_optimizer(config.train.optimizer, net)
    totals: list[Tensor] = []
    with (
        torch.random.fork_rng(devices=[]),
        ports.progress.bar("relevance range", h.cut_epochs * steps) as bar,
    ):
        for epoch in range(h.cut_epochs):
            torch.manual_seed(derive_seed(config.seed, "cuts", epoch))
            changes = generator(config.seed, "cuts augment", epoch)
            targets = generator(config.seed, "cuts target", epoch)
            for indices in epoch_batches(config, films, epoch):
                if ports.stop_requested():
                    return None
                images, masks = films.batch(indices, version=version)
                images, _ = augment(images, masks, config.train.augment, changes)
                images, labels = images.to(device), films.targets(indices).to(device)
                if epoch == h.cut_epochs - 1:
                    net.eval()  # maps of the running statistics; the step below trains on
                    maps = relevance(
                        net, images, h.target, epsilon=h.epsilon,
                        zb=(0.0, 1.0) if h.zb else None, delta=h.delta,
                        probability=h.probability, generator=targets,
                    ).maps  # fmt: skip
                    totals.append(maps.abs().sum(dim=(2, 3, 4)).mean(1).cpu())
                    net.train()
                loss = classification_loss(net(images), labels)
                optimizer.zero_grad(set_to_none=True)
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                bar.advance()
    return cut_values(torch.cat(totals))
