"""Audio files to decode, and the ways to decode them."""

import io

import numpy as np
import pytest
import soundfile

from mgr_jax.data import audio

RATE = 22050
FORMATS = [
    ("wav", "PCM_16", RATE),
    ("wav", "PCM_24", RATE),
    ("wav", "PCM_U8", RATE),
    ("wav", "FLOAT", RATE),
    ("au", "PCM_16", RATE),
    ("aiff", "PCM_16", RATE),
    ("flac", "PCM_16", RATE),
    ("flac", "PCM_24", RATE),
    ("caf", "PCM_16", RATE),
    ("ogg", "VORBIS", RATE),
    ("ogg", "OPUS", 24000),
    ("mp3", "MPEG_LAYER_III", RATE),
]


def sine(rate, *, seconds=1.0, frequency=440.0, level=0.5):
    return level * np.sin(2 * np.pi * frequency * np.arange(round(seconds * rate)) / rate)


def write(path, samples, rate=RATE, subtype="PCM_16"):
    soundfile.write(path, samples, rate, subtype=subtype)
    return str(path)


def encode(samples, container, subtype, rate=RATE, **settings):
    """Return the bytes of a file."""
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=container, subtype=subtype, **settings)
    return file.getvalue()


def decode(path, **kwargs):
    return audio.decode(str(path), **{"sample_rate": RATE, **kwargs})


def refusal(path):
    with pytest.raises(audio.AudioError) as caught:
        decode(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)
