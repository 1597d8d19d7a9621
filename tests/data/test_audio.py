"""Decoding: exact against the samples that were written, and against SciPy."""

import numpy as np
import pytest
import soundfile
from scipy import signal

from mgr_jax.data import audio, stream_readers
from tests.data.audio_files import FORMATS, RATE, decode, encode, sine, write

EXACT = {("wav", "PCM_16"), ("au", "PCM_16"), ("aiff", "PCM_16"), ("flac", "PCM_16")}


def _peak(waveform, rate):
    """Return frequency in Hz and amplitude of the strongest component of a windowed spectrum."""
    window = signal.windows.hann(len(waveform), sym=False)
    spectrum = np.abs(np.fft.rfft(waveform * window)) / window.sum() * 2
    return spectrum.argmax() * rate / len(waveform), spectrum.max()


def test_decode_gives_16_bit_samples_exactly(tmp_path):
    integers = np.arange(-32768, 32768, 7, dtype=np.int16)
    path = write(tmp_path / "a.wav", integers)
    waveform, note = decode(path)
    np.testing.assert_array_equal(waveform * 32768, integers)
    assert waveform.dtype == np.float32
    assert note == ""


@pytest.mark.parametrize(("suffix", "subtype", "rate"), FORMATS)
def test_decode_reads_every_format(tmp_path, suffix, subtype, rate):
    written = sine(rate, seconds=2.0)
    path = write(tmp_path / f"a.{suffix}", written, rate, subtype)
    waveform, note = decode(path, sample_rate=rate)
    assert note == ""
    assert len(waveform) == len(written)
    if (suffix, subtype) in EXACT:
        assert np.abs(waveform - written).max() <= 1.01 / 32768
    frequency, level = _peak(waveform[rate // 2 : -rate // 2], rate)  # A codec has to settle.
    assert abs(frequency - 440) <= 1
    assert abs(level - 0.5) < 0.02


@pytest.mark.parametrize(("suffix", "subtype", "rate"), FORMATS)
def test_decode_joins_blocks_without_a_seam(tmp_path, suffix, subtype, rate):
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, (3 * rate, 2))
    path = write(tmp_path / f"a.{suffix}", samples, rate, subtype)
    expected, _ = soundfile.read(path, dtype="float32")  # In one go.
    waveform, _ = decode(path, sample_rate=rate)
    np.testing.assert_allclose(waveform, expected.mean(axis=1), rtol=0, atol=3e-7)


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 32000, 44100, 48000, 96000])
def test_decode_keeps_frequency_level_and_length_when_it_resamples(tmp_path, rate):
    path = write(tmp_path / "a.wav", sine(rate, seconds=2.0, frequency=1000), rate)
    waveform, _ = decode(path)
    assert abs(len(waveform) - 2 * RATE) <= 1
    frequency, level = _peak(waveform[RATE // 2 :][:RATE], RATE)
    assert abs(frequency - 1000) <= 0.5
    assert abs(level - 0.5) < 1e-4


def test_decode_agrees_with_a_polyphase_resampler_of_scipy(tmp_path):
    noise = np.random.default_rng(0).normal(size=44100) * 0.1
    low = signal.sosfiltfilt(signal.butter(8, 4000, fs=44100, output="sos"), noise)
    waveform, _ = decode(write(tmp_path / "a.wav", low, 44100, "FLOAT"))
    expected = signal.resample_poly(low, 1, 2)
    inner = slice(500, -500)
    assert np.abs(waveform[inner] - expected[inner]).max() < 1e-3 * np.abs(expected).max()


def test_decode_removes_what_the_new_rate_cannot_hold(tmp_path):
    path = write(tmp_path / "a.wav", sine(48000, frequency=15000), 48000)
    waveform, _ = decode(path)
    assert np.abs(waveform[1000:-1000]).max() < 0.5e-3


@pytest.mark.parametrize("channels", [1, 2, 6])
def test_decode_mixes_down_to_the_mean(tmp_path, channels):
    samples = np.random.default_rng(channels).uniform(-0.9, 0.9, (RATE // 2, channels))
    waveform, _ = decode(write(tmp_path / "a.wav", samples, subtype="FLOAT"))
    assert waveform.shape == (RATE // 2,)
    np.testing.assert_allclose(waveform, samples.mean(axis=1), atol=2e-7)


@pytest.mark.parametrize("rate", [RATE, 44100])
def test_decode_stops_at_max_samples_and_reads_no_further(tmp_path, monkeypatch, rate):
    path = write(tmp_path / "a.wav", sine(rate, seconds=8), rate)
    whole, _ = decode(path)
    taken = []
    read = soundfile.SoundFile.read

    def spy(self, *args, **kwargs):
        block = read(self, *args, **kwargs)
        taken.append(len(block))
        return block

    monkeypatch.setattr(soundfile.SoundFile, "read", spy)
    waveform, note = decode(path, max_samples=RATE)
    assert note == ""
    np.testing.assert_array_equal(waveform, whole[:RATE])
    assert sum(taken) <= 2 * rate


def test_decode_bounds_the_memory_of_a_read_by_the_channels(tmp_path, monkeypatch):
    path = tmp_path / "a.wav"
    write(path, np.full((200, 1024), 0.25), subtype="FLOAT")
    sizes = []
    read = soundfile.SoundFile.read

    def spy(self, frames, **kwargs):
        sizes.append(frames * self.channels)
        return read(self, frames, **kwargs)

    monkeypatch.setattr(soundfile.SoundFile, "read", spy)
    waveform, _ = decode(path)
    np.testing.assert_array_equal(waveform, np.full(200, 0.25, np.float32))
    assert max(sizes) <= 1 << 16


@pytest.mark.parametrize("container", ["WAV", "AIFF", "AU", "W64", "CAF"])
@pytest.mark.parametrize("bits", [16, 24])
def test_decode_gives_narrow_samples_in_32_bits_their_level(tmp_path, container, bits):
    samples = np.rint(sine(RATE) * 2 ** (bits - 1)).astype(np.int32)
    (tmp_path / "a").write_bytes(encode(samples, container, "PCM_32"))
    waveform, note = decode(tmp_path / "a")
    np.testing.assert_array_equal(waveform, (samples / 2.0 ** (bits - 1)).astype(np.float32))
    assert note == f"its integers of 32 bits hold {bits}: taken for samples of {bits} bits"
    wide, note = decode(write(tmp_path / "b.wav", sine(RATE), subtype="PCM_32"))
    assert note == "" and np.abs(wide - waveform).max() < 1e-4


def test_decode_gives_16_bits_in_24_their_level(tmp_path):
    samples = np.rint(sine(RATE) * 2**15).astype(np.int32)
    (tmp_path / "a").write_bytes(encode(samples << 8, "WAV", "PCM_24"))
    waveform, note = decode(tmp_path / "a")
    np.testing.assert_array_equal(waveform * 2**15, samples)
    assert note == "its integers of 24 bits hold 16: taken for samples of 16 bits"


def test_decode_reads_a_few_blocks_of_a_long_quiet_file_for_its_level(tmp_path, monkeypatch):
    monkeypatch.setattr(stream_readers, "_MAX_LEVEL_BLOCKS", 4)
    samples = np.rint(sine(RATE, seconds=20) * 2**15).astype(np.int32)
    path, taken = write(tmp_path / "a.wav", samples, subtype="PCM_32"), []
    read = soundfile.SoundFile.read

    def spy(self, frames, dtype="", **kwargs):
        taken.append(frames if dtype == "int32" else 0)
        return read(self, frames, dtype=dtype, **kwargs)

    monkeypatch.setattr(soundfile.SoundFile, "read", spy)
    waveform, _ = decode(path)
    np.testing.assert_array_equal(waveform * 2**15, samples)
    assert 0 < sum(taken) <= 4 << 14


def test_decode_gives_the_level_of_24_bits_in_blocks_of_4_bytes(tmp_path):
    samples = np.rint(sine(RATE) * 2**23).astype("<i4")
    content = bytearray(encode(samples, "WAV", "PCM_32"))
    content[34:36] = (24).to_bytes(2, "little")  # As `arecord -f S24_LE` writes it.
    (tmp_path / "a").write_bytes(content)
    waveform, _ = decode(tmp_path / "a")
    np.testing.assert_allclose(waveform, samples / 2.0**23, atol=1e-7)


@pytest.mark.parametrize("subtype", ["FLOAT", "DOUBLE"])
def test_decode_notes_floats_of_the_scale_of_integers(tmp_path, subtype):
    for scale, is_odd in ((2.0**7, True), (2.0**15, True), (2.0**23, True), (8.0, False)):
        _, note = decode(write(tmp_path / "a.wav", scale * sine(RATE), subtype=subtype))
        assert note.startswith("its samples reach") == is_odd


@pytest.mark.parametrize("gain", [-1.0, -0.95])
def test_decode_hears_one_of_two_channels_that_cancel(tmp_path, gain):
    samples = np.stack([sine(RATE), gain * sine(RATE)], axis=1)
    waveform, note = decode(write(tmp_path / "a.wav", samples, subtype="FLOAT"))
    np.testing.assert_allclose(waveform, samples[:, 0], atol=1e-6)
    assert note == "its channels cancel each other: one of them is heard"
    four = np.stack([0 * samples[:, 0], *samples.T, 0 * samples[:, 0]], axis=1)
    waveform, _ = decode(write(tmp_path / "a.wav", four, subtype="FLOAT"))
    np.testing.assert_allclose(waveform, samples[:, 0], atol=1e-6)


def test_decode_reads_a_short_file(tmp_path):
    waveform, note = decode(write(tmp_path / "a.wav", sine(RATE, seconds=0.5)))
    assert (len(waveform), note) == (RATE // 2, "")


def test_fit_cuts_and_pads_at_the_end():
    waveform = np.arange(1, 5, dtype=np.int16)
    np.testing.assert_array_equal(audio.fit(waveform, 2), [1, 2])
    np.testing.assert_array_equal(audio.fit(waveform, 4), waveform)
    np.testing.assert_array_equal(audio.fit(waveform, 6), [1, 2, 3, 4, 0, 0])
    assert audio.fit(waveform, 6).dtype == np.int16


@pytest.mark.parametrize("max_samples", [None, 3000])
@pytest.mark.parametrize("rate", [8000, 11_025, 44_100])
def test_stream_joined_is_decode(tmp_path, rate, max_samples):
    soundfile.write(tmp_path / "a.wav", np.random.default_rng(0).normal(size=70_000) * 0.1, rate)
    settings = {"sample_rate": 8000, "max_samples": max_samples}
    blocks = list(audio.stream(tmp_path / "a.wav", **settings))
    assert len(blocks) > 1 or max_samples
    waveform, _ = audio.decode(tmp_path / "a.wav", **settings)
    np.testing.assert_array_equal(np.concatenate(blocks), waveform)


def test_convert_refuses_what_is_no_waveform():
    with pytest.raises(ValueError, match="waveform is"):
        audio.convert(np.zeros((2, 2, 2)), 8000, sample_rate=8000)
    with pytest.raises(ValueError, match="waveform is"):
        audio.convert(np.array(["a"]), 8000, sample_rate=8000)
    with pytest.raises(ValueError, match="source_rate is 10"):
        audio.convert(np.ones(10), 10, sample_rate=8000)
    for waveform, reason in ((np.zeros(0), "no samples"), (np.full(9, np.nan), "NaN")):
        with pytest.raises(audio.AudioError, match=reason):
            audio.convert(waveform, 8000, sample_rate=8000)


def test_convert_scales_integers_to_full_scale():
    steps = np.array([-128, 0, 64, 127], np.int8)
    expected = np.array([-1, 0, 0.5, 127 / 128], np.float32)
    np.testing.assert_array_equal(audio.convert(steps, 8000, sample_rate=8000), expected)
    offset = (steps.astype(np.int16) + 128).astype(np.uint8)
    np.testing.assert_array_equal(audio.convert(offset, 8000, sample_rate=8000), expected)


@pytest.mark.parametrize("bits", [16, 24])
def test_convert_gives_narrow_integers_their_level(bits):
    samples = np.rint(sine(8000) * 2 ** (bits - 1)).astype(np.int32)
    expected = (samples / 2.0 ** (bits - 1)).astype(np.float32)
    for waveform in (samples, samples.astype(np.int64)):
        actual, note = audio.convert_noted(waveform, 8000, sample_rate=8000)
        np.testing.assert_array_equal(actual, expected)
        assert note.endswith(f"taken for samples of {bits} bits")
    with pytest.raises(audio.AudioError, match="is silent"):  # Noise of the last bits.
        audio.convert(samples // 2 ** (bits - 4), 8000, sample_rate=8000)


def test_convert_notes_the_scale_and_channels_that_cancel():
    tone = sine(8000)
    assert audio.convert_noted(tone, 8000, sample_rate=8000)[1] == ""
    _, note = audio.convert_noted(2.0**15 * tone, 8000, sample_rate=8000)
    assert note.startswith("its samples reach 16384")
    stereo, note = audio.convert_noted(np.stack([tone, -tone], 1), 8000, sample_rate=8000)
    np.testing.assert_allclose(stereo, tone, atol=1e-6)
    assert note == "its channels cancel each other: one of them is heard"


@pytest.mark.parametrize("shape", [(2, 40), (1, 2), (3, 64), (1, 1000)])
def test_convert_refuses_fewer_samples_than_channels(shape):
    with pytest.raises(ValueError, match=r"must be \[T, channels\]: transpose it"):
        audio.convert(np.ones(shape, np.float32), 22050, sample_rate=22050)


def test_convert_refuses_channels_first():
    with pytest.raises(ValueError, match=r"is 1000 channels; it must be \[T, channels\]"):
        audio.convert(np.ones((2, 1000), np.float32), 22050, sample_rate=22050)
