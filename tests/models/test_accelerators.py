"""Whole networks with the operations of a GPU and of other accelerators, on the CPU."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from mgr_jax import config as config_lib
from mgr_jax.models import make_model
from tests.ops.test_parity import PLATFORMS

NETWORKS = {
    "bbnn": ({"name": "bbnn", "width": 4, "num_modules": 2}, (26, 18)),
    "cnn": ({"name": "cnn", "width_multiplier": 0.1}, (96, 100)),
    "cnn_lstm": ({"name": "cnn_lstm", "width_multiplier": 0.02}, (48, 64)),
    "simple": ({"name": "rnn", "cell": "simple", "hidden_size": 8}, (33, 5)),
    "gru": ({"name": "rnn", "cell": "gru", "hidden_size": 8, "num_layers": 2}, (33, 5)),
    "lstm": ({"name": "rnn", "cell": "lstm", "hidden_size": 24, "bidirectional": True}, (33, 5)),
}
BATCH = 4


def _everything(name, variables=None):
    """Return variables, and logits, loss, gradients and batch statistics of a train step."""
    fields, shape = NETWORKS[name]
    model = make_model(config_lib.Model(**fields, dropout=0.0), num_classes=3)
    x = jnp.asarray(np.random.default_rng(0).normal(size=(BATCH, *shape)), jnp.float32)
    options = {"num_frames": jnp.array([33, 12, 1, 33])} if fields["name"] == "rnn" else {}
    variables = variables or model.init(jax.random.key(0), x[:1])

    def loss(params):
        logits, updates = model.apply(
            {**variables, "params": params}, x, train=True, mutable=["batch_stats"], **options
        )
        return -jax.nn.log_softmax(logits)[jnp.arange(BATCH), jnp.arange(BATCH) % 3].mean(), updates

    def both(params):
        logits = model.apply({**variables, "params": params}, x, **options)
        return logits, jax.value_and_grad(loss, has_aux=True)(params)

    return variables, jax.jit(both)(variables["params"])


# The other cases are slow: each compiles two whole networks.
QUICK = (("gru", "GPU"),)


@pytest.mark.parametrize(
    ("name", "platform"),
    [
        pytest.param(*case, marks=pytest.mark.e2e if case in QUICK else pytest.mark.slow)
        for case in itertools.product(NETWORKS, PLATFORMS)
    ],
)
def test_network_is_the_same_with_the_operations_of_an_accelerator(name, platform, monkeypatch):
    variables, expected = _everything(name)
    monkeypatch.setattr(lax, "platform_dependent", PLATFORMS[platform])
    _, ours = _everything(name, variables)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(expected), strict=True):
        error = np.linalg.norm(np.ravel(a - b))
        assert error <= 1e-3 * (1e-3 + np.linalg.norm(np.ravel(b)))
