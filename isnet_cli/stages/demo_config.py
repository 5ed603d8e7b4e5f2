"""The demonstration's configuration: the text that users read, change and run themselves."""

from __future__ import annotations

TEXT = """\
# The demonstration. `isnet demo` draws the films, then runs this file twice: as it stands, and with
#   --set train.method=standard --set upstream=ISNET_RUN
# Paths start at this file. Keys left out have their defaults.
version: 1
name: demo
seed: {seed}

data:
  images: {images}
  labels: {{file: {labels}, columns: [label], classes: [disease, normal]}}
  sets:                             # hospital A is dealt out by patient; B is seen in tests alone
    train: {{source: A, fraction: 0.6}}
    val: {{source: A, fraction: 0.15}}
    test: {{source: A, fraction: 0.25}}
    hospital_b: {{source: B}}

masks:
  model: lung-unet

model:
  arch: small
  input: [128, 128]

# The trap: in training, films of the sick are stamped PORTABLE and films of the healthy PA ERECT,
# outside the lungs. The test films are tried with these stamps (biased), without (standard) and
# with the stamps exchanged (deceiving).
bias:
  kind: shapes
  shapes: ["text:PORTABLE", "text:PA ERECT"]     # in the order of data.labels.classes

train:
  method: isnet
  epochs: 30
  batch_size: 16
  optimizer: {{name: adamw, lr: 0.002, weight_decay: 0.01}}
  heatmap_loss: {{weight: 0.7, target: all}}

evaluate:
  sets: [test, hospital_b]

heatmap:
  sets: [test, hospital_b]
  limit: 6
"""


def demo_yaml(images: str, labels: str, seed: int = 0) -> str:
    """The configuration file for films and labels at the given paths."""
    return TEXT.format(images=images, labels=labels, seed=seed)
