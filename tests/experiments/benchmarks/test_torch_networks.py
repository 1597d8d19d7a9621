"""The peers of the benchmark compute what our networks compute."""

import jax
import numpy as np
import pytest

from experiments.benchmarks import networks
from mgr_jax.models import make_model
from mgr_jax.training import objective

pytestmark = pytest.mark.e2e

torch = pytest.importorskip("torch")
torch_steps = pytest.importorskip("experiments.benchmarks.torch_steps")
torch_networks = pytest.importorskip("experiments.benchmarks.torch_networks")

SHAPES = {"bbnn": (24, 8), "bbnn_image": (17, 12, 3), "cnn": (110, 141, 3), "cnn_lstm": (70, 50, 3)}


def small(name):
    """The case without dropout, with few channels, and its inputs [2, ...]."""
    config = networks.cases()[name][1]
    config.model.dropout, config.model.width, config.model.num_modules = 0.0, 4, 2
    config.model.width_multiplier, config.model.hidden_size = 0.1, 7
    shape = SHAPES.get(name, (9, 5))
    return config, np.random.default_rng(0).normal(size=(2, *shape)).astype(np.float32)


def varied(model, inputs):
    """Variables in which no two parameters are equal."""
    rng = np.random.default_rng(1)
    shapes = jax.eval_shape(model.init, jax.random.key(0), inputs)

    def draw(leaf):
        values = rng.uniform(0.1, 0.4, leaf.shape)  # Variances are positive.
        if leaf.ndim > 1:
            values = rng.normal(size=leaf.shape) / np.sqrt(np.prod(leaf.shape[:-1]))
        return values.astype(np.float32)

    return {"batch_stats": {}} | jax.tree.map(draw, shapes)


def ours(model, variables, inputs, labels):
    """Logits in evaluation, and the gradients of a train step."""

    def loss(params):
        logits, _ = model.apply(
            variables | {"params": params}, inputs, train=True, mutable=["batch_stats"]
        )
        targets = objective.make_targets(labels, num_classes=10)
        return objective.cross_entropy(logits, targets).mean()

    return model.apply(variables, inputs), jax.grad(loss)(variables["params"])


@pytest.mark.parametrize("name", networks.cases())
def test_torch_networks_have_our_outputs_and_gradients(name):
    config, inputs = small(name)
    model = make_model(config.model, num_classes=10)
    variables, labels = varied(model, inputs), np.array([3, 1])
    logits, gradients = jax.jit(ours, static_argnums=0)(model, variables, inputs, labels)
    peer = torch_steps.Steps(config, variables, inputs, labels, mode="infer", setting="eager")
    expected = jax.nn.log_softmax(logits)
    np.testing.assert_allclose(peer.log_probabilities(), expected, atol=1e-4)
    assert peer.parameters() == sum(x.size for x in jax.tree.leaves(variables["params"]))
    # A second network takes our gradients as if they were weights, to have them by its names.
    named = torch_networks.make_network(config, inputs.shape[1:], num_classes=10)
    torch_steps.copy_weights(named, {"params": gradients, "batch_stats": {}})
    peer.train()
    compared = 0
    pairs = zip(peer.network.named_parameters(), named.parameters(), strict=True)
    for (key, found), wanted in pairs:
        wanted = wanted.detach().numpy()
        if found.requires_grad and wanted.any():  # Ours are 0 for biases that normalisation undoes.
            tolerance = 1e-3 * np.abs(wanted).max() + 1e-6
            np.testing.assert_allclose(found.grad.numpy(), wanted, atol=tolerance, err_msg=key)
            compared += 1
    assert compared > 5


def test_copy_weights_names_what_does_not_fit():
    config, inputs = small("rnn")
    variables = varied(make_model(config.model, num_classes=10), inputs)
    network = torch_networks.make_network(config, inputs.shape[1:], num_classes=10)
    missing = {"params": dict(variables["params"]), "batch_stats": {}}
    del missing["params"]["dense_1"]
    with pytest.raises(ValueError, match=r"dense_1.weight.*no counterpart"):
        torch_steps.copy_weights(network, missing)
    config.model.hidden_size = 8
    other = torch_networks.make_network(config, inputs.shape[1:], num_classes=10)
    with pytest.raises(ValueError, match="dense_1/kernel"):
        torch_steps.copy_weights(
            other, {"params": {"dense_1": variables["params"]["dense_1"]}, "batch_stats": {}}
        )


def test_same_padding_is_that_of_xla():
    for size in range(1, 12):
        for kernel, stride in ((3, 1), (4, 1), (4, 2), (5, 3)):
            wanted = jax.lax.padtype_to_pads((size,), (kernel,), (stride,), "SAME")[0]
            assert torch_networks.same_padding(size, kernel, stride) == tuple(wanted)
