"""Decoding: against the samples that were written, SciPy, and files broken in every way."""

import os
import struct
import sys
import threading

import numpy as np
import pytest
import soundfile
from scipy import signal

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
EXACT = {("wav", "PCM_16"), ("au", "PCM_16"), ("aiff", "PCM_16"), ("flac", "PCM_16")}


def _sine(rate, *, seconds=1.0, frequency=440.0, level=0.5):
    return level * np.sin(2 * np.pi * frequency * np.arange(round(seconds * rate)) / rate)


def _write(path, samples, rate=RATE, subtype="PCM_16"):
    soundfile.write(path, samples, rate, subtype=subtype)
    return str(path)


def _decode(path, **kwargs):
    return audio.decode(str(path), **{"sample_rate": RATE, **kwargs})


def _refused(path):
    with pytest.raises(audio.AudioError) as caught:
        _decode(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def _peak(waveform, rate):
    """Frequency in Hz and amplitude of the strongest component, read off a windowed spectrum."""
    window = signal.windows.hann(len(waveform), sym=False)
    spectrum = np.abs(np.fft.rfft(waveform * window)) / window.sum() * 2
    return spectrum.argmax() * rate / len(waveform), spectrum.max()


def test_decode_gives_16_bit_samples_exactly(tmp_path):
    integers = np.arange(-32768, 32768, 7, dtype=np.int16)
    path = _write(tmp_path / "a.wav", integers)
    waveform, note = _decode(path)
    np.testing.assert_array_equal(waveform * 32768, integers)
    assert waveform.dtype == np.float32
    assert note == ""


@pytest.mark.parametrize(("suffix", "subtype", "rate"), FORMATS)
def test_decode_reads_every_format(tmp_path, suffix, subtype, rate):
    written = _sine(rate, seconds=2.0)
    path = _write(tmp_path / f"a.{suffix}", written, rate, subtype)
    waveform, note = _decode(path, sample_rate=rate)
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
    path = _write(tmp_path / f"a.{suffix}", samples, rate, subtype)
    expected, _ = soundfile.read(path, dtype="float32")  # In one go.
    waveform, _ = _decode(path, sample_rate=rate)
    np.testing.assert_allclose(waveform, expected.mean(axis=1), rtol=0, atol=3e-7)


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 32000, 44100, 48000, 96000])
def test_decode_keeps_frequency_level_and_length_when_it_resamples(tmp_path, rate):
    path = _write(tmp_path / "a.wav", _sine(rate, seconds=2.0, frequency=1000), rate)
    waveform, _ = _decode(path)
    assert abs(len(waveform) - 2 * RATE) <= 1
    frequency, level = _peak(waveform[RATE // 2 :][:RATE], RATE)
    assert abs(frequency - 1000) <= 0.5
    assert abs(level - 0.5) < 1e-4


def test_decode_agrees_with_a_polyphase_resampler_of_scipy(tmp_path):
    noise = np.random.default_rng(0).normal(size=44100) * 0.1
    low = signal.sosfiltfilt(signal.butter(8, 4000, fs=44100, output="sos"), noise)
    waveform, _ = _decode(_write(tmp_path / "a.wav", low, 44100, "FLOAT"))
    expected = signal.resample_poly(low, 1, 2)
    inner = slice(500, -500)
    assert np.abs(waveform[inner] - expected[inner]).max() < 1e-3 * np.abs(expected).max()


def test_decode_removes_what_the_new_rate_cannot_hold(tmp_path):
    path = _write(tmp_path / "a.wav", _sine(48000, frequency=15000), 48000)
    waveform, _ = _decode(path)
    assert np.abs(waveform[1000:-1000]).max() < 0.5e-3


@pytest.mark.parametrize("channels", [1, 2, 6])
def test_decode_mixes_down_to_the_mean(tmp_path, channels):
    samples = np.random.default_rng(channels).uniform(-0.9, 0.9, (RATE // 2, channels))
    waveform, _ = _decode(_write(tmp_path / "a.wav", samples, subtype="FLOAT"))
    assert waveform.shape == (RATE // 2,)
    np.testing.assert_allclose(waveform, samples.mean(axis=1), atol=2e-7)


@pytest.mark.parametrize("rate", [RATE, 44100])
def test_decode_stops_at_max_samples_and_reads_no_further(tmp_path, monkeypatch, rate):
    path = _write(tmp_path / "a.wav", _sine(rate, seconds=8), rate)
    whole, _ = _decode(path)
    taken = []
    read = soundfile.SoundFile.read

    def spy(self, *args, **kwargs):
        block = read(self, *args, **kwargs)
        taken.append(len(block))
        return block

    monkeypatch.setattr(soundfile.SoundFile, "read", spy)
    waveform, note = _decode(path, max_samples=RATE)
    assert note == ""
    np.testing.assert_array_equal(waveform, whole[:RATE])
    assert sum(taken) <= 2 * rate


def test_decode_bounds_the_memory_of_a_read_by_the_channels(tmp_path, monkeypatch):
    path = tmp_path / "a.wav"
    _write(path, np.full((200, 1024), 0.25), subtype="FLOAT")
    sizes = []
    read = soundfile.SoundFile.read

    def spy(self, frames, **kwargs):
        sizes.append(frames * self.channels)
        return read(self, frames, **kwargs)

    monkeypatch.setattr(soundfile.SoundFile, "read", spy)
    waveform, _ = _decode(path)
    np.testing.assert_array_equal(waveform, np.full(200, 0.25, np.float32))
    assert max(sizes) <= 1 << 16


def test_decode_refuses_a_file_without_samples(tmp_path):
    assert _refused(_write(tmp_path / "a.wav", np.zeros(0))) == "has no samples"


@pytest.mark.parametrize("content", [b"", b"This is not audio.\n" * 50, b"RIFF", b"\0" * 5000])
def test_decode_refuses_what_is_not_audio(tmp_path, content):
    path = tmp_path / "a.wav"
    path.write_bytes(content)
    assert _refused(path).startswith("cannot be decoded (")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_decode_refuses_values_that_are_not_finite(tmp_path, value):
    samples = _sine(RATE)
    samples[100] = value
    assert _refused(_write(tmp_path / "a.wav", samples, subtype="FLOAT")) == (
        "holds NaN or Inf samples"
    )


def test_decode_refuses_channels_whose_sum_is_not_a_number(tmp_path):
    samples = np.full((100, 2), [np.inf, -np.inf])
    assert _refused(_write(tmp_path / "a.wav", samples, subtype="FLOAT")) == (
        "holds NaN or Inf samples"
    )


@pytest.mark.parametrize("rate", [RATE, 44100])
def test_decode_refuses_silence(tmp_path, rate):
    assert _refused(_write(tmp_path / "a.wav", np.zeros(rate), rate)) == "is silent"
    # One step of 16 bits is sound, a third of one is not.
    assert _refused(_write(tmp_path / "b.wav", np.full(rate, 1e-5), rate, "FLOAT")) == "is silent"
    assert _decode(_write(tmp_path / "c.wav", np.full(rate, 1 / 32768), rate))[1] == ""


def test_decode_reads_a_short_file(tmp_path):
    waveform, note = _decode(_write(tmp_path / "a.wav", _sine(RATE, seconds=0.5)))
    assert (len(waveform), note) == (RATE // 2, "")


@pytest.mark.parametrize(("suffix", "subtype", "rate"), FORMATS)
@pytest.mark.parametrize("share", [0.35, 0.7])
def test_decode_reads_what_is_left_of_a_truncated_file_and_says_so(
    tmp_path, suffix, subtype, rate, share
):
    # Noise, since a codec packs a sine into so few pages that a cut takes all of them.
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, 10 * rate)
    whole = tmp_path / f"whole.{suffix}"
    _write(whole, samples, rate, subtype)
    content = whole.read_bytes()
    path = tmp_path / f"cut.{suffix}"
    path.write_bytes(content[: int(len(content) * share)])
    if suffix == "caf":  # libsndfile refuses it.
        assert _refused(path).startswith("cannot be decoded (")
        return
    waveform, note = _decode(path, sample_rate=rate)
    seconds = len(waveform) / rate
    assert 10 * share - 2.5 < seconds < 10 * share + 0.5
    assert note == f"truncated or damaged: only {seconds:.2f} s of it can be read"
    expected, _ = _decode(whole, sample_rate=rate)
    kept = len(waveform) - RATE // 10
    np.testing.assert_allclose(waveform[:kept], expected[:kept], atol=1e-4)


def test_decode_tells_of_a_truncated_file_what_it_holds_and_not_what_was_asked_for(tmp_path):
    path = tmp_path / "a.wav"
    _write(path, _sine(RATE, seconds=3))
    path.write_bytes(path.read_bytes()[: 44 + 2 * RATE * 2])
    waveform, note = _decode(path, max_samples=100)
    assert len(waveform) == 100
    assert note == "truncated or damaged: only 2.00 s of it can be read"


@pytest.mark.parametrize(
    ("subtype", "suffix"), [("PCM_16", "flac"), ("VORBIS", "ogg"), ("MPEG_LAYER_III", "mp3")]
)
def test_decode_says_so_when_the_middle_of_a_file_is_damaged(tmp_path, subtype, suffix):
    path = tmp_path / f"a.{suffix}"
    _write(path, np.random.default_rng(0).uniform(-0.5, 0.5, 10 * RATE), RATE, subtype)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 3000] = bytes(3000)
    path.write_bytes(content)
    _, note = _decode(path)
    assert note.startswith("truncated or damaged: only ")


def _wav_header(*, channels=1, rate=RATE, claimed=4000):
    align = min(channels * 2, 65535)
    return (
        b"RIFF"
        + struct.pack("<I", min(claimed + 36, 2**32 - 1))
        + b"WAVEfmt "
        + struct.pack("<IHHIIHH", 16, 1, channels, rate, min(rate * align, 2**32 - 1), align, 16)
        + b"data"
        + struct.pack("<I", claimed)
    )


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ({"channels": 60000}, "cannot be decoded (Too many channels specified)"),
        ({"channels": 0}, "cannot be decoded (Channel count is zero)"),
        ({"rate": 1}, "cannot be decoded (sample rate of 1 Hz)"),
        ({"rate": 2**31 - 1}, "cannot be decoded (sample rate of 2147483647 Hz)"),
    ],
)
def test_decode_refuses_a_header_that_makes_no_sense(tmp_path, header, reason):
    path = tmp_path / "a.wav"
    path.write_bytes(_wav_header(**header) + bytes(range(1, 201)) * 20)
    assert _refused(path) == reason


def test_decode_believes_the_file_and_not_the_length_in_its_header(tmp_path):
    path = tmp_path / "a.wav"
    path.write_bytes(_wav_header(claimed=2**32 - 1) + bytes(range(1, 201)) * 20)
    waveform, note = _decode(path)
    assert len(waveform) == 2000
    assert note.startswith("truncated or damaged")


def test_decode_refuses_what_is_not_a_regular_file(tmp_path):
    assert _refused(tmp_path) == "is not a file"
    assert _refused(tmp_path / "none.wav") == "cannot be decoded (No such file or directory)"
    assert _refused(tmp_path / ("x" * 300)) == "cannot be decoded (File name too long)"
    loop = tmp_path / "loop.wav"
    loop.symlink_to(loop)
    assert _refused(loop).startswith("cannot be decoded (Too many levels of symbolic links")


def test_decode_does_not_wait_for_a_pipe(tmp_path):
    path = tmp_path / "pipe.wav"
    os.mkfifo(path)
    reasons = []
    # A thread that ends with the process: if it hangs, the test fails and does not.
    thread = threading.Thread(target=lambda: reasons.append(_refused(path)), daemon=True)
    thread.start()
    thread.join(timeout=10)
    assert reasons == ["is not a file"]


@pytest.mark.parametrize("name", [b"a: b.wav", "ä 音.wav".encode(), b"\xff\xe9.wav", b"a\nb.wav"])
def test_decode_reads_any_name_of_a_file(tmp_path, name):
    path = os.path.join(os.fsencode(tmp_path), name)
    os.rename(_write(tmp_path / "a.wav", _sine(RATE)), path)
    assert len(_decode(os.fsdecode(path))[0]) == RATE
    with open(path, "wb") as file:
        file.write(b"text")
    assert _refused(os.fsdecode(path)) == "cannot be decoded (Format not recognised)"


def test_decode_refuses_raw_samples_that_have_no_rate(tmp_path):
    path = tmp_path / "a.raw"
    path.write_bytes(bytes(1000))
    assert _refused(path) == "cannot be decoded (samplerate must be specified)"


def test_fit_cuts_and_pads_at_the_end():
    waveform = np.arange(1, 5, dtype=np.int16)
    np.testing.assert_array_equal(audio.fit(waveform, 2), [1, 2])
    np.testing.assert_array_equal(audio.fit(waveform, 4), waveform)
    np.testing.assert_array_equal(audio.fit(waveform, 6), [1, 2, 3, 4, 0, 0])
    assert audio.fit(waveform, 6).dtype == np.int16


def test_decode_refuses_samples_that_no_recording_has(tmp_path):
    for peak, good in ((2.0**31, True), (1e20, False)):
        samples = np.linspace(-peak, peak, 1000)
        soundfile.write(tmp_path / "loud.wav", samples, 8000, subtype="FLOAT")
        if good:
            waveform, _ = audio.decode(str(tmp_path / "loud.wav"), sample_rate=8000)
            assert np.abs(waveform).max() == 2.0**31
        else:
            with pytest.raises(audio.AudioError, match=r"beyond \+-2\*\*31"):
                audio.decode(str(tmp_path / "loud.wav"), sample_rate=8000)


_FFMPEG = """#!{python}
import struct, sys
arguments = sys.argv[1:]
assert arguments[arguments.index("-f") + 1] == "mov" and "-protocol_whitelist" in arguments
path = arguments[arguments.index("-i") + 1].removeprefix("file:")
samples = open(path, "rb").read()[12:]
if not samples:
    sys.exit("[mov] moov atom not found")
sys.stdout.buffer.write(struct.pack(">4s5I", b".snd", 28, 2**32 - 1, 6, 16000, 2) + bytes(4))
sys.stdout.buffer.write(samples)
sys.exit({code})
"""


def _stereo_m4a(folder, monkeypatch, code=0):
    """A file that a stand-in for ffmpeg reads, which writes what ffmpeg would; its samples."""
    (folder / "bin").mkdir()
    (folder / "bin" / "ffmpeg").write_text(_FFMPEG.format(python=sys.executable, code=code))
    (folder / "bin" / "ffmpeg").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder / "bin"))
    samples = (np.random.default_rng(0).normal(size=(50_000, 2)) * 0.1).astype(np.float32)
    (folder / "song.m4a").write_bytes(b"\0\0\0\x18ftypM4A " + samples.astype(">f4").tobytes())
    return samples


