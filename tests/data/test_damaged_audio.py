"""Decoding of damaged, odd and foreign files: what is read, and the reason where nothing is."""

import os
import resource
import struct
import sys
import threading

import numpy as np
import pytest
import soundfile

from mgr_jax.data import audio, ffmpeg
from tests.data.audio_files import FORMATS, RATE, decode, refusal, sine, write


def test_decode_refuses_a_file_without_samples(tmp_path):
    assert refusal(write(tmp_path / "a.wav", np.zeros(0))) == "has no samples"


@pytest.mark.parametrize("content", [b"", b"This is not audio.\n" * 50, b"RIFF", b"\0" * 5000])
def test_decode_refuses_what_is_not_audio(tmp_path, content):
    path = tmp_path / "a.wav"
    path.write_bytes(content)
    assert refusal(path).startswith("cannot be decoded (")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_decode_refuses_values_that_are_not_finite(tmp_path, value):
    samples = sine(RATE)
    samples[100] = value
    assert refusal(write(tmp_path / "a.wav", samples, subtype="FLOAT")) == (
        "holds NaN or Inf samples"
    )


def test_decode_refuses_channels_whose_sum_is_not_a_number(tmp_path):
    samples = np.full((100, 2), [np.inf, -np.inf])
    assert refusal(write(tmp_path / "a.wav", samples, subtype="FLOAT")) == (
        "holds NaN or Inf samples"
    )


@pytest.mark.parametrize("rate", [RATE, 44100])
def test_decode_refuses_silence(tmp_path, rate):
    assert refusal(write(tmp_path / "a.wav", np.zeros(rate), rate)) == "is silent"
    # One step of 16 bits is sound, a third of one is not.
    assert refusal(write(tmp_path / "b.wav", np.full(rate, 1e-5), rate, "FLOAT")) == "is silent"
    assert decode(write(tmp_path / "c.wav", np.full(rate, 1 / 32768), rate))[1] == ""


@pytest.mark.parametrize(("suffix", "subtype", "rate"), FORMATS)
@pytest.mark.parametrize("share", [0.35, 0.7])
def test_decode_reads_the_rest_of_a_truncated_file_with_a_note(
    tmp_path, suffix, subtype, rate, share
):
    # Noise, since a codec packs a sine into so few pages that a cut takes all of them.
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, 10 * rate)
    whole = tmp_path / f"whole.{suffix}"
    write(whole, samples, rate, subtype)
    content = whole.read_bytes()
    path = tmp_path / f"cut.{suffix}"
    path.write_bytes(content[: int(len(content) * share)])
    if suffix == "caf":  # libsndfile refuses it.
        assert refusal(path).startswith("cannot be decoded (")
        return
    waveform, note = decode(path, sample_rate=rate)
    seconds = len(waveform) / rate
    assert 10 * share - 2.5 < seconds < 10 * share + 0.5
    assert note == f"truncated or damaged: only {seconds:.2f} s of it can be read"
    expected, _ = decode(whole, sample_rate=rate)
    kept = len(waveform) - RATE // 10
    np.testing.assert_allclose(waveform[:kept], expected[:kept], atol=1e-4)


def test_decode_notes_the_length_of_a_truncated_file_and_not_max_samples(tmp_path):
    path = tmp_path / "a.wav"
    write(path, sine(RATE, seconds=3))
    path.write_bytes(path.read_bytes()[: 44 + 2 * RATE * 2])
    waveform, note = decode(path, max_samples=100)
    assert len(waveform) == 100
    assert note == "truncated or damaged: only 2.00 s of it can be read"


@pytest.mark.parametrize(
    ("subtype", "suffix"), [("PCM_16", "flac"), ("VORBIS", "ogg"), ("MPEG_LAYER_III", "mp3")]
)
def test_decode_notes_damage_in_the_middle_of_a_file(tmp_path, subtype, suffix):
    path = tmp_path / f"a.{suffix}"
    write(path, np.random.default_rng(0).uniform(-0.5, 0.5, 10 * RATE), RATE, subtype)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 3000] = bytes(3000)
    path.write_bytes(content)
    _, note = decode(path)
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
    assert refusal(path) == reason


