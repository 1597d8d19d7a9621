"""Logistic regression against scikit-learn, and properties of its paths and folds."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from mgr_jax.classical import logistic

NUM_CLASSES = 4
L2 = (1e-4, 1e-2, 1.0)


def _make_data(num_rows):
    """Features [N, 12] of very different scales, far from zero, and labels."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, NUM_CLASSES, num_rows)
    x = rng.normal(size=(NUM_CLASSES, 12))[y] + rng.normal(size=(num_rows, 12))
    return x * 10.0 ** rng.uniform(-2, 2, 12) + 100 * rng.normal(size=12), y


@pytest.fixture(name="data")
def _data():
    return _make_data(120)


@pytest.fixture(name="folds")
def _folds():
    """Features, labels and weights of three folds that train on 120 rows each."""
    weight = (np.arange(180)[None] % 3 != np.arange(3)[:, None]).astype(np.float32)
    return *_make_data(180), weight


def _objective(kernel, bias, x, y, l2):
    z = x @ kernel + bias
    z -= z.max(1, keepdims=True)
    log_p = z - np.log(np.exp(z).sum(1, keepdims=True))
    return -log_p[np.arange(len(y)), y].mean() + l2 / 2 * (kernel**2).sum()


def _reference(x, y, l2):
    # Newton's method converges to rounding error; the default solver stops 2e-6 above it.
    model = LogisticRegression(C=1 / (l2 * len(y)), tol=1e-12, solver="newton-cholesky")
    return model.fit(StandardScaler().fit_transform(x), y)


@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [("float64", 1e-6), pytest.param("float32", 1e-4, marks=pytest.mark.e2e)],
)
def test_fit_reaches_the_loss_of_scikit_learn(data, dtype, tolerance):
    x, y = data
    scaled = StandardScaler().fit_transform(x)
    with jax.enable_x64(dtype == "float64"):
        params = logistic.fit(x.astype(dtype), y, num_classes=NUM_CLASSES, l2=L2)
        assert params["kernel"].dtype == dtype
    for i, l2 in enumerate(L2):
        model = _reference(x, y, l2)
        expected = _objective(model.coef_.T, model.intercept_, scaled, y, l2)
        kernel, bias = (np.asarray(params[k][i], np.float64) for k in ("kernel", "bias"))
        assert _objective(kernel, bias, scaled, y, l2) == pytest.approx(expected, rel=tolerance)
        assert float(params["loss"][i]) == pytest.approx(expected, rel=tolerance)


def test_log_probabilities_equal_scikit_learns(data):
    x, y = data
    x_test = x[::7] + 0.1
    with jax.enable_x64(True):
        params = logistic.fit(x, y, num_classes=NUM_CLASSES, l2=L2)
        ours = logistic.log_probabilities(jax.tree.map(lambda a: a[1], params), x_test)
    scaler = StandardScaler().fit(x)
    theirs = _reference(x, y, L2[1]).predict_log_proba(scaler.transform(x_test))
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_fit_of_a_path_equals_separate_fits(data):
    x, y = data
    path = logistic.fit(x, y, num_classes=NUM_CLASSES, l2=L2)
    alone = logistic.fit(x, y, num_classes=NUM_CLASSES, l2=L2[2:] * 3)
    np.testing.assert_allclose(path["kernel"][2], alone["kernel"][0], atol=1e-4)


def test_fit_takes_penalties_in_any_order(data):
    x, y = data
    losses = {l2: [] for l2 in L2}
    for order in (L2, L2[::-1], (L2[1], L2[2], L2[0])):
        path = logistic.fit(x, y, num_classes=NUM_CLASSES, l2=order)
        np.testing.assert_allclose(path["l2"], order)
        for l2, loss in zip(order, path["loss"], strict=True):
            losses[l2].append(float(loss))
    for values in losses.values():
        assert np.ptp(values) < 1e-6 * values[0]


def test_fit_with_more_features_than_rows_equals_scikit_learns():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(16, 50)), np.arange(16) % NUM_CLASSES
    x[:, 7] = 3.0
    with jax.enable_x64(True):
        path = logistic.fit(x, y, num_classes=NUM_CLASSES, l2=L2)
        exact = logistic.fit(x, y, num_classes=NUM_CLASSES, l2=L2, tolerance=1e-12)
    for i, l2 in enumerate(L2):
        peer = _reference(x, y, l2)
        np.testing.assert_allclose(exact["kernel"][i], peer.coef_.T, atol=1e-5)
        # The loss is l2-strongly convex in the kernel, so that the gradient bounds the error.
        error = np.linalg.norm(np.asarray(path["kernel"][i]) - peer.coef_.T)
        assert error <= 1e-8 / l2
        assert float(path["gradient"][i]) <= 1e-8
        for params in (path, exact):
            np.testing.assert_array_equal(params["kernel"][i, 7], 0)


