"""Maps of some validation images during a training, for trackers; a failure ends no training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from isnet_cli.config.schema import Config
from isnet_cli.core.files import write_bytes
from isnet_cli.core.run_context import RunContext
from isnet_cli.dataset.feed import Feed
from isnet_cli.dataset.image_dataset import ImageDataset, Version
from isnet_cli.output.images import contact_sheet, png_bytes
from isnet_cli.output.overlays import overlay
from isnet_lrp import relevance
from isnet_models.explanations.gradcam import grad_cam
from isnet_models.methods import registry

IMAGES = 6  # spread evenly over the validation images
COLUMNS = 3
SMOOTHING = 0.7  # px, as in heat maps: display only
FOLDER = Path("track", "maps")  # inside the run


class SampleMaps:
    """Draws a sheet of maps of the predicted class every some epochs.

    The maps are LRP where the method's heat maps are, else Grad-CAM. Pictures hold pixels and
    numbers, and no name. A failure is one warning, and no sheet from then on.

    Args:
        config: The configuration.
        dataset: The validation images.
        version: Of them.
        device: Of the network.
        run: The run folder.
    """

    def __init__(
        self,
        config: Config,
        dataset: ImageDataset,
        version: Version,
        device: torch.device,
        run: Path,
    ) -> None:
        self.every = config.track_maps if config.track else 0
        self.run = run
        self.method = registry.parts(config.train.method)[0].explains
        count = min(IMAGES, len(dataset))
        self.indices = np.unique(np.linspace(0, len(dataset) - 1, count).round().astype(np.int64))
        self._settings = dataset, version, device

    def draw(self, net: nn.Module, epoch: int, context: RunContext) -> None:
        """Writes the sheet of an epoch, when it is one that has a sheet.

        Args:
            net: The network; its mode is restored.
            epoch: Number of epochs that are done.
            context: Side effects; the event ``sample_maps`` names the file.
        """
        if not self.every or epoch % self.every or not len(self.indices):
            return
        was_training = net.training
        path = self.run / FOLDER / f"epoch-{epoch:04}.png"
        try:
            net.eval()
            write_bytes(path, self._make_sheet(net, epoch))
        except Exception as error:  # of a network that the method is not defined for, of a disk
            self.every = 0
            kind = type(error).__name__
            context.warn("track", f"no sample maps ({kind}); the training goes on")
        else:
            context.event("sample_maps", epoch=epoch, file=path.relative_to(self.run).as_posix())
        finally:
            net.train(was_training)

    def _make_sheet(self, net: nn.Module, epoch: int) -> bytes:
        dataset, version, device = self._settings
        (batch,) = Feed(dataset, [(self.indices, None)], version, device)
        maps, logits = self._explain(net, batch.images)
        images = batch.images.mean(1).float().cpu().numpy()
        masks = batch.masks.reshape(images.shape).cpu().numpy() > 0.5
        tiles = [
            overlay(np.clip(image, 0, 1), values, mask if mask.any() else None, smoothing=SMOOTHING)
            for image, values, mask in zip(images, maps.float().cpu().numpy(), masks, strict=True)
        ]
        name = "relevance" if self.method == "lrp" else "Grad-CAM"
        captions = [
            f"image {i}: output {int(row.argmax()) + 1}, logit {float(row.max()):.2f}"
            for i, row in enumerate(logits, 1)
        ]
        heading = [f"Epoch {epoch}: {name} of the predicted class, validation images"]
        return png_bytes(contact_sheet(tiles, captions, COLUMNS, heading=heading))

    def _explain(self, net: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
        """Maps [B, h, w] and logits [B, K]."""
        if self.method == "lrp":
            found = relevance(net, images, "predicted")
            return found.maps[:, 0].sum(1).detach(), found.logits.detach()
        shown = grad_cam(net, images, "predicted")
        return shown.maps[:, 0].sum(1).detach(), shown.logits.detach()
