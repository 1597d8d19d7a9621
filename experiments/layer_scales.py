"""Show what each layer of an untrained network reads.

    python -m experiments.layer_scales --config=FILE [--clips=16]

For some clips of the training part it prints, layer by layer, the root mean square of the input,
the standard deviation of its values between clips, the ratio of both, and the norm of the gradient
of the layer's parameters by their own norm. A network whose ratio fades cannot tell clips apart at
the beginning; one whose gradient fades cannot change that.
"""

import dataclasses
import sys
from collections.abc import Sequence
from typing import Any

from absl import flags

from experiments import command, jax_settings
from mgr_jax import config as config_lib

_CONFIG = command.define_config()
_CLIPS = flags.DEFINE_integer("clips", 16, "Number of training clips, spread over the part.", 2)


def main(argv: Sequence[str]) -> command.Ending:
    """Print the table; return how it ended."""
    command.refuse_arguments(argv)
    config = command.read_config(_CONFIG)
    if config.model.name not in config_lib.NETWORKS:
        raise command.UserError(f"model.name {config.model.name!r} is no network; it has no layers")

    import jax
    import numpy as np

    from mgr_jax import devices, progress
    from mgr_jax.data import batches
    from mgr_jax.data import dataset as dataset_lib
    from mgr_jax.features.frontend import make_frontend
    from mgr_jax.training import network

    jax_settings.set_up()
    print(devices.describe(), file=sys.stderr, flush=True)
    dataset = dataset_lib.open_dataset(config)
    part, window = dataset.parts["train"], config_lib.window_length(config)
    chosen = np.linspace(0, len(part.ids) - 1, min(_CLIPS.value, len(part.ids))).astype(int)
    some = batches.Part(
        part.clips, tuple(part.ids[i] for i in chosen), part.rows[chosen], part.labels[chosen]
    )
    normalizer = network.fitted_normalizer(config, part)
    frontend = jax.jit(make_frontend(config.features))
    inputs, labels, clips = [], [], set()
    for batch in batches.eval_batches(some, batch_size=1, window=window):
        if int(batch["row"][0]) not in clips:  # The first window of each clip.
            clips.add(int(batch["row"][0]))
            inputs.append(np.asarray(frontend(batch["waveform"], normalizer)))
            labels.append(batch["label"])
    classes = len(dataset.catalog.labels)
    with progress.Progress("compile", "the gradients of the layers"):
        rows = measure(config, np.concatenate(inputs), np.concatenate(labels), num_classes=classes)
    print(f"{'layer':24}{'input':>10}{'between':>10}{'ratio':>8}{'gradient':>10}")
    for name, scale, between, gradient in rows:
        print(f"{name:24}{scale:10.1e}{between:10.1e}{between / scale:8.2f}{gradient:10.1e}")
    return command.Ending(0, command.training(config))


def measure(
    config: config_lib.Config, inputs: Any, labels: Any, *, num_classes: int
) -> list[tuple[str, float, float, float]]:
    """Return a row for each layer with parameters of the untrained network, without dropout.

    Args:
      inputs, labels: features [B, ...] and classes [B] of the clips.
      num_classes: C.

    Returns:
      Name, root mean square of the input, its deviation between clips, and the norm of the gradient
      by that of the parameters.
    """
    import jax
    import jax.numpy as jnp
    import optax
    from flax import linen as nn
    from jax.flatten_util import ravel_pytree

    from mgr_jax.models import make_model

    plain = dataclasses.replace(config.model, dropout=0.0, implementation="reference")
    model = make_model(plain, num_classes=num_classes)
    key, _ = jax.random.split(jax.random.key(config.train.seed))
    variables = model.init(key, inputs[:1])
    params, others = variables["params"], {k: v for k, v in variables.items() if k != "params"}

    def forward(params):
        scales = {}

        def record(call, args, kwargs, context):
            path = context.module.path
            if len(path) == 1 and path[0] in params and args:  # In the order of the computation.
                x = args[0]
                scales[path[0]] = jnp.sqrt((x**2).mean()), x.std(axis=0).mean()
            return call(*args, **kwargs)

        with nn.intercept_methods(record):
            logits, _ = model.apply(
                {"params": params, **others},
                inputs,
                train=True,
                row_keys=jax.random.split(key, len(inputs)),
                mutable=["batch_stats"],
            )
        names.extend(scales)  # JAX sorts the keys of a dict.
        loss = optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()
        return loss, scales

    names: list[str] = []
    gradients, scales = jax.jit(jax.grad(forward, has_aux=True))(params)
    rows = []
    for name in names:
        gradient, param = (ravel_pytree(tree[name])[0] for tree in (gradients, params))
        share = jnp.linalg.norm(gradient) / jnp.linalg.norm(param)
        rows.append((name, float(scales[name][0]), float(scales[name][1]), float(share)))
    return rows


if __name__ == "__main__":
    command.run(main)
