"""A model in an ONNX file at work, without torch: its card, its session, its answers."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from isnet_cli.core.records.cards import CARD_SCHEMA
from isnet_cli.core.records.read import FaultyFileError, check_record, parse_json
from isnet_cli.core.records.schemas import ModelCard
from isnet_cli.errors import IsnetError, explain_error
from isnet_cli.guard.opening import open_regular

if TYPE_CHECKING:
    import onnxruntime

MOST_BYTES = 2 << 30  # of a file: more does not fit into one message of the format
FORMAT, KIND, CARD, SHA = "isnet.format", "isnet.kind", "isnet.card", "isnet.sha256"
VERSION = "1"  # of the metadata
CLASSIFIER, LUNGS = "classifier", "lung-unet"
FEATURES = "features"  # output: what the last layer decides from
WHAT = "the card of a model"
Floats = NDArray[np.float32]


def require_onnx(*names: str) -> None:
    """Makes sure that the libraries of the extra ``onnx`` are there.

    Args:
        *names: Packages that are needed.

    Raises:
        IsnetError: Kind "usage", naming what to install.
    """
    from importlib.util import find_spec

    missing = [name for name in names if find_spec(name) is None]
    if missing:
        raise IsnetError(
            "usage",
            f"ONNX: {', '.join(missing)} not installed, an extra of isnet",
            fix="pip install 'isnet[onnx]'",
        )


@dataclass(frozen=True)
class OnnxModel:
    """A classifier of an ONNX file.

    Attributes:
        session: Of onnxruntime.
        card: As ``model.json`` has it.
        sha256: Hash of the file.
        outputs: Names of what the graph gives.
    """

    session: onnxruntime.InferenceSession
    card: dict[str, Any]
    sha256: str
    outputs: tuple[str, ...]

    def run(self, images: Floats) -> dict[str, NDArray[Any]]:
        """Everything the graph gives for `images` [B, H, W] in [0, 1], by name."""
        found = self.session.run(list(self.outputs), {"image": images})
        return dict(zip(self.outputs, found, strict=True))


def open_onnx(path: Path) -> OnnxModel:
    """Loads a classifier that ``isnet export`` wrote.

    Raises:
        IsnetError: Kind "usage" without onnxruntime; "weights": missing, damaged, foreign, or of
            another version.
    """
    require_onnx("onnxruntime")
    import onnxruntime

    content = _read(path)
    try:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # what it has to say is said below
        session = onnxruntime.InferenceSession(content, options, ["CPUExecutionProvider"])
        said = session.get_modelmeta().custom_metadata_map
        outputs = tuple(entry.name for entry in session.get_outputs())
    except Exception as error:  # of the library: its own kinds, none of them named
        raise _foreign(path, "cannot be loaded as an ONNX model") from error
    card = _read_card(path, said)
    shape = [entry.name for entry in session.get_inputs()]
    if shape != ["image"] or not {"logits", "probabilities"} <= set(outputs):
        raise _foreign(path, f"has the inputs {', '.join(shape):.60}, expected image alone")
    return OnnxModel(session, card, hashlib.sha256(content).hexdigest(), outputs)


def _read(path: Path) -> bytes:
    try:
        with open_regular(path, MOST_BYTES) as file:
            return file.read()
    except OSError as error:
        raise IsnetError(
            "weights",
            f"{path}: {explain_error(error)}, expected a model of isnet export",
            fix="isnet export RUN --onnx FILE",
        ) from error


def _read_card(path: Path, said: Mapping[str, str]) -> dict[str, Any]:
    if said.get(KIND) != CLASSIFIER or said.get(FORMAT) != VERSION:
        found = said.get(KIND, "no model of isnet")
        raise _foreign(path, f"{found:.40}, format {said.get(FORMAT, 'none'):.20}")
    try:
        card = parse_json(said.get(CARD, ""))
    except FaultyFileError as error:
        raise _foreign(path, "its card is no valid JSON") from error
    if not isinstance(card, dict) or card.get("schema") != CARD_SCHEMA:
        raise _foreign(path, "its card is of another version of isnet")
    check_record(card, ModelCard, path, what=WHAT, fix="isnet export again", kind="weights")
    return card


def _foreign(path: Path, found: str) -> IsnetError:
    return IsnetError(
        "weights",
        f"{path}: {found}, expected a classifier of format {VERSION} written by isnet export",
        fix="isnet export RUN --onnx FILE",
    )