@pytest.mark.parametrize("claimed", [4002, 2**30, 2**31 + 2**20, 2**32 - 2**20])
def test_decode_uses_the_samples_and_not_the_length_in_the_header(tmp_path, claimed):
    path = tmp_path / "a.wav"
    path.write_bytes(_wav_header(claimed=claimed) + bytes(range(1, 201)) * 20)
    waveform, note = decode(path)
    assert len(waveform) == 2000
    assert note.startswith("truncated or damaged")


def test_decode_refuses_what_is_not_a_regular_file(tmp_path):
    assert refusal(tmp_path) == "is not a file"
    assert refusal(tmp_path / "none.wav") == "cannot be decoded (No such file or directory)"
    assert refusal(tmp_path / ("x" * 300)) == "cannot be decoded (File name too long)"
    loop = tmp_path / "loop.wav"
    loop.symlink_to(loop)
    assert refusal(loop).startswith("cannot be decoded (Too many levels of symbolic links")


def test_decode_does_not_wait_for_a_pipe(tmp_path):
    path = tmp_path / "pipe.wav"
    os.mkfifo(path)
    reasons = []
    # A daemon thread: if it hangs, the test fails instead of hanging.
    thread = threading.Thread(target=lambda: reasons.append(refusal(path)), daemon=True)
    thread.start()
    thread.join(timeout=10)
    assert reasons == ["is not a file"]


@pytest.mark.parametrize("name", [b"a: b.wav", "ä 音.wav".encode(), b"\xff\xe9.wav", b"a\nb.wav"])
def test_decode_reads_any_name_of_a_file(tmp_path, name):
    path = os.path.join(os.fsencode(tmp_path), name)
    os.rename(write(tmp_path / "a.wav", sine(RATE)), path)
    assert len(decode(os.fsdecode(path))[0]) == RATE
    with open(path, "wb") as file:
        file.write(b"text")
    assert refusal(os.fsdecode(path)) == "cannot be decoded (Format not recognised)"


def test_decode_refuses_raw_samples_that_have_no_rate(tmp_path):
    path = tmp_path / "a.raw"
    path.write_bytes(bytes(1000))
    assert refusal(path) == "cannot be decoded (samplerate must be specified)"


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
    """Write a file for a stub of ffmpeg, which writes what ffmpeg would; return its samples."""
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


def test_decode_notes_a_failure_of_ffmpeg(tmp_path, monkeypatch):
    _stereo_m4a(tmp_path, monkeypatch, code=1)
    _, note = audio.decode(tmp_path / "song.m4a", sample_rate=16_000)
    assert note == "truncated or damaged: only 3.12 s of it can be read"
    (tmp_path / "song.m4a").write_bytes(b"\0\0\0\x18ftypM4A ")
    with pytest.raises(audio.AudioError, match=r"cannot be decoded .ffmpeg: moov atom not found"):
        audio.decode(tmp_path / "song.m4a", sample_rate=16_000)


def test_ffmpeg_has_a_cpu_limit_of_its_own(tmp_path, monkeypatch):
    _stereo_m4a(tmp_path, monkeypatch)
    source = ffmpeg.Source(os.fsencode(tmp_path / "song.m4a"), "mov")
    limits = resource.prlimit(source._process.pid, resource.RLIMIT_CPU)
    source.close()
    assert limits[0] == ffmpeg._CPU_SECONDS


@pytest.mark.slow
@pytest.mark.parametrize("begins", [True, False])
def test_decode_says_that_ffmpeg_has_reached_its_limit(tmp_path, monkeypatch, begins):
    _stereo_m4a(tmp_path, monkeypatch)
    stub = tmp_path / "bin" / "ffmpeg"
    ready = "samples = samples[:800]\n" if begins else "while True: pass\n"
    code = stub.read_text().replace("if not samples", f"{ready}if not samples")
    stub.write_text(code.replace("sys.exit(0)", "sys.stdout.flush()\nwhile True: pass"))
    monkeypatch.setattr(ffmpeg, "_CPU_SECONDS", 1)
    with pytest.raises(audio.AudioError, match="takes too long to decode: its time limit is over"):
        audio.decode(tmp_path / "song.m4a", sample_rate=16_000)


def test_decode_refuses_m4a_without_ffmpeg(tmp_path, monkeypatch):
    _stereo_m4a(tmp_path, monkeypatch)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(audio.AudioError, match=r"is MPEG-4 \(m4a\), which needs ffmpeg"):
        audio.decode(tmp_path / "song.m4a", sample_rate=16_000)
