"""The networks, as Flax Linen modules that are touched only through `init` and `apply`.

All share one signature: `model(x, *, train=False, row_keys=None, num_frames=None)` gives logits
`[B, C]` in float32. `row_keys` are PRNG keys `[B]`, one per example, for dropout in training;
`num_frames` `[B]` is the number of valid frames of each row, for networks that read sequences.
Running averages of batch normalisation are the collection `batch_stats`.
"""

import jax.numpy as jnp
from flax import linen as nn

from mgr_jax import config
from mgr_jax.models import bbnn, cnn, cnn_lstm, rnn


def make_model(model: config.Model, *, num_classes: int, axis_name: str | None = None) -> nn.Module:
    """The network that `model` describes.

    Args:
      model: the `model` section of a config.
      num_classes: C, the number of logits.
      axis_name: axis of the devices over which batch normalisation takes its statistics, if any.

    Raises:
      ValueError: `model.name` is not a network.
    """
    if model.name not in _NETWORKS:
        raise ValueError(f"model.name is {model.name!r}; networks are {', '.join(_NETWORKS)}")
    return _NETWORKS[model.name](model, num_classes, axis_name)


def _bbnn(model: config.Model, num_classes: int, axis_name: str | None) -> nn.Module:
    return bbnn.BBNN(
        num_classes,
        width=model.width,
        num_modules=model.num_modules,
        momentum=model.batch_norm_momentum,
        axis_name=axis_name,
        dtype=jnp.dtype(model.dtype),
    )


def _cnn(model: config.Model, num_classes: int, axis_name: str | None) -> nn.Module:
    del axis_name
    return cnn.CNN(
        num_classes,
        width_multiplier=model.width_multiplier,
        dropout=model.dropout,
        dtype=jnp.dtype(model.dtype),
    )


def _cnn_lstm(model: config.Model, num_classes: int, axis_name: str | None) -> nn.Module:
    del axis_name
    return cnn_lstm.CNNLSTM(
        num_classes,
        width_multiplier=model.width_multiplier,
        scan_axis=model.scan_axis,
        dropout=model.dropout,
        dtype=jnp.dtype(model.dtype),
    )


def _rnn(model: config.Model, num_classes: int, axis_name: str | None) -> nn.Module:
    return rnn.RNN(
        num_classes,
        cell=model.cell,
        hidden_size=model.hidden_size,
        num_layers=model.num_layers,
        bidirectional=model.bidirectional,
        dropout=model.dropout,
        momentum=model.batch_norm_momentum,
        axis_name=axis_name,
        dtype=jnp.dtype(model.dtype),
    )


_NETWORKS = {"bbnn": _bbnn, "cnn": _cnn, "cnn_lstm": _cnn_lstm, "rnn": _rnn}
