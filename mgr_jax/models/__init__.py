"""The networks, as Flax Linen modules that are touched only through `init` and `apply`.

All share one signature: `model(x, *, train=False, row_keys=None, num_frames=None)` gives logits
`[B, C]` in float32. `row_keys` are PRNG keys `[B]`, one per example, for dropout in training;
`num_frames` `[B]` is the number of valid frames of each row, for networks that read sequences.
Running averages of batch normalisation are the collection `batch_stats`.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
from flax import linen as nn

from mgr_jax import config, ops
from mgr_jax.models import bbnn, bbnn_fused, cnn, cnn_lstm, layers, rnn


def make_model(
    model: config.Model,
    *,
    num_classes: int,
    axis_name: str | None = None,
    num_steps: int | jax.Array | None = None,
) -> nn.Module:
    """Build the network that `model` describes.

    Args:
      model: the `model` section of a config. With `implementation="reference"` the network is the
        textbook one, and all its operations are plain formulas.
      num_classes: C, the number of logits.
      axis_name: axis of the devices over which batch normalisation takes its statistics, if any.
      num_steps: length of the training, which chooses a `batch_norm_momentum` of 0; None if the
        network is not trained.

    Raises:
      ValueError: `model.name` is not a network.
    """
    reference, dtype = model.implementation == "reference", jnp.dtype(model.dtype)
    momentum = model.batch_norm_momentum or layers.settling_momentum(num_steps)
    if model.name == "bbnn":
        network = (bbnn if reference else bbnn_fused).BBNN(
            num_classes,
            width=model.width,
            num_modules=model.num_modules,
            pooling=model.pooling,
            momentum=momentum,
            axis_name=axis_name,
            dtype=dtype,
        )
    elif model.name == "cnn":
        network = cnn.CNN(
            num_classes,
            width_multiplier=model.width_multiplier,
            dropout=model.dropout,
            batch_norm=model.batch_norm,
            momentum=momentum,
            axis_name=axis_name,
            dtype=dtype,
        )
    elif model.name == "cnn_lstm":
        network = cnn_lstm.CNNLSTM(
            num_classes,
            width_multiplier=model.width_multiplier,
            scan_axis=model.scan_axis,
            dropout=model.dropout,
            batch_norm=model.batch_norm,
            momentum=momentum,
            axis_name=axis_name,
            dtype=dtype,
        )
    elif model.name == "rnn":
        network = rnn.RNN(
            num_classes,
            cell=model.cell,
            hidden_size=model.hidden_size,
            num_layers=model.num_layers,
            bidirectional=model.bidirectional,
            pooling=model.pooling,
            dropout=model.dropout,
            momentum=momentum,
            axis_name=axis_name,
            dtype=dtype,
        )
    else:
        raise ValueError(f"model.name is {model.name!r}; networks are {', '.join(config.NETWORKS)}")
    return _by_formulas(network) if reference else network


def _by_formulas(network: nn.Module) -> nn.Module:
    """Return `network` with all its operations as their reference formulas."""
    fields = {field.name: getattr(network, field.name) for field in dataclasses.fields(network)}
    del fields["parent"], fields["name"]
    return _reference_class(type(network))(**fields)


@functools.cache
def _reference_class(network: type[nn.Module]) -> type[nn.Module]:
    class Reference(network):
        def __call__(self, *args, **kwargs):
            with ops.implementation("reference"):
                return super().__call__(*args, **kwargs)

    return Reference
