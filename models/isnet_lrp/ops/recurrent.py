"""Recurrent layers, written out step by step: gates are constants, the values behind them carry.

Source: Arras et al., Explaining and Interpreting LSTMs, 2019 (arXiv 1909.12114): of a gate and a
signal that are multiplied, the signal takes all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from isnet_lrp.errors import UnsupportedOperation
from isnet_lrp.record.table import records

if TYPE_CHECKING:
    from isnet_lrp.record.recorder import Recorder

State = tuple[Tensor, ...]
# From what the input and the last output give (W x + b, U h + c) and the last state: the next one.
Cell = Callable[["Recorder", Tensor, Tensor, State], State]


def _step_lstm(recorder: Recorder, a: Tensor, b: Tensor, state: State) -> State:
    i, f, _, o = recorder.record_constant(torch.sigmoid(a + b).chunk(4, -1))
    with recorder:
        cell = f * state[1] + i * torch.tanh((a + b).chunk(4, -1)[2])
        return o * torch.tanh(cell), cell


def _step_gru(recorder: Recorder, a: Tensor, b: Tensor, state: State) -> State:
    r, z, _ = recorder.record_constant(torch.sigmoid(a + b).chunk(3, -1))
    with recorder:
        new = torch.tanh(a.chunk(3, -1)[2] + r * b.chunk(3, -1)[2])
        return ((1 - z) * new + z * state[0],)


def _step_rnn(function: Callable[[Tensor], Tensor]) -> Cell:
    def step(recorder: Recorder, a: Tensor, b: Tensor, state: State) -> State:
        with recorder:
            return (function(a + b),)

    return step


CELLS: dict[str, Cell] = {
    "lstm": _step_lstm,
    "gru": _step_gru,
    "rnn_tanh": _step_rnn(torch.tanh),
    "rnn_relu": _step_rnn(torch.relu),
}


@records(CELLS)
def record_recurrent(recorder: Recorder, name: str, func: Any, args: Any, kwargs: Any) -> Any:
    """`torch.nn.LSTM`, `GRU` and `RNN`, of several layers and both directions.

    Raises:
        UnsupportedOperation: A packed sequence, or an LSTM with projections.
    """
    x, states, weights, biased, layers, dropout, training, both, batch_first = args
    ways, each = 2 if both else 1, 4 if biased else 2
    if not isinstance(weights, (list, tuple)) or len(weights) != layers * ways * each:
        raise UnsupportedOperation(f"{name} of a packed sequence, or with projections: no rule")
    states = states if isinstance(states, (list, tuple)) else (states,)
    last: list[State] = []
    with recorder:
        x = x.transpose(0, 1) if batch_first else x
    for layer in range(layers):
        made = []
        for at in range(layer * ways, (layer + 1) * ways):
            own = weights[at * each : (at + 1) * each]
            outputs, state = _run(recorder, CELLS[name], x, tuple(s[at] for s in states), own,
                                  at % ways == 1)  # fmt: skip
            made.append(outputs)
            last.append(state)
        with recorder:
            x = torch.cat(made, -1) if both else made[0]
            if dropout and training and layer + 1 < layers:
                x = F.dropout(x, dropout)
    with recorder:
        x = x.transpose(0, 1) if batch_first else x
        return (x, *(torch.stack(parts) for parts in zip(*last, strict=True)))


def _run(
    recorder: Recorder, cell: Cell, x: Tensor, state: State, weights: Sequence[Tensor], back: bool
) -> tuple[Tensor, State]:
    """One layer in one direction: outputs [T, B, H] and the last state."""
    w, u, *biases = weights
    b, c = biases or (None, None)
    with recorder:
        steps = list(F.linear(x, w, b).unbind(0))
    outputs = []
    for a in reversed(steps) if back else steps:
        with recorder:
            carried = F.linear(state[0], u, c)
        state = cell(recorder, a, carried, state)
        outputs.append(state[0])
    with recorder:
        return torch.stack(outputs[::-1] if back else outputs), state
