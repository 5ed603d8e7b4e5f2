"""Weights from elsewhere: read safely, fitted to a network by name or by order, said in full.

Taken are files of torchvision, timm, torchxrayvision, of trainings under DataParallel or Lightning,
and of earlier runs: what counts is that the layers are the same.
"""

from __future__ import annotations

import difflib
import hashlib
import io
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from isnet_models.features import last_layer
from isnet_models.normalise import Normalisation
from isnet_models.registry import WeightsError
from isnet_models.weights import load_weights

SUFFIXES = (".safetensors", ".pth", ".pt", ".bin", ".ckpt")
# where files keep the weights beside an optimiser's state and the like
NESTS = ("state_dict", "model_state_dict", "model", "net", "network", "weights", "state_dict_ema")
COUNTER = "num_batches_tracked"  # of BatchNorm: nothing depends on it
SEGMENTER = "segmenter."  # a lung U-Net inside a classifier, which brings its own weights


@dataclass(frozen=True)
class Fit:
    """What was taken from a file.

    Attributes:
        sha256: Hash of the file.
        matched: ``names``, or ``order``: the same shapes in the same order under other names.
        loaded: Number of tensors taken.
        head: What became of the last layer: ``taken``, or why it was not.
        channels: ``same``; ``folded``: three channels of the first layer became one; ``spread``:
            one became three.
        unused: Names in the file for which the network has no place.
    """

    sha256: str
    matched: str
    loaded: int
    head: str
    channels: str
    unused: tuple[str, ...]

    def lines(self) -> list[str]:
        """What was loaded, what was not and why, for people."""
        text = f"{self.loaded} tensors taken by {self.matched}"
        if self.channels == "folded":
            text += ", the first layer's three channels folded to one"
        if self.channels == "spread":
            text += ", the first layer's one channel spread over three"
        found = [text]
        if self.head != "taken":
            found.append(f"last layer starts anew: {self.head}")
        if self.unused:
            names = ", ".join(self.unused[:3]) + (", ..." if len(self.unused) > 3 else "")
            found.append(f"{len(self.unused)} tensors of the file have no place: {names}")
        return found


def read_state(path: Path) -> tuple[dict[str, Tensor], str]:
    """Tensors of a file by name, floating-point ones as float32 on the CPU, and the file's SHA-256.

    Args:
        path: ``.safetensors``, or ``.pth``, ``.pt``, ``.bin``, ``.ckpt`` of torch, of which nothing
            but tensors and plain data is read: code in it is refused, never run.

    Raises:
        WeightsError: It cannot be read, holds code, or holds no tensors.
    """
    if path.suffix not in SUFFIXES:
        raise WeightsError(f"{path}: expected a file that ends in {', '.join(SUFFIXES)}")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror})") from error
    digest = hashlib.sha256(content).hexdigest()
    if path.suffix == ".safetensors":
        return load_weights(path, digest), digest
    try:
        found = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load documents no set of exceptions
        raise WeightsError(
            f"{path}: not a file of tensors and plain data (damaged, or it holds a whole Python "
            "object, which is never run): save net.state_dict() alone, or as .safetensors"
        ) from error
    state = _find_tensors(found)
    if not state:
        raise WeightsError(f"{path}: holds no tensors by name")
    return {
        name: tensor.float() if tensor.is_floating_point() else tensor
        for name, tensor in state.items()
    }, digest


def _find_tensors(found: Any) -> dict[str, Tensor]:
    """The tensors of a state dictionary, which may lie inside of others."""
    if not isinstance(found, Mapping):
        return {}
    for name in NESTS:
        inner = _find_tensors(found.get(name))
        if inner:
            return inner
    return {str(name): value for name, value in found.items() if isinstance(value, Tensor)}


