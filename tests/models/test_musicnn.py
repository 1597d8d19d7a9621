"""MusiCNN beside a forward pass in NumPy, and its weights from TensorFlow's names to ours."""

import functools

import jax
import numpy as np
import pytest

from mgr_jax import pretrained
from mgr_jax.models import musicnn, musicnn_pruned, musicnn_weights
from mgr_jax.tensors import flatten
from tests.models import checkpoints

TINY = musicnn.MusiCNN(num_tags=3, num_timbral=4, num_temporal=2, width=5, num_units=6)


def _windows(number, frames=187, seed=0):
    """Log-mel values like those of music: loud in the bass, with gaps and beats."""
    random = np.random.default_rng(seed)
    slope = np.linspace(3.5, 0.5, 96) * (0.6 + 0.4 * (np.arange(frames)[:, None] % 31 < 9))
    noise = random.normal(size=(number, frames, 96)) + random.normal(size=(number, 1, 96))
    return np.maximum(slope + 0.5 * noise, 0).astype(np.float32)


def _forward(variables, x):
    """The network in float64, written from the paper: logits, embedding and pooled values."""
    params, stats = (
        jax.tree.map(lambda value: np.asarray(value, np.float64), variables[name])
        for name in ("params", "batch_stats")
    )

    def norm(x, name):
        p, s = params[name], stats[name]
        if "norm" in p:
            p, s = p["norm"], s["norm"]
        return (x - s["mean"]) / np.sqrt(s["var"] + 1e-3) * p["scale"] + p["bias"]

    def block(x, name, before, after):
        """[F, bands] with zeros before and after, all kernel places of a band -> [F, bands', C]."""
        kernel, bias = params[name]["conv"]["kernel"], params[name]["conv"]["bias"]
        height, width = kernel.shape[0], kernel.shape[1] * kernel.shape[2]
        x = np.pad(x, ((before, after), (0, 0)))
        pieces = np.lib.stride_tricks.sliding_window_view(x, (height, width))
        y = np.tensordot(pieces, kernel.reshape(height, width, -1), axes=2) + bias
        return norm(np.maximum(y, 0), name)

    rows = []
    for window in np.asarray(x, np.float64):
        scaled = norm(window[..., None], "input_norm")[..., 0]
        front = np.concatenate(
            [
                block(scaled, "front_7x38", 3, 3).max(1),
                block(scaled, "front_7x67", 3, 3).max(1),
                block(scaled, "front_128x1", 63, 64).max(1),
                block(scaled, "front_64x1", 31, 32).max(1),
                block(scaled, "front_32x1", 15, 16).max(1),
            ],
            axis=1,
        )
        first = block(front, "middle_1", 3, 3)[:, 0]
        second = block(first, "middle_2", 3, 3)[:, 0] + first
        third = block(second, "middle_3", 3, 3)[:, 0] + second
        x = np.concatenate([front, first, second, third], axis=1)
        rows.append(np.array([x.max(0), x.mean(0)]).T.ravel())
    pooled = np.array(rows)
    y = norm(pooled, "pooled_norm") @ params["units"]["kernel"] + params["units"]["bias"]
    embedding = norm(np.maximum(y, 0), "units_norm")
    return embedding @ params["tags"]["kernel"] + params["tags"]["bias"], embedding, pooled


def _assert_close(outputs, expected):
    for name, ours, theirs in zip(musicnn.Outputs._fields, outputs, expected, strict=True):
        assert ours.shape == theirs.shape and ours.dtype == np.float32
        assert np.abs(ours - theirs).max() <= 1e-5 * np.abs(theirs).max(), name


@functools.cache
def _loaded(implementation):
    return pretrained.load_musicnn(implementation=implementation)


@pytest.mark.parametrize(
    "implementation", ["reference", pytest.param("auto", marks=pytest.mark.e2e)]
)
def test_musicnn_with_its_weights_equals_numpy(implementation):
    module, variables, labels = _loaded(implementation)
    x = _windows(2)
    outputs = jax.jit(module.apply)(variables, x)
    assert [value.shape for value in outputs] == [(2, 50), (2, 200), (2, 1506)]
    assert len(labels) == len(set(labels)) == 50
    expected = _forward(_loaded("reference").variables, x)
    _assert_close(outputs, expected)
    np.testing.assert_allclose(
        jax.nn.sigmoid(outputs.logits), 1 / (1 + np.exp(-expected[0])), atol=1e-5
    )