@pytest.mark.e2e
def test_fit_of_a_weak_path_takes_few_iterations_and_reaches_scikit_learns_loss(data):
    x, y = data
    l2 = tuple(1 / (np.logspace(-4, 4, 20) * len(y)))
    path = logistic.fit(x, y, num_classes=NUM_CLASSES, l2=l2, tolerance=1e-4)
    assert int(path["iterations"].sum()) < 500 and float(path["gradient"].max()) <= 1e-4
    scaled = StandardScaler().fit_transform(x)
    for i in (0, 10, 19):
        peer = LogisticRegression(C=1 / (l2[i] * len(y)), max_iter=10_000).fit(scaled, y)
        expected = _objective(peer.coef_.T, peer.intercept_, scaled, y, l2[i])
        assert float(path["loss"][i]) < expected + 1e-4


def test_fit_without_penalty_reaches_scikit_learns_loss_of_inseparable_classes():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(120, 12)), rng.integers(0, NUM_CLASSES, 120)
    path = logistic.fit(x, y, num_classes=NUM_CLASSES, l2=(0.0, 1e-2, 1.0))
    peer = LogisticRegression(C=np.inf, tol=1e-8, max_iter=1000)
    scaled = StandardScaler().fit_transform(x)
    peer.fit(scaled, y)
    expected = _objective(peer.coef_.T, peer.intercept_, scaled, y, 0)
    assert float(path["loss"][0]) == pytest.approx(expected, rel=1e-5)


@pytest.mark.e2e
def test_fit_folds_equals_fits_of_the_folds(folds):
    x, y, weight = folds
    path = logistic.fit_folds(x, y, num_classes=NUM_CLASSES, l2=L2, sample_weight=weight)
    assert path["kernel"].shape == (3, len(L2), 12, NUM_CLASSES)
    for k in range(3):
        rows = weight[k] > 0
        alone = logistic.fit(x[rows], y[rows], num_classes=NUM_CLASSES, l2=L2)
        np.testing.assert_allclose(path["loss"][k], alone["loss"], rtol=1e-5)
        np.testing.assert_allclose(path["mean"][k], alone["mean"], rtol=1e-5)
    with pytest.raises(ValueError, match=r"sample_weight is \(180,\)"):
        logistic.fit_folds(x, y, num_classes=NUM_CLASSES, l2=L2, sample_weight=weight[0])


def _assert_folds_equal_fits(x, y, weight, tolerance):
    path = logistic.fit_folds(x, y, num_classes=NUM_CLASSES, l2=L2, sample_weight=weight)
    for k in range(len(weight)):
        rows = weight[k] > 0
        alone = logistic.fit(x[rows], y[rows], num_classes=NUM_CLASSES, l2=L2)
        np.testing.assert_allclose(path["loss"][k], alone["loss"], rtol=tolerance)
        np.testing.assert_allclose(path["kernel"][k], alone["kernel"], atol=100 * tolerance)
        np.testing.assert_allclose(path["scale"][k], alone["scale"], rtol=tolerance)
    return path


def test_a_feature_that_is_constant_within_a_fold_has_no_weight_in_it(folds):
    x, y, weight = folds
    x = np.where((np.arange(12) == 5) & (weight[:1].T > 0), 0.1, x)
    path = _assert_folds_equal_fits(x, y, weight, 1e-4)
    np.testing.assert_array_equal(path["kernel"][0, :, 5], 0)
    assert np.abs(path["kernel"][1, :, 5]).min() > 0


def test_an_outlier_does_not_disturb_the_fold_that_leaves_it_out(folds):
    x, y, weight = folds
    x[0] *= 1e3
    path = logistic.fit_folds(x, y, num_classes=NUM_CLASSES, l2=L2, sample_weight=weight)
    rows = weight[0] > 0
    alone = logistic.fit(x[rows], y[rows], num_classes=NUM_CLASSES, l2=L2)
    np.testing.assert_allclose(path["kernel"][0], alone["kernel"], atol=1e-2)
    np.testing.assert_allclose(path["loss"][0], alone["loss"], rtol=1e-4)


