"""Laws of decibels, and bad arguments. Their parity with librosa is in test_parity."""

import numpy as np
import pytest

from mgr_jax.features import decibels


def test_power_to_db_is_inverted_by_db_to_power():
    power = np.random.default_rng(0).uniform(1e-3, 1, size=(5, 4)).astype(np.float32)
    for forward, inverse in (
        (decibels.power_to_db, decibels.db_to_power),
        (decibels.amplitude_to_db, decibels.db_to_amplitude),
    ):
        values = forward(power, ref=2.0, top_db=None)
        np.testing.assert_allclose(inverse(values, ref=2.0), power, rtol=1e-5)


def test_power_to_db_takes_maxima_within_a_clip_only():
    quiet = np.geomspace(1e-12, 1e-6, 12, dtype=np.float32).reshape(3, 4)
    loud = quiet * 1e9
    together = decibels.power_to_db(np.stack([quiet, loud]), amin=1e-20, ref="max", top_db=30.0)
    np.testing.assert_allclose(
        together[0], decibels.power_to_db(quiet, amin=1e-20, ref="max", top_db=30.0)
    )
    np.testing.assert_allclose(together[0], together[1], atol=1e-4)
    assert float(together.max()) == 0 and float(together.min()) == -30


@pytest.mark.parametrize(
    "call,named",
    [
        (lambda: decibels.power_to_db(np.ones(3), amin=0), "amin"),
        (lambda: decibels.power_to_db(np.ones(3), amin=-1e-10), "amin"),
        (lambda: decibels.power_to_db(np.ones(3), top_db=-1), "top_db"),
        (lambda: decibels.power_to_db(np.ones(3), ref="median"), "ref"),
        (lambda: decibels.power_to_db(np.ones(3, np.complex64)), "power"),
        (lambda: decibels.amplitude_to_db(np.ones(3), amin=-1.0), "amin"),
        (lambda: decibels.amplitude_to_db(np.ones(3), top_db=-1), "top_db"),
        (lambda: decibels.amplitude_to_db(np.ones(3, np.complex64)), "amplitude"),
    ],
)
def test_bad_arguments_raise_and_are_named(call, named):
    with pytest.raises(ValueError, match=f"^{named}"):
        call()
