"""The picture of a spectrogram."""

import jax
import matplotlib
import numpy as np
import pytest

from mgr_jax.features import colormaps, image

DECIBELS = np.random.default_rng(0).uniform(-80, 0, size=(2, 40, 16)).astype(np.float32)


@pytest.mark.parametrize("name", ["viridis", "magma"])
def test_colormap_table_equals_matplotlibs(name):
    theirs = matplotlib.colormaps[name](np.arange(256), bytes=True)[:, :3]
    np.testing.assert_array_equal(colormaps.TABLES[name], theirs)


@pytest.mark.parametrize("name", ["viridis", "magma"])
def test_spectrogram_image_equals_a_plot_of_the_same_size(name):
    # matplotlib's conversion of decibels to pixels: autoscaled, origin below.
    ours = image.spectrogram_image(DECIBELS, height=16, width=40, colormap=name)
    for picture, decibels in zip(ours, DECIBELS, strict=True):
        scaled = matplotlib.colors.Normalize()(decibels.T[::-1])
        theirs = matplotlib.colormaps[name](scaled, bytes=True)[..., :3]
        difference = np.abs(np.asarray(picture) * 255 - theirs)
        # A value on the edge between two of the 256 steps may fall to either.
        assert difference.max() <= 4 and (difference > 0.01).mean() < 0.01


@pytest.mark.parametrize(
    "height,width",
    [
        (203, 200),
        *(pytest.param(*size, marks=pytest.mark.e2e) for size in ((288, 432), (480, 640), (1, 1))),
    ],
)
@pytest.mark.parametrize("colormap,channels", [("viridis", 3), ("magma", 3), ("grey", 1)])
def test_spectrogram_image_has_the_requested_size(height, width, colormap, channels):
    ours = jax.jit(
        lambda x: image.spectrogram_image(x, height=height, width=width, colormap=colormap)
    )(DECIBELS)
    assert ours.shape == (2, height, width, channels) and ours.dtype == np.float32
    assert float(ours.min()) >= 0 and float(ours.max()) <= 1


def test_frequency_runs_upward_and_time_to_the_right():
    rising = np.full((30, 10), -80.0, np.float32)
    rising[20:, 8:] = 0  # late and high
    picture = image.spectrogram_image(rising, height=10, width=30, colormap="grey")[..., 0]
    expected = np.zeros((10, 30))
    expected[:2, 20:] = 1
    np.testing.assert_array_equal(picture, expected)
    turned = image.spectrogram_image(
        rising, height=30, width=10, colormap="grey", time_axis="vertical"
    )
    np.testing.assert_array_equal(turned[..., 0], (rising + 80) / 80)


def test_spectrogram_image_ignores_level_and_other_clips():
    one = image.spectrogram_image(DECIBELS[0], height=20, width=20)
    louder = image.spectrogram_image(np.stack([DECIBELS[0], DECIBELS[1] + 30]), height=20, width=20)
    np.testing.assert_array_equal(one, louder[0])


def test_spectrogram_image_of_silence_is_the_lowest_colour():
    silence = np.full((2, 40, 16), -100.0, np.float32)
    picture = np.asarray(image.spectrogram_image(silence))
    np.testing.assert_allclose(
        picture, np.broadcast_to(colormaps.TABLES["viridis"][0] / 255, picture.shape), rtol=1e-6
    )


@pytest.mark.parametrize(
    "options,named",
    [
        ({"height": 0}, "height"),
        ({"width": -1}, "width"),
        ({"colormap": "jet"}, "colormap"),
        ({"time_axis": "x"}, "time_axis"),
    ],
)
def test_bad_arguments_raise_and_are_named(options, named):
    with pytest.raises(ValueError, match=f"^{named}"):
        image.spectrogram_image(DECIBELS, **options)
    with pytest.raises(ValueError, match=r"^decibels"):
        image.spectrogram_image(np.ones(3))
