"""How exact products are: `train.matmul_precision`, `model.dtype`, what is always in float32."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from mgr_jax.classical import lda, logistic
from mgr_jax.config import Features
from mgr_jax.features import descriptors
from mgr_jax.features.frontend import make_frontend
from mgr_jax.training import steps
from tests.training import tiny

HIGHEST = (lax.Precision.HIGHEST, lax.Precision.HIGHEST)


def _precisions(jaxpr):
    """Yield the precision of every product and convolution, those in loops and calls included."""
    for equation in jaxpr.eqns:
        if equation.primitive.name in ("dot_general", "conv_general_dilated"):
            yield equation.params["precision"]
        for inner in jax.tree.leaves(list(equation.params.values()), is_leaf=_is_jaxpr):
            inner = getattr(inner, "jaxpr", inner)
            if hasattr(inner, "eqns"):
                yield from _precisions(inner)


def _is_jaxpr(value):
    return hasattr(value, "eqns") or hasattr(value, "jaxpr")


def _precisions_of(function, *arguments):
    return set(_precisions(jax.make_jaxpr(function)(*arguments).jaxpr))


X, Y = np.ones((6, 4), np.float32), np.array([0, 1, 2, 0, 1, 2])


@pytest.mark.parametrize(
    "function",
    [
        lambda x: logistic.fit(x, jnp.asarray(Y), num_classes=3, l2=(1.0, 0.1)),
        lambda x: logistic.fit(x.T, jnp.asarray(Y[:4]), num_classes=3, l2=(1.0,)),
        lambda x: lda.fit(x, jnp.asarray(Y), num_classes=3),
        lambda x: descriptors.spectral_centroid(x[None], sample_rate=8000.0),
    ],
)
def test_products_outside_of_networks_are_in_float32(function):
    assert _precisions_of(function, jnp.asarray(X)) == {HIGHEST}


@pytest.mark.parametrize("kind", ["logmel", "mel_image", "mfcc", "mfcc_stats"])
def test_products_of_features_are_in_float32(kind):
    frontend = make_frontend(Features(kind=kind, n_fft=256, hop_length=128, n_mels=16))
    assert _precisions_of(frontend, jnp.zeros((1, 4000))) == {HIGHEST}


@pytest.mark.parametrize(
    ("name", "precision"),
    [
        pytest.param("default", None, marks=pytest.mark.e2e),
        pytest.param("tensorfloat32", (lax.Precision.HIGH,) * 2, marks=pytest.mark.e2e),
        ("highest", HIGHEST),
    ],
)
def test_matmul_precision_is_that_of_all_products_of_a_step(name, precision):
    config = tiny.config("simple", train__matmul_precision=name)
    frontend, model, tx, state = tiny.parts(config)
    step = steps.make_train_step(config, frontend, model, tx, num_classes=3)
    predict = steps.make_predict_step(frontend, config.features, model, precision=name)
    batch = tiny.batch(0)
    assert _precisions_of(step, state, batch) == {precision, HIGHEST}  # The front end's is fixed.
    assert _precisions_of(predict, state.variables(), batch) == {precision, HIGHEST}


@pytest.mark.parametrize(
    "network",
    [pytest.param("rnn", marks=pytest.mark.e2e), pytest.param("bbnn", marks=pytest.mark.slow)],
)
def test_training_in_bfloat16_is_that_in_float32_up_to_its_digits(network):
    """Losses of 30 steps within 0.02 on average, and of each step within 0.1."""
    losses = {}
    for dtype in ("float32", "bfloat16"):
        step, state = tiny.train_step(tiny.config(network, model__dtype=dtype, model__dropout=0.0))
        totals = [0.0]
        for i in range(30):
            state = step(state, tiny.batch(i))
            totals.append(float(state.metrics["loss"] / 8))
        losses[dtype] = np.diff(totals)
        assert {leaf.dtype for leaf in jax.tree.leaves(state.params)} == {np.dtype(np.float32)}
    difference = np.abs(losses["bfloat16"] - losses["float32"])
    assert difference.mean() < 0.02 and difference.max() < 0.1
