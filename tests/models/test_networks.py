"""Every network against plain NumPy, against finite differences and over devices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from mgr_jax import config, models
from tests.models import numpy_networks as reference

# Tiny variants: name -> (config fields, shape of one example).
TINY = {
    "bbnn": ({"name": "bbnn", "width": 4, "num_modules": 2}, (19, 9)),
    "bbnn_image": ({"name": "bbnn", "width": 4, "num_modules": 1}, (18, 7, 3)),
    "cnn": ({"name": "cnn", "width_multiplier": 0.1, "dropout": 0.0}, (88, 96, 3)),
    "cnn_lstm": ({"name": "cnn_lstm", "width_multiplier": 0.1, "dropout": 0.0}, (38, 30, 3)),
    "cnn_lstm_time": (
        {"name": "cnn_lstm", "width_multiplier": 0.1, "dropout": 0.0, "scan_axis": "time"},
        (46, 30, 3),
    ),
    "rnn": ({"name": "rnn", "cell": "gru", "hidden_size": 5, "dropout": 0.0}, (12, 4)),
}


def _build(name, num_classes=3, batch=4, **more):
    """A network with parameters, statistics and inputs that are all off their defaults."""
    fields, shape = TINY[name]
    network = models.make_model(config.Model(**(fields | more)), num_classes=num_classes)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(batch, *shape)).astype(np.float32) + 0.5
    shapes = jax.eval_shape(
        network.init, jax.random.key(0), jax.ShapeDtypeStruct(x.shape, jnp.float32)
    )

    def draw(path, leaf):
        noise = rng.normal(size=leaf.shape)
        kind = path[-1].key
        if kind.endswith("kernel"):
            noise /= np.sqrt(leaf.size / leaf.shape[-1])
        elif kind in ("scale", "var"):
            noise = 1 + 0.3 * np.abs(noise)
        else:
            noise *= 0.3
        return jnp.asarray(noise, jnp.float32)

    return network, jax.tree_util.tree_map_with_path(draw, shapes), x


def _numpy(name, x, variables):
    params = reference.double(variables["params"])
    x = x.astype(np.float64)
    if name.startswith("bbnn"):
        x = x[..., None] if x.ndim == 3 else x
        modules = TINY[name][0]["num_modules"]
        stats = reference.double(variables["batch_stats"])
        return reference.bbnn(x, params, stats, modules)[0]
    if name == "cnn":
        return reference.cnn(x, params)
    if name == "rnn":
        stats = reference.double(variables["batch_stats"]["input_norm"])
        x, _ = reference.batch_norm(x, params["input_norm"], stats, None)
        return reference.dense(
            reference.recurrent(x, params["gru_1"], "gru")[:, -1], params["dense_1"]
        )
    return reference.cnn_lstm(x, params, "time" if name.endswith("time") else "frequency")


@pytest.mark.parametrize("implementation", ["auto", "reference"])
@pytest.mark.parametrize("name", TINY)
def test_network_equals_numpy(name, implementation):
    network, variables, x = _build(name, implementation=implementation)
    logits = jax.jit(network.apply)(variables, x)
    assert logits.dtype == jnp.float32
    expected = _numpy(name, x, variables)
    np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


def test_bbnn_in_training_equals_numpy_over_three_steps():
    network, variables, x = _build("bbnn", batch_norm_momentum=0.9)
    params = reference.double(variables["params"])
    stats = reference.double(variables["batch_stats"])
    step = jax.jit(lambda v, x: network.apply(v, x, train=True, mutable="batch_stats"))
    for i in range(3):
        batch = x * (1 + i) - i
        logits, moved = step(variables, batch)
        variables = variables | moved
        x64 = batch.astype(np.float64)
        expected, stats = reference.bbnn(x64[..., None], params, stats, network.num_modules, 0.9)
        scale = np.abs(expected).max()
        np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=2e-5 * scale)
    ours = jax.tree_util.tree_leaves_with_path(variables["batch_stats"])
    theirs = jax.tree_util.tree_leaves_with_path(stats)
    assert len(ours) == len(theirs)
    for (path, a), (same, b) in zip(ours, theirs, strict=True):
        assert path == same
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5 * np.abs(b).max())


@pytest.mark.parametrize(
    "name",
    [
        "rnn",
        *(pytest.param(name, marks=pytest.mark.e2e) for name in ("bbnn_image", "cnn", "cnn_lstm")),
    ],
)
def test_gradient_equals_finite_differences(name):
    network, variables, x = _build(name)
    y = np.arange(len(x)) % 3
    with jax.enable_x64(True):
        double = network.clone(dtype=jnp.float64)
        params, statistics = (
            jax.tree.map(lambda a: jnp.asarray(a, jnp.float64), variables.get(collection, {}))
            for collection in ("params", "batch_stats")
        )
        x = jnp.asarray(x, jnp.float64)

        @jax.jit
        @jax.value_and_grad
        def loss(params):
            logits, _ = double.apply(
                {"params": params, "batch_stats": statistics}, x, train=True, mutable="batch_stats"
            )
            assert logits.dtype == jnp.float64
            return -jnp.mean(jax.nn.log_softmax(logits)[jnp.arange(len(y)), y])

        rng = np.random.default_rng(1)
        leaves, tree = jax.tree.flatten(params)
        gradient = jax.tree.leaves(loss(params)[1])
        for i, leaf in enumerate(leaves):
            direction = rng.normal(size=leaf.shape)
            ends = []
            for step in (1e-7, -1e-7):
                moved = leaf + step * direction
                ends.append(loss(tree.unflatten([*leaves[:i], moved, *leaves[i + 1 :]]))[0])
            slope = float(ends[0] - ends[1]) / 2e-7
            assert float(jnp.sum(gradient[i] * direction)) == pytest.approx(
                slope, rel=1e-3, abs=1e-8
            )


@pytest.mark.parametrize("name", [pytest.param("bbnn_image", marks=pytest.mark.e2e), "rnn"])
def test_bfloat16_arithmetic_keeps_float32_parameters(name):
    network, variables, x = _build(name)
    half = network.clone(dtype=jnp.bfloat16)
    shape = jax.ShapeDtypeStruct(x.shape, jnp.float32)
    fresh = jax.eval_shape(half.init, jax.random.key(0), shape)
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(fresh))

    def loss(network, params):
        logits, _ = network.apply(variables | {"params": params}, x, train=True, mutable=True)
        assert logits.dtype == jnp.float32
        return jnp.mean(jnp.square(logits)), logits

    def run(network):
        gradient = jax.grad(lambda p: loss(network, p), has_aux=True)
        return jax.jit(gradient)(variables["params"])

    (ours, logits), (theirs, expected) = run(half), run(network)
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(ours))
    np.testing.assert_allclose(logits, expected, atol=0.1 * np.abs(expected).max())
    assert np.abs(logits - expected).max() > 0
    a, b = (np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(t)]) for t in (ours, theirs))
    assert a @ b > 0.98 * np.linalg.norm(a) * np.linalg.norm(b)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("bbnn_image", marks=pytest.mark.slow),
        pytest.param("rnn", marks=pytest.mark.e2e),
    ],
)
def test_training_step_does_not_depend_on_the_devices(name):
    more = {"dropout": 0.5} if name == "rnn" else {}
    network, variables, x = _build(name, batch=8, **more)
    keys = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(3), jnp.arange(8))
    num_frames = jnp.array([12, 3, 12, 5, 1, 12, 7, 9])

    def step(network, params, x, keys, num_frames):
        def loss(params):
            logits, moved = network.apply(
                variables | {"params": params},
                x,
                train=True,
                row_keys=keys,
                num_frames=num_frames,
                mutable="batch_stats",
            )
            return jnp.mean(jnp.square(logits)), moved

        (value, moved), gradient = jax.value_and_grad(loss, has_aux=True)(params)
        return value, gradient, moved

    rows = (x, keys, num_frames)
    alone = jax.jit(lambda *a: step(network, *a))(variables["params"], *rows)
    if name == "bbnn_image":  # a bias that normalisation takes out again has no gradient at all
        for layer in (alone[1]["stem_conv"], alone[1]["broadcast_0"]["unit_1x1"]["conv"]):
            np.testing.assert_array_equal(layer["bias"], 0)
            assert np.abs(layer["kernel"]).max() > 0
    mesh = jax.make_mesh((4,), ("data",), axis_types=(AxisType.Auto,))
    sharding = NamedSharding(mesh, PartitionSpec("data"))
    spread = jax.jit(lambda *a: step(network, *a))(
        variables["params"], *(jax.device_put(a, sharding) for a in rows)
    )
    synchronised = network.clone(axis_name="data")

    def mapped(params, *rows):
        return jax.lax.pmean(step(synchronised, params, *rows), "data")

    pmapped = jax.pmap(mapped, "data", in_axes=(None, 0, 0, 0))(
        variables["params"], *(a.reshape(4, 2, *a.shape[1:]) for a in rows)
    )
    pmapped = jax.tree.map(lambda a: a[0], pmapped)
    for other in (spread, pmapped):
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), other, alone
        )


def test_dropout_of_a_network_needs_keys_and_only_trains():
    network, variables, x = _build("cnn", dropout=0.5)
    keys = jax.random.split(jax.random.key(0), len(x))
    apply = jax.jit(network.apply, static_argnames="train")
    evaluated = apply(variables, x, row_keys=keys)
    np.testing.assert_array_equal(evaluated, apply(variables, x))
    trained = apply(variables, x, train=True, row_keys=keys)
    assert np.abs(trained - evaluated).min() > 0
    np.testing.assert_array_equal(trained, apply(variables, x, train=True, row_keys=keys))
    with pytest.raises(ValueError, match="row_keys is None"):
        network.apply(variables, x, train=True)


def test_networks_refuse_inputs_that_do_not_fit():
    for name, shape, message in (
        ("cnn", (1, 40, 40, 3), "too small"),
        ("cnn_lstm", (1, 20, 20, 3), "too small"),
        ("bbnn", (1, 3, 8), "pooling window"),
        ("rnn", (1, 20, 20, 3), "sequences"),
    ):
        network = models.make_model(config.Model(name=name), num_classes=2)
        with pytest.raises(ValueError, match=message):
            jax.eval_shape(
                network.init, jax.random.key(0), jax.ShapeDtypeStruct(shape, jnp.float32)
            )