def load_pretrained(net: nn.Module, path: Path, normalisation: Normalisation | None = None) -> Fit:
    """Puts the weights of a file into `net`; the last layer starts anew if classes differ.

    Args:
        net: A classifier. A lung U-Net inside it keeps its own weights.
        path: As `read_state` takes it.
        normalisation: That of the file's network, of one or three channels; None: none.

    Returns:
        What was loaded, what was not and why.

    Raises:
        WeightsError: As `read_state`; or the file is of another network: with the nearest names.
    """
    state, digest = read_state(path)
    state = {k: v for k, v in state.items() if not _is_aside(k)}
    own = {k: v for k, v in net.state_dict().items() if not _is_aside(k)}
    head, stem = _head_names(net), _stem_name(net)
    pairs, matched = _pair_by_names(own, state, head, stem), "names"
    if pairs is None:
        pairs, matched = _pair_by_order(own, state, head, stem), "order"
    if pairs is None:
        raise WeightsError(f"{path}: {_describe_difference(own, state, head)}")
    taken = {name: state[theirs] for name, theirs in pairs.items()}
    for name, value in taken.items():
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise WeightsError(f"{path}: {pairs[name]} is not finite")
    channels = "same"
    if stem is not None and stem in taken and taken[stem].shape != own[stem].shape:
        if own[stem].shape[1] == 1:
            channels = "folded"
            fold_channels(net, stem, taken, normalisation)
        else:
            channels = "spread"
            n = own[stem].shape[1]
            taken[stem] = taken[stem].expand(-1, n, -1, -1) / n
    net.load_state_dict(taken, strict=False)
    used = set(pairs.values())
    unused = [name for name in state if name not in used]
    said = "taken"
    if not head <= pairs.keys():
        said, unused = _describe_head(own, state, head, unused)
    return Fit(digest, matched, len(taken), said, channels, tuple(unused))


def fold_channels(
    net: nn.Module, stem: str, taken: dict[str, Tensor], normalisation: Normalisation | None
) -> None:
    """Makes a first layer of three channels one of one, for images of equal channels.

    With x in all three channels, sum_c w_c·(x - m_c)/s_c = (sum_c w_c·s/s_c)·(x - m)/s
    + sum_c w_c·(m - m_c)/s_c, where m and s are `Normalisation.of_channels(1)`. The last sum is a
    constant of each output channel: it goes into the layer's bias or the mean of the BatchNorm
    that follows. This is exact but at the border, where a convolution pads by zeros.

    Args:
        net: The network; its first convolution has one channel.
        stem: Name of the first convolution's weights.
        taken: Tensors to be loaded by name; that of `stem` is [O, 3, k, k]; changed in place.
        normalisation: That of the file's network; None: none.
    """
    weight = taken[stem]
    constants = normalisation or Normalisation((0.0,), (1.0,))
    three, one = constants.of_channels(weight.shape[1]), constants.of_channels(1)
    sds = torch.tensor(three.sds).view(1, -1, 1, 1)
    means = torch.tensor(three.means).view(1, -1, 1, 1)
    taken[stem] = (weight * (one.sds[0] / sds)).sum(1, keepdim=True)
    offset = (weight * ((one.means[0] - means) / sds)).sum((1, 2, 3))
    for name, sign in _absorbers(net, stem):
        if name in taken:
            taken[name] = taken[name] + sign * offset
            return


def _absorbers(net: nn.Module, stem: str) -> Iterator[tuple[str, int]]:
    """Tensors that can take a constant added to the first layer's output, and with which sign."""
    path = stem.removesuffix(".weight")
    yield f"{path}.bias", 1
    names = [name for name, _ in net.named_modules()]
    for name in names[names.index(path) + 1 :]:
        layer = net.get_submodule(name)
        if isinstance(layer, nn.Conv2d):
            return  # a layer between
        if isinstance(layer, nn.BatchNorm2d):
            yield f"{name}.running_mean", -1
            return


def _is_aside(name: str) -> bool:
    return name.startswith(SEGMENTER) or name.endswith(COUNTER)


def _head_names(net: nn.Module) -> frozenset[str]:
    """Names of the last layer's tensors."""
    last = last_layer(net)
    path = next(name for name, layer in net.named_modules() if layer is last)
    return frozenset(f"{path}.{name}" for name in last.state_dict())


def _stem_name(net: nn.Module) -> str | None:
    """Name of the weights of the first convolution that sees the image."""
    for path, layer in net.named_modules():
        if isinstance(layer, nn.Conv2d) and not path.startswith(SEGMENTER):
            return f"{path}.weight"
    return None


