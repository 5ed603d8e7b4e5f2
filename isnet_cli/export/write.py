"""`isnet export`: writes an ONNX file, after its answers on films were compared with torch's."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from isnet_cli import __version__
from isnet_cli.core.files import sha256_file, write_bytes
from isnet_cli.core.run_context import RunContext
from isnet_cli.dataset.records import DEPTH
from isnet_cli.errors import IsnetError
from isnet_cli.export.geometry import COARSE, IMAGE, MAP, write_letterbox, write_way_back
from isnet_cli.export.network import (
    LOGITS,
    MASK,
    Answer,
    Lungs,
    export_network,
    find_camera,
    join,
)
from isnet_cli.images.kept import load_image
from isnet_cli.images.manifest import read_manifest
from isnet_cli.images.resize import Frame
from isnet_cli.inference.model_files import TrainedModel, load_model
from isnet_cli.inference.onnx_model import (
    CARD,
    CLASSIFIER,
    FORMAT,
    KIND,
    LUNGS,
    SHA,
    VERSION,
    require_onnx,
)
from isnet_cli.phantoms.phantom import make_phantom
from isnet_models.features import decision_features
from isnet_models.lung_unet import SIZE, from_card
from isnet_models.registry import Card, WeightsError, explain_substitute, find_card

if TYPE_CHECKING:
    import onnx

FILMS = 64  # that are compared
LARGEST = 1e-4  # difference of logits, or of the lung U-Net's probabilities
PHANTOM_SIDE = 320  # px of the longer side, of synthetic films
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        path: The file.
        outputs: Names of what the graph gives.
        films: Number of films that were compared.
        synthetic: Whether they are phantoms, for want of the run's own.
        difference: Largest absolute difference of a logit (lung U-Net: of a probability).
        sha256: Of the file.
    """

    path: Path
    outputs: tuple[str, ...]
    films: int
    synthetic: bool
    difference: float
    sha256: str

    def describe(self) -> dict[str, Any]:
        """All of it, JSON-able."""
        return {
            "file": str(self.path), "bytes": self.path.stat().st_size, "sha256": self.sha256,
            "outputs": list(self.outputs), "films": self.films, "synthetic": self.synthetic,
            "max_difference": self.difference, "allowed_difference": LARGEST,
        }  # fmt: skip


def export_classifier(
    place: Path, ingest: Path | None, output: Path, *, heatmap: bool, context: RunContext
) -> Exported:
    """Writes a trained model with its preprocessing as an ONNX file.

    Args:
        place: Folder of the model's two files.
        ingest: The run's folder of kept images, or None where there is none.
        output: The file.
        heatmap: Also Grad-CAM of the predicted class.
        context: Side effects.

    Raises:
        IsnetError: Kind "usage": a library is missing; "config": the model cannot be a graph;
            "weights": as `load_model`; "machine": the graph's answers differ.
    """
    require_onnx("onnx", "onnxruntime", "onnxscript")
    model = load_model(place, torch.device("cpu"))
    card = model.card
    how = card.get("standardise", "none")
    if how != "none":
        raise IsnetError(
            "config",
            f"model.standardise: {how}: grey levels follow the lung mask of each film, whose making"
            " (components, holes) has no place in a graph",
            fix="export a model trained with model.standardise: none",
        )
    h, w = card["input"]
    films, synthetic = _list_films(ingest)
    example = _to_pixels(list(_read(films[:2])), (h, w), card["channels"])
    camera = find_camera(model.net, example) if heatmap else None
    net = Answer(
        model.net, several=card["task"] == "multilabel",
        with_features=_has_features(model, example), camera=camera,
    ).eval()  # fmt: skip
    parts = {
        "letterbox": write_letterbox(h, w, card["channels"]),
        "network": export_network(net, example),
        **({"way_back": write_way_back(h, w, MAP)} if camera else {}),
    }
    outputs = [MAP if name == COARSE else name for name in net.outputs]
    whole = join(parts, [IMAGE], outputs)
    facts = {CARD: json.dumps(card), SHA: card["sha256"], KIND: CLASSIFIER}
    content = _finish(whole, facts, f"{card['arch']}, {card['method']}")

    def expect(image: Floats) -> Floats:
        pixels = _to_pixels([image], (h, w), card["channels"])
        with torch.inference_mode():
            return np.asarray(model.net(pixels).numpy())

    difference = _compare(content, films, expect, LOGITS, context)
    write_bytes(output, content)
    return Exported(output, tuple(outputs), len(films), synthetic, difference, sha256_file(output))


