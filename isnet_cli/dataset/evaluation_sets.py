"""Which images `evaluate` and `heatmap` work on, in which versions, in chunks of which size."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, TypeVar

from isnet_cli.config.schema import Config
from isnet_cli.core.run_context import RunContext
from isnet_cli.errors import IsnetError
from isnet_cli.images.types import Row
from isnet_cli.labels.values import UnknownValueError, parse_label

if TYPE_CHECKING:
    from isnet_cli.dataset.image_dataset import Version

TRAINING_SETS = ("train", "val")
T = TypeVar("T")
BIASED: tuple[Version, ...] = ("biased", "standard", "deceiving")
UNNAMED = "images"  # images that are in no set, when the run has no further sets


def choose_sets(rows: Sequence[Row], names: Sequence[str] | None, key: str) -> dict[str, list[Row]]:
    """Readable images of each set to work on, in the order of the manifest.

    Args:
        rows: The manifest.
        names: Sets asked for; None: all but train and val; without such sets, the images of no
            set, as `UNNAMED`.
        key: Configuration key of `names`, for messages.

    Raises:
        IsnetError: Kind "config" for an unknown name, "data" when there is nothing to work on.
    """
    usable = [row for row in rows if row.status == "ok"]
    found: dict[str, list[Row]] = {}
    for row in usable:
        found.setdefault(row.set or UNNAMED, []).append(row)
    if names is not None:
        missing = [name for name in names if name not in found]
        if missing:
            raise IsnetError(
                "config",
                f"{key}: no image in set {', '.join(missing)}, "
                f"expected some of {', '.join(found) or 'none'}",
                fix="name sets of data.sets that have images (isnet check CONFIG lists them)",
            )
        return {name: found[name] for name in names}
    named = {n: found[n] for n in found if n not in (*TRAINING_SETS, UNNAMED)}
    if named:
        return named
    if UNNAMED in found:
        return {UNNAMED: found[UNNAMED]}
    raise IsnetError(
        "data",
        f"manifest: no image outside the sets train and val ({len(usable)} readable images),"
        " expected a test set",
        fix="name a test set under data.sets, with a fraction or with images of its own"
        + (f";   {key}: [val]   takes the validation images" if "val" in found else ""),
    )


def check_labels(sets: dict[str, list[Row]], classes: Sequence[str], task: str) -> None:
    """Refuses labels that the model does not know.

    Raises:
        IsnetError: Kind "data", naming set, class and number of images.
    """
    for name, rows in sets.items():
        try:
            found_labels = [label for row in rows for label in parse_label(row.label, task)]
        except UnknownValueError as error:
            raise IsnetError(
                "data",
                f"set '{name}': one class per image, but the model was trained for several labels "
                "per image",
                fix="data.labels.task: multilabel, with the label columns of the training",
            ) from error
        unknown = Counter(label for label in found_labels if label not in classes)
        if unknown:
            found = ", ".join(f"'{label}' ({count} images)" for label, count in unknown.items())
            raise IsnetError(
                "data",
                f"set '{name}': the model does not know the class {found}, "
                f"expected {', '.join(classes)}",
                fix="name the classes alike in all label files, or leave these images out of the "
                "set with data.labels.classes",
            )


class Stopped(Exception):  # noqa: N818 - an orderly end, not a failure
    """The user or the queue asked for a stop; finished parts are recorded."""


def raise_if_stopped(context: RunContext) -> None:
    """Ends the work where a stop was asked for.

    Raises:
        Stopped: A stop was asked for.
    """
    if context.stop_requested():
        raise Stopped


def list_versions(rows: Sequence[Row], config: Config) -> tuple[Version, ...]:
    """Versions of a set to look at: three with synthetic bias and labels, else as given."""
    biased = config.bias.kind == "shapes" and any(row.label for row in rows)
    return BIASED if biased else ("standard",)


def select_version(rows: Sequence[Row], version: Version) -> list[int]:
    """Indices of the images that exist in `version`: a shape needs a class, so a label."""
    return [i for i, row in enumerate(rows) if version == "standard" or row.label]


def choose_chunk_size(config: Config) -> int:
    """Images of the network's size to hold in memory at a time; a step of continuing, too.

    64, or a batch if that is more, or 100 MB of large images.
    """
    height, width = config.model.input
    return max(1, min(max(64, config.evaluate.batch_size), 2**25 // (height * width)))


def split_into_chunks(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Consecutive pieces of at most `size`."""
    for start in range(0, len(items), size):
        yield items[start : start + size]
