"""The tagger hears files and waveforms as the front end and the network do, piece by piece."""

import jax
import numpy as np
import pytest
import soundfile

from mgr_jax import pretrained, tagger
from mgr_jax.data.audio import AudioError
from mgr_jax.features import musicnn


@pytest.fixture(name="model", scope="module")
def _model():
    model = tagger.load()
    yield model
    model.decoders.close()


def _noise(seconds, seed=0):
    generator = np.random.default_rng(seed)
    return 0.1 * generator.normal(size=round(seconds * 16000)).astype(np.float32)


@pytest.mark.e2e
def test_tag_equals_the_network_on_the_windows_of_the_whole_track(model):
    waveform = _noise(33.0)
    tags = model.tag(waveform, 16000)
    module, variables, labels = pretrained.load_musicnn()
    expected = module.apply(variables, musicnn.windows(waveform))
    assert tags.probabilities.shape == (musicnn.num_windows(waveform.size), 50)
    np.testing.assert_allclose(tags.probabilities, jax.nn.sigmoid(expected.logits), atol=1e-5)
    np.testing.assert_allclose(tags.embeddings, expected.embedding, atol=1e-3)
    assert tags.labels == labels and tags.note == ""
    assert tags.duration_seconds == pytest.approx(33.0)
    np.testing.assert_allclose(np.diff(tags.window_starts_seconds), 61 * 256 / 16000)
    mean = list(tags.mean.values())
    assert mean == sorted(mean, reverse=True) and sum(mean) == pytest.approx(
        tags.probabilities.mean(axis=0).sum(), rel=1e-5
    )


def test_tag_files_yields_what_tag_returns_and_the_errors(model, tmp_path):
    soundfile.write(tmp_path / "a.wav", _noise(4.0), 16000, subtype="FLOAT")
    (tmp_path / "b.wav").write_text("no audio")
    (first, tags), (second, error) = model.tag_files([tmp_path / "a.wav", tmp_path / "b.wav"])
    assert (first, second) == (str(tmp_path / "a.wav"), str(tmp_path / "b.wav"))
    np.testing.assert_array_equal(tags.probabilities, model.tag(first).probabilities)
    np.testing.assert_allclose(
        tags.probabilities, model.tag(_noise(4.0), 16000).probabilities, atol=1e-6
    )
    assert isinstance(error, AudioError)
    with pytest.raises(AudioError):
        model.tag(second)


def test_tag_of_a_second_is_that_of_its_repetition_and_says_so(model):
    tags = model.tag(_noise(1.0), 16000)
    assert len(tags.probabilities) == 1 and "shorter than the 3 s of a window" in tags.note
    repeated = np.resize(_noise(1.0), musicnn.MIN_SAMPLES)
    np.testing.assert_allclose(
        tags.probabilities, model.tag(repeated, 16000).probabilities, atol=1e-6
    )


def test_tag_refuses_bad_arguments(model):
    with pytest.raises(ValueError, match="sample_rate is None"):
        model.tag(_noise(3.0))
    with pytest.raises(ValueError, match="a file knows its own"):
        model.tag("song.wav", 16000)