def _agree(name: str, own: Tensor, theirs: Tensor, stem: str | None) -> bool:
    """Whether a tensor fits, the first layer's with one channel for three or the reverse."""
    if own.shape == theirs.shape:
        return True
    return (
        name == stem
        and own.dim() == theirs.dim() == 4
        and {own.shape[1], theirs.shape[1]} == {1, 3}
        and own.shape[0] == theirs.shape[0]
        and own.shape[2:] == theirs.shape[2:]
    )


def _pair_by_names(
    own: Mapping[str, Tensor], state: Mapping[str, Tensor], head: frozenset[str], stem: str | None
) -> dict[str, str] | None:
    """Own name -> name in the file, without the prefixes of wrappers; None: they do not fit."""
    best: dict[str, str] = {}
    for ours in _prefixes(own):
        for theirs in _prefixes(state):
            pairs = {
                name: theirs + name.removeprefix(ours) for name in own if name.startswith(ours)
            }
            pairs = {
                name: other
                for name, other in pairs.items()
                if other in state and _agree(name, own[name], state[other], stem)
            }
            if len(pairs) > len(best):
                best = pairs
    if not best.keys() >= own.keys() - head:
        return None
    for name in head - best.keys():  # dropout put before the last layer moves its name
        path, _, kind = name.rpartition(".")
        other = f"{path.rpartition('.')[0]}.{kind}"
        if other in state and own[name].shape == state[other].shape:
            best[name] = other
    return best


def _prefixes(names: Mapping[str, Tensor]) -> list[str]:
    """The empty prefix, and the leading parts that most names share, as wrappers add them."""
    found: Counter[str] = Counter()
    for name in names:
        parts = name.split(".")
        found.update(".".join(parts[:n]) + "." for n in range(1, len(parts)))
    return ["", *(prefix for prefix, n in found.items() if n > len(names) / 2)]


def _pair_by_order(
    own: Mapping[str, Tensor], state: Mapping[str, Tensor], head: frozenset[str], stem: str | None
) -> dict[str, str] | None:
    """Own name -> name in the file where shapes and kinds follow each other alike."""
    ours = [name for name in own if name not in head]
    theirs = list(state)
    if not len(ours) <= len(theirs) <= len(ours) + max(len(head), 2):
        return None
    pairs = dict(zip(ours, theirs, strict=False))
    for name, other in pairs.items():
        kinds = {name.rpartition(".")[2], other.rpartition(".")[2]}
        if not _agree(name, own[name], state[other], stem) or len(kinds) > 1:
            return None
    last = [name for name in own if name in head]
    rest = theirs[len(ours) :]
    if len(rest) == len(last) and all(
        own[a].shape == state[b].shape for a, b in zip(last, rest, strict=True)
    ):
        pairs |= dict(zip(last, rest, strict=True))
    return pairs


def _describe_head(
    own: Mapping[str, Tensor],
    state: Mapping[str, Tensor],
    head: frozenset[str],
    unused: list[str],
) -> tuple[str, list[str]]:
    """Why the last layer is not taken, and the file's unused names without its last layer's."""
    K = next(own[name].shape[0] for name in own if name in head)
    theirs = [name for name in unused if name.rpartition(".")[2] in {"weight", "bias"}][
        -len(head) :
    ]
    if not theirs:
        return "the file has none", unused
    classes = state[theirs[0]].shape[0] if state[theirs[0]].dim() else 0
    return (
        f"{classes} classes in the file, {K} here"
        if classes != K
        else f"{theirs[0]} of {tuple(state[theirs[0]].shape)} does not fit",
        [name for name in unused if name not in theirs],
    )


def _describe_difference(
    own: Mapping[str, Tensor], state: Mapping[str, Tensor], head: frozenset[str]
) -> str:
    """Where a file and a network part, with the file's nearest names."""
    body = [name for name in own if name not in head]
    missing = [name for name in body if name not in state]
    if not missing:
        name = next((n for n in body if own[n].shape != state[n].shape), body[0])
        return (
            f"another network: {name} is {tuple(state[name].shape)} in the file, "
            f"{tuple(own[name].shape)} here"
        )
    near = difflib.get_close_matches(missing[0], list(state), n=3, cutoff=0.0)
    return (
        f"another network: {len(missing)} of {len(body)} tensors are not in the file, first "
        f"{missing[0]} {tuple(own[missing[0]].shape)}; nearest names in the file: "
        + ", ".join(f"{name} {tuple(state[name].shape)}" for name in near)
    )
