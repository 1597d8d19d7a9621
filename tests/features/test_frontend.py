"""`make_frontend` for every kind."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import librosa
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from scipy.fft import dct

from experiments.benchmarks import parity
from mgr_jax.config import FEATURE_KINDS, Features
from mgr_jax.errors import UserError
from mgr_jax.features import bands, frontend, normalize

NOISE = 0.1 * np.random.default_rng(0).normal(size=(4, 20_000)).astype(np.float32)
SMALL = Features(n_fft=512, hop_length=256, n_mels=40, image_height=30, image_width=50)
# mfcc and flattened are computed from the same parts as the other three.
KINDS = ["logmel", "mel_image", "mfcc_stats"]
kinds = pytest.mark.parametrize(
    "kind", [*KINDS, *(pytest.param(kind, marks=pytest.mark.e2e) for kind in ("mfcc", "flattened"))]
)


@functools.cache
def compiled(kind):
    return jax.jit(frontend.make_frontend(dataclasses.replace(SMALL, kind=kind)))


def tolerance(kind, expected):
    # An image is made of steps: rounding may move a pixel by one of them.
    return 2e-2 if kind in ("mel_image", "flattened") else 1e-5 * np.abs(expected).max()


def test_every_kind_of_the_config_has_a_frontend():
    assert set(frontend.FRONTENDS) == set(FEATURE_KINDS)
    kinds = {*KINDS, "mfcc", "flattened", "spectrogram", "musicnn", "embedding"}
    assert kinds == set(FEATURE_KINDS)


@pytest.mark.parametrize(
    "features,samples,shape",
    [
        (Features(), 661_794, (647, 128)),
        (Features(), 661_500, (646, 128)),
        (Features(kind="mfcc", hop_length=256), 661_500, (2584, 14)),
        (Features(kind="mfcc_stats", hop_length=256), 661_500, (119,)),
        (Features(kind="mel_image"), 661_500, (288, 432, 3)),
        (Features(kind="mel_image", image_height=480, image_width=640), 661_500, (480, 640, 3)),
        (Features(kind="flattened"), 661_500, (121_800,)),
    ],
)
def test_make_frontend_gives_the_shapes_of_the_papers(features, samples, shape):
    function = frontend.make_frontend(features)
    out = jax.eval_shape(function, jax.ShapeDtypeStruct((2, samples), jnp.float32))
    assert out.shape == (2, *shape) and out.dtype == jnp.float32
    if features.kind in ("logmel", "mfcc"):
        assert frontend.num_frames(features, samples) == shape[0]


@pytest.mark.parametrize("n_fft", [512, 501])
def test_num_frames_counts_the_frames_of_a_waveform(n_fft):
    features = dataclasses.replace(SMALL, n_fft=n_fft)
    function = frontend.make_frontend(features)
    lengths = [1, 255, 256, 257, 5119, 5120, 5121]
    counted = [
        jax.eval_shape(function, jax.ShapeDtypeStruct((1, n), jnp.float32)).shape[1]
        for n in lengths
    ]
    np.testing.assert_array_equal(frontend.num_frames(features, jnp.asarray(lengths)), counted)


@kinds
def test_jit_equals_eager_and_clips_do_not_mix(kind):
    function = frontend.make_frontend(dataclasses.replace(SMALL, kind=kind))
    together = np.asarray(compiled(kind)(NOISE))
    close = {"atol": tolerance(kind, together)}
    if kind in ("logmel", "mfcc_stats"):  # The others are made of these.
        np.testing.assert_allclose(function(NOISE), together, **close)
    np.testing.assert_allclose(jax.jit(jax.vmap(function))(NOISE), together, **close)
    louder = np.concatenate([NOISE[:1], 100 * NOISE[1:]])
    np.testing.assert_allclose(compiled(kind)(louder)[0], together[0], **close)


@kinds
def test_a_batch_on_four_devices_equals_one_device_and_stays_sharded(kind):
    features = dataclasses.replace(SMALL, kind=kind)
    mesh = jax.make_mesh((4,), ("data",), axis_types=(AxisType.Auto,))
    sharded = jax.device_put(NOISE, NamedSharding(mesh, PartitionSpec("data")))
    one = np.asarray(compiled(kind)(NOISE))
    close = {"atol": tolerance(kind, one)}
    with_mesh = jax.jit(frontend.make_frontend(features, mesh=mesh))(sharded)
    assert with_mesh.sharding.spec[0] in ("data", ("data",))
    np.testing.assert_allclose(with_mesh, one, **close)
    np.testing.assert_allclose(compiled(kind)(sharded), one, **close)


def test_long_clips_on_four_devices_are_not_gathered():
    mesh = jax.make_mesh((4,), ("data",), axis_types=(AxisType.Auto,))
    sharding = NamedSharding(mesh, PartitionSpec("data"))
    function = jax.jit(frontend.make_frontend(Features(), mesh=mesh), in_shardings=sharding)
    compiled = function.lower(jax.ShapeDtypeStruct((4, 661_794), jnp.float32)).compile().as_text()
    assert "while" in compiled
    assert "all-gather" not in compiled and "all-reduce" not in compiled


@pytest.mark.parametrize("kind", ["logmel", "mfcc"])
def test_frontend_equals_librosa(kind):
    clips = {**parity.signals(40_000), **parity.tracks(2, 661_794)}
    function = jax.jit(frontend.make_frontend(Features(kind=kind)))
    for name, clip in clips.items():
        power = librosa.feature.melspectrogram(y=clip, sr=22050, hop_length=1024)
        reference = librosa.power_to_db(power, ref=1.0, amin=1e-10, top_db=80.0)
        if kind == "mfcc":
            reference = librosa.feature.mfcc(S=reference, n_mfcc=14)
        ours = np.asarray(function(clip[None]))[0]
        bound = 1e-3 if kind == "logmel" else 1e-5 * np.abs(reference).max()
        assert np.abs(ours - reference.T).max() <= bound, name


@kinds
def test_gradient_at_silence_is_finite(kind):
    function = frontend.make_frontend(dataclasses.replace(SMALL, kind=kind))
    gradient = jax.jit(jax.grad(lambda x: jnp.sum(function(x))))(jnp.zeros((1, 4096)))
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("kind", ["global", "bin"])
def test_fit_normalizer_standardises_the_training_part(kind):
    features = dataclasses.replace(SMALL, normalize=kind)
    normalizer = frontend.fit_normalizer(features, [(NOISE[:2], None), (NOISE[2:], None)])
    out = np.asarray(jax.jit(frontend.make_frontend(features))(NOISE, normalizer))
    assert out.mean() == pytest.approx(0, abs=1e-4) and out.std() == pytest.approx(1, abs=1e-3)
    with pytest.raises(ValueError, match="training part"):
        frontend.make_frontend(features)(NOISE)
    with pytest.raises(ValueError, match="batches is empty"):
        frontend.fit_normalizer(features, [])


@pytest.mark.parametrize("kind", ["none", "clip"])
def test_normalizers_without_fit_need_no_argument(kind):
    features = dataclasses.replace(SMALL, normalize=kind)
    assert frontend.fit_normalizer(features, []) is None
    raw = frontend.make_frontend(SMALL)(NOISE)
    out = frontend.make_frontend(features)(NOISE)
    np.testing.assert_allclose(out, normalize.apply(None, raw, kind=kind), atol=1e-5)


def test_make_frontend_names_the_bad_argument():
    with pytest.raises(UserError, match=r"features\.kind is 'cqt'"):
        frontend.make_frontend(Features(kind="cqt"))
    with pytest.raises(UserError, match=r"features\.n_mels 128 leaves \d+ bands"):
        frontend.make_frontend(Features(n_fft=256))
    with pytest.raises(ValueError, match="waveform is int16"):
        frontend.make_frontend(SMALL)(NOISE.astype(np.int16))


def test_spectrogram_is_the_bands_cepstra_and_slopes_one_after_the_other():
    x = np.random.default_rng(0).normal(size=(2, 30, 128)).astype(np.float32)
    options = {"kind": "spectrogram", "n_fft": 256, "num_bins": 128}
    plain = frontend.make_frontend(Features(**options))(x)
    np.testing.assert_array_equal(plain, x)
    mel = {"bands": "mel", "n_mels": 20, "fmin": 60.0}
    weights = bands.band_weights("mel", 20, 128, 22050.0, 256, 60.0, 0.0)
    expected = dct(x @ weights, axis=-1, norm="ortho")[..., :7]
    cepstra = frontend.make_frontend(
        Features(**options, **mel, cepstrum=True, n_mfcc=7, deltas=True)
    )(x)
    np.testing.assert_allclose(cepstra[..., :7], expected, atol=1e-4)
    slope = sum(k * expected[:, 10 + k] for k in range(-2, 3)) / 10
    np.testing.assert_allclose(cepstra[:, 10, 7:], slope, atol=1e-4)
    vector = frontend.make_frontend(Features(**options, **mel, statistics="mean,std"))(x)
    moments = [(x @ weights).mean(1), (x @ weights).std(1)]
    np.testing.assert_allclose(vector, np.concatenate(moments, -1), atol=1e-4)