@pytest.mark.parametrize("frames", [1, 20, 250])
def test_musicnn_of_other_sizes_and_lengths_equals_numpy(frames):
    variables = musicnn_weights.from_tensorflow(checkpoints.tiny_musicnn())
    module = musicnn_weights.make_module(variables)
    assert module == TINY
    x = _windows(3, frames)
    expected = _forward(variables, x)
    _assert_close(jax.jit(module.apply)(variables, x), expected)
    pruned = musicnn_pruned.prune(variables)
    assert [len(kept) for kept in pruned.module.kept] == [4, 4, 2, 2, 2]
    _assert_close(jax.jit(pruned.module.apply)(pruned.variables, x), expected)


@pytest.mark.e2e
def test_constant_filters_are_left_out_and_their_values_kept():
    tensors = checkpoints.tiny_musicnn()
    for kernel, filters in {"conv2d": [0, 2], "conv2d_3": [0, 1], "conv2d_4": [1]}.items():
        tensors[f"{kernel}/kernel"][..., filters] *= 1e-12
    variables = musicnn_weights.from_tensorflow(tensors)
    pruned = musicnn_pruned.prune(variables)
    assert pruned.module.kept == ((1, 3), (0, 1, 2, 3), (0, 1), (), (0,))
    assert "front_64x1" not in pruned.variables["params"]
    x = _windows(2, 60)
    _assert_close(jax.jit(pruned.module.apply)(pruned.variables, x), _forward(variables, x))
    assert flatten(variables).keys() == flatten(TINY.init(jax.random.key(0), x)).keys()


@pytest.mark.parametrize("taps", [1, 2, 5, 8])
def test_toeplitz_is_the_matrix_of_a_convolution(taps):
    kernel = np.arange(1, taps + 1, dtype=np.float32)
    matrix = musicnn_pruned.toeplitz(kernel[:, None], 6)[..., 0]
    before = (taps - 1) // 2
    for i, j in np.ndindex(6, 6):
        tap = i - j + before
        assert matrix[i, j] == (kernel[tap] if 0 <= tap < taps else 0)


def test_a_network_of_constants_has_the_outputs_of_its_biases():
    tensors = checkpoints.tiny_musicnn()
    for i in range(5):
        tensors[f"conv2d_{i}/kernel" if i else "conv2d/kernel"] *= 0
    variables = musicnn_weights.from_tensorflow(tensors)
    pruned = musicnn_pruned.prune(variables)
    x = _windows(2, 30)
    _assert_close(jax.jit(pruned.module.apply)(pruned.variables, x), _forward(variables, x))


def test_the_weights_of_the_package_have_64_filters_that_hear():
    assert [len(kept) for kept in _loaded("auto").module.kept] == [23, 14, 3, 7, 17]


def test_init_gives_the_sizes_of_the_paper():
    shapes = jax.eval_shape(
        musicnn.MusiCNN().init, jax.random.key(0), jax.ShapeDtypeStruct((1, 187, 96), np.float32)
    )
    sizes = {
        name: sum(leaf.size for leaf in jax.tree.leaves(tree)) for name, tree in shapes.items()
    }
    assert sizes == {"params": 787_159, "batch_stats": 4_920}


@pytest.mark.parametrize("missing", ["conv2d_7/bias", "dense_1/kernel", "batch_normalization/beta"])
def test_from_tensorflow_names_what_is_missing(missing):
    tensors = checkpoints.tiny_musicnn()
    del tensors[missing]
    with pytest.raises(ValueError, match=f"there is no {missing}, so this is not a MusiCNN"):
        musicnn_weights.from_tensorflow(tensors)


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("conv2d/kernel", (7, 38, 2, 4), "params/front_7x38/conv/kernel is"),
        ("conv2d_2/kernel", (128, 2), "params/front_128x1/conv/kernel is"),
        ("conv2d_6/kernel", (7, 5, 1, 4), "params/middle_2/conv/kernel is"),
        ("dense/kernel", (7, 6), "params/units/kernel is"),
        ("dense_1/bias", (3, 1), "tags has no bias"),
        ("batch_normalization_9/moving_mean", (3,), "batch_stats/pooled_norm/mean is"),
    ],
)
def test_from_tensorflow_names_a_wrong_shape(name, shape, message):
    tensors = {**checkpoints.tiny_musicnn(), name: np.zeros(shape, np.float32)}
    with pytest.raises(ValueError, match=message):
        musicnn_weights.from_tensorflow(tensors)


def test_make_module_refuses_what_a_musicnn_has_not():
    variables = musicnn_weights.from_tensorflow(checkpoints.tiny_musicnn())
    variables["params"]["another"] = np.zeros(3)
    with pytest.raises(ValueError, match="params/another is not in a MusiCNN"):
        musicnn_weights.make_module(variables)