def export_lung_unet(name: str, output: Path, context: RunContext) -> Exported:
    """Writes a lung U-Net: films of any size in, probability of lung per pixel out.

    Args:
        name: Of a shipped network, or a ``.safetensors`` file with its card beside.
        output: The file.
        context: Side effects.

    Raises:
        IsnetError: As `export_classifier`.
    """
    require_onnx("onnx", "onnxruntime", "onnxscript")
    try:
        card: Card = find_card(name)
        net = from_card(card).eval()
    except WeightsError as error:
        raise IsnetError("weights", str(error), fix="isnet doctor lists what is shipped") from error
    if note := explain_substitute(name):
        context.warn("weights", note)
    films, _ = _list_films(None)
    images = [Frame(film.shape, SIZE).to_network(film) for film in _read(films[:2])]
    example = torch.from_numpy(np.stack(images))[:, None]
    parts = {
        "letterbox": write_letterbox(*SIZE, 1, levels=False),
        "network": export_network(Lungs(net).eval(), example),
        "way_back": write_way_back(*SIZE, MASK),
    }
    facts = {CARD: json.dumps(card.content), SHA: card.sha256, KIND: LUNGS}
    content = _finish(join(parts, [IMAGE], [MASK]), facts, f"{card.name} {card.version}")

    def expect(image: Floats) -> Floats:
        frame = Frame(image.shape, SIZE)
        with torch.inference_mode():
            found = net(torch.from_numpy(frame.to_network(image))[None, None])
        return frame.to_original(found[0, 0].numpy())[None]

    difference = _compare(content, films, expect, MASK, context)
    write_bytes(output, content)
    return Exported(output, (MASK,), len(films), True, difference, sha256_file(output))


def _has_features(model: TrainedModel, example: torch.Tensor) -> bool:
    """Whether the network's last layer is a plain one, whose input the flags are made from."""
    try:
        with torch.inference_mode():
            decision_features(model.net, example)
    except ValueError:
        return False
    return True


def _to_pixels(images: Sequence[Floats], size: tuple[int, int], channels: int) -> torch.Tensor:
    """Films [H, W] as the network gets them [B, C, h, w]: letterboxed, of 16 bits."""
    boxed = np.stack([Frame(image.shape, size).to_network(image) for image in images])
    levels = np.rint(boxed.clip(0, 1) * DEPTH).astype(np.uint16)
    pixels = torch.from_numpy(levels.astype(np.float32) / np.float32(DEPTH))
    return pixels[:, None].expand(-1, channels, -1, -1).contiguous()


def _list_films(ingest: Path | None) -> tuple[list[Path | int], bool]:
    """Up to `FILMS` films, evenly over the run's own; numbers of phantoms where it has none."""
    table = None if ingest is None else ingest / "manifest.csv"
    if ingest is not None and table is not None and table.is_file():
        rows = [row for row in read_manifest(table) if row.status == "ok"]
        kept = [ingest / row.image_file for row in rows if (ingest / row.image_file).is_file()]
        if len(kept) > 1:
            chosen = np.unique(np.linspace(0, len(kept) - 1, FILMS).round().astype(int))
            return [kept[i] for i in chosen], False
    return list(range(FILMS)), True


def _read(films: Sequence[Path | int]) -> Iterator[Floats]:
    for film in films:
        if isinstance(film, Path):
            yield load_image(film)
        else:
            side = PHANTOM_SIDE - 8 * (film % 8)  # of several sizes
            pixels = make_phantom(film, disease=film % 2 == 1, size=side).pixels
            yield np.ascontiguousarray(pixels, np.float32)


def _finish(model: onnx.ModelProto, facts: dict[str, str], what: str) -> bytes:
    """The file's content: the checked graph with its card."""
    import onnx

    model.producer_name, model.producer_version = "isnet", __version__
    model.doc_string = (
        f"{what}. Input 'image': chest X-rays [batch, height, width] of one size, float32, 0 to 1,"
        " bone bright. Research only; not a medical device."
    )
    onnx.helper.set_model_props(model, {FORMAT: VERSION, **facts})
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def _compare(
    content: bytes, films: Sequence[Path | int], expect: Any, output: str, context: RunContext
) -> float:
    """Largest difference between the graph's answers and torch's, film by film, and in a batch.

    Raises:
        IsnetError: Kind "machine": it is larger than `LARGEST`.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(content, options, ["CPUExecutionProvider"])
    largest = 0.0
    with context.progress.bar("comparing", len(films)) as bar:
        for number, image in enumerate(_read(films)):
            batch = np.stack([image] * (3 if number == 0 else 1))
            (found,) = session.run([output], {IMAGE: batch})
            difference = np.abs(found - expect(image)).max()
            largest = max(largest, float(difference) if np.isfinite(difference) else np.inf)
            bar.advance(1)
    if largest > LARGEST:
        raise IsnetError(
            "machine",
            f"the graph's answers differ from torch's by {largest:.3g}, expected {LARGEST:g} at"
            " most; nothing was written",
            fix="other versions of torch and onnxruntime; isnet predict IMAGES --model RUN",
        )
    return largest
