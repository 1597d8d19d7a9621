"""The pictures of the README are small."""

import io

import numpy as np
import pytest
from PIL import Image

from tests.experiments import commands


def _png(values):
    file = io.BytesIO()
    Image.fromarray(values).save(file, "png")
    return file.getvalue()


def test_shrink_keeps_the_picture_and_fits_the_limit():
    shrink = commands.load("benchmarks.pictures").shrink
    ramp = np.tile(np.arange(200, dtype=np.uint8)[:, None, None], (1, 300, 1))
    picture = np.concatenate([ramp, ramp[::-1], ramp], axis=2)
    small = np.asarray(Image.open(io.BytesIO(shrink(_png(picture)))).convert("RGB"))
    assert small.shape == picture.shape
    assert np.abs(small.astype(int) - picture).max() <= 4
    noise = np.random.default_rng(0).integers(0, 256, (200, 300, 3), dtype=np.uint8)
    assert len(shrink(_png(noise), 40_000)) <= 40_000
    with pytest.raises(ValueError, match="16 colours, above 9000"):
        shrink(_png(noise), 9000)
