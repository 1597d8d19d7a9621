"""What training minimises."""

import jax
import jax.numpy as jnp
import optax


def cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """-log p(label) of each example: `[B, C]`, int `[B]` -> `[B]`, in nats."""
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels)


def correct(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """1 where the largest logit is the label's, else 0: `[B, C]`, int `[B]` -> float `[B]`."""
    return (jnp.argmax(logits, axis=-1) == labels).astype(jnp.float32)
