"""The loss: targets, cross entropy, class weights."""

import jax
import jax.numpy as jnp
import numpy as np
import optax


def make_targets(labels: jax.Array, *, num_classes: int, label_smoothing: float = 0.0) -> jax.Array:
    """Return target probabilities `[B, C]` for int labels `[B]`.

    `label_smoothing` is the probability spread evenly over all classes (Szegedy et al. 2016).
    """
    return optax.smooth_labels(jax.nn.one_hot(labels, num_classes), label_smoothing)


def cross_entropy(
    logits: jax.Array, targets: jax.Array, class_weights: jax.Array | np.ndarray | None = None
) -> jax.Array:
    """Return -sum_c w_c t_c log p_c of each example, `[B]`, in nats.

    Args:
      logits: `[B, C]`. targets: class probabilities `[B, C]`.
      class_weights: w `[C]`; None weighs all classes alike.
    """
    if class_weights is not None:
        targets = targets * class_weights[None]
    return -jnp.sum(targets * jax.nn.log_softmax(logits), axis=-1)


def balanced_weights(labels: jax.Array | np.ndarray, *, num_classes: int) -> jax.Array:
    """Return weights `[C]` by which every class counts alike: N / (C n_c), 0 if n_c is 0.

    The same as scikit-learn's `class_weight="balanced"`.
    """
    counts = jnp.bincount(labels, length=num_classes)
    return jnp.where(counts > 0, len(labels) / (num_classes * jnp.maximum(counts, 1)), 0.0)


def correct(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Return float `[B]`: 1 where the largest of the logits `[B, C]` is the label's, else 0."""
    return (jnp.argmax(logits, axis=-1) == labels).astype(jnp.float32)