@pytest.mark.e2e
def test_folds_of_fewer_rows_than_features_equal_fits_of_the_folds():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(24, 50)), np.arange(24) % NUM_CLASSES
    weight = (np.arange(24)[None] // 8 != np.arange(3)[:, None]).astype(np.float64)
    with jax.enable_x64(True):
        _assert_folds_equal_fits(x, y, weight, 1e-6)


@pytest.mark.e2e
def test_fit_without_weight_equals_fit_without_rows(data):
    x, y = data
    weight = np.ones(len(y), np.float32)
    weight[40:] = 0

    def weighted(w):
        return logistic.fit(x, y, num_classes=NUM_CLASSES, l2=(0.1,), sample_weight=w)

    folds = jax.vmap(weighted)(jnp.stack([weight, 3 * weight]))
    peer = _reference(x[:40], y[:40], 0.1)
    scaled = StandardScaler().fit_transform(x[:40])
    loss = _objective(peer.coef_.T, peer.intercept_, scaled, y[:40], 0.1)
    np.testing.assert_allclose(folds["loss"], np.full((2, 1), loss), rtol=1e-4)
    for fold in range(2):
        np.testing.assert_allclose(folds["mean"][fold, 0], x[:40].mean(0), rtol=1e-4)
        np.testing.assert_allclose(folds["scale"][fold, 0], x[:40].std(0), rtol=1e-4)
        np.testing.assert_allclose(folds["kernel"][fold, 0], peer.coef_.T, atol=1e-3)


def test_fit_separates_separable_classes():
    x = np.eye(4, 12, dtype=np.float32).repeat(30, 0)
    y = np.arange(4).repeat(30)
    params = logistic.fit(x, y, num_classes=4, l2=(1e-6, 1e-5, 1e-4))
    log_p = logistic.log_probabilities(jax.tree.map(lambda a: a[0], params), x)
    assert (np.argmax(log_p, 1) == y).all() and np.exp(log_p).max(1).min() > 0.99


def test_fit_ignores_a_constant_feature(data):
    x, y = data
    constant = np.where(np.arange(12) == 11, 0.1, x)
    params = logistic.fit(constant, y, num_classes=NUM_CLASSES, l2=L2)
    np.testing.assert_array_equal(params["kernel"][0, -1], 0)
    assert np.isfinite(params["loss"]).all()


def test_fit_ends_at_max_iterations(data):
    x, y = data
    params = logistic.fit(x, y, num_classes=NUM_CLASSES, l2=L2, max_iterations=3)
    assert int(params["iterations"][0]) == 3 and float(params["gradient"][0]) > 1e-4


def test_select_prefers_accuracy_then_loss_then_the_stronger_penalty():
    kernel = np.zeros((4, 1, 2), np.float32)
    kernel[0, 0] = 5, -5  # always wrong
    kernel[1, 0] = -1, 1  # right
    kernel[2:, 0] = -2, 2  # right and more certain, twice
    paths = {
        "l2": jnp.array([1.0, 1.0, 0.1, 0.2]),
        "mean": jnp.zeros((4, 1)),
        "scale": jnp.ones((4, 1)),
        "kernel": jnp.asarray(kernel),
        "bias": jnp.zeros((4, 2)),
    }
    x, y = np.array([[1.0], [-1.0]], np.float32), np.array([1, 0])
    assert float(logistic.select(paths, x, y)["l2"]) == np.float32(0.2)
    assert float(logistic.select(paths, x, 1 - y)["l2"]) == 1.0
    assert logistic.select(paths, x, y)["kernel"].shape == (1, 2)
    with pytest.raises(ValueError, match="x_valid is empty"):
        logistic.select(paths, x[:0], y[:0])


def test_fit_refuses_bad_arguments(data):
    x, y = data
    for message, arguments in {
        "l2": {"l2": ()},
        "l2 is": {"l2": (-1.0,)},
        "num_classes": {"num_classes": 3},
        "x is": {"x": x[:, 0]},
        "y is": {"y": y[:5]},
        "N > 0": {"x": x[:0], "y": y[:0]},
    }.items():
        given = {"x": x, "y": y, "num_classes": NUM_CLASSES, "l2": L2} | arguments
        with pytest.raises(ValueError, match=message):
            logistic.fit(given.pop("x"), given.pop("y"), **given)
