"""The table of a network: layers, output shapes, numbers of parameters, as Keras prints it."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

KERAS_NAMES = {
    "Conv": "Conv2D",
    "BatchNorm": "BatchNormalization",
    "MaxPool": "MaxPooling2D",
    "AveragePool": "AveragePooling2D",
    "GlobalAveragePool": "GlobalAveragePooling2D",
    "simple": "SimpleRNN",
    "gru": "GRU",
    "lstm": "LSTM",
}


class Row(NamedTuple):
    """A layer: its name, type in Keras, output shape without the batch, and parameters."""

    layer: str
    kind: str
    output_shape: tuple[int, ...]
    parameters: int


class Summary(NamedTuple):
    """The rows of a network in the order of computation, and its totals."""

    rows: tuple[Row, ...]
    trainable: int
    statistics: int


def summary(module: nn.Module, input_shape: Sequence[int]) -> Summary:
    """Return a row for every layer of the network `module`, without computing anything.

    A row's parameters include the running averages of batch normalisation, as in Keras.
    `input_shape` is that of one example, without the batch: [F, M], [H, W, 3] or [F, D].
    """
    calls = []

    def record(call, args, kwargs, context):
        before = len(calls)
        output = call(*args, **kwargs)
        is_layer = len(calls) == before and context.module.path
        if is_layer and context.method_name == "__call__":
            leaves = jax.tree.leaves(dict(context.module.variables))
            calls.append(
                Row(
                    "/".join(context.module.path),
                    _kind(context.module),
                    tuple(output.shape[1:]),
                    sum(leaf.size for leaf in leaves),
                )
            )
        return output

    with nn.intercept_methods(record):
        variables = jax.eval_shape(
            module.init, jax.random.key(0), jax.ShapeDtypeStruct((1, *input_shape), jnp.float32)
        )
    sizes = {name: sum(leaf.size for leaf in jax.tree.leaves(v)) for name, v in variables.items()}
    return Summary(tuple(calls), sizes["params"], sizes.get("batch_stats", 0))


def _kind(module: nn.Module) -> str:
    kind = getattr(module, "cell", type(module).__name__)
    return KERAS_NAMES.get(kind, kind)


def format_summary(table: Summary) -> str:
    """Return `table` as text: one line per layer, then the totals."""
    lines = [("Layer (type)", "Output Shape", "Param #")]
    for row in table.rows:
        shape = ", ".join(["None", *map(str, row.output_shape)])
        lines.append((f"{row.layer} ({row.kind})", f"({shape})", f"{row.parameters:,}"))
    wide = [max(len(line[column]) for line in lines) + 2 for column in range(3)]
    text = [f"{a:<{wide[0]}}{b:<{wide[1]}}{c:>{wide[2]}}" for a, b, c in lines]
    rule = "=" * sum(wide)
    total = table.trainable + table.statistics
    return "\n".join(
        [
            text[0],
            rule,
            *text[1:],
            rule,
            f"Total params: {total:,}",
            f"Trainable params: {table.trainable:,}",
            f"Non-trainable params: {table.statistics:,}",
        ]
    )