def test_decode_reads_m4a_through_ffmpeg(tmp_path, monkeypatch):
    samples = _stereo_m4a(tmp_path, monkeypatch)
    waveform, note = audio.decode(tmp_path / "song.m4a", sample_rate=16_000)
    np.testing.assert_array_equal(waveform, samples.mean(axis=1))
    assert not note
    waveform, _ = audio.decode(tmp_path / "song.m4a", sample_rate=16_000, max_samples=1000)
    np.testing.assert_array_equal(waveform, samples[:1000].mean(axis=1))


def test_decode_tells_when_ffmpeg_fails(tmp_path, monkeypatch):
    _stereo_m4a(tmp_path, monkeypatch, code=1)
    _, note = audio.decode(tmp_path / "song.m4a", sample_rate=16_000)
    assert note == "truncated or damaged: only 3.12 s of it can be read"
    (tmp_path / "song.m4a").write_bytes(b"\0\0\0\x18ftypM4A ")
    with pytest.raises(audio.AudioError, match=r"cannot be decoded .ffmpeg: moov atom not found"):
        audio.decode(tmp_path / "song.m4a", sample_rate=16_000)


def test_decode_says_that_ffmpeg_is_missing(tmp_path, monkeypatch):
    _stereo_m4a(tmp_path, monkeypatch)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(audio.AudioError, match=r"is MPEG-4 \(m4a\), which needs ffmpeg"):
        audio.decode(tmp_path / "song.m4a", sample_rate=16_000)


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
