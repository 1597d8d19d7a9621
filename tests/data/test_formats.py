"""All pairs of container and codec of libsndfile, and the usual ones of ffmpeg: all is heard."""

import importlib.util
import os
import shutil
import subprocess

import numpy as np
import pytest
import soundfile

from tests.data.audio_files import RATE, decode, refusal, sine

_SLOW_CODECS = ("GSM", "NMS", "G72", "VOX")  # Of telephones, at 8 kHz.
PAIRS = [
    (container, subtype, channels)
    for container in soundfile.available_formats()
    for subtype in soundfile.available_subtypes(container)
    for channels in (1, 2)
    if container != "RAW"
]
# Suffix, encoder, further settings; seconds that the format adds or leaves out.
CODECS = [
    ("m4a", "aac", ""),
    ("m4a", "alac", ""),
    ("mp4", "flac", "-strict -2"),
    ("3gp", "aac", ""),
    ("mov", "aac", ""),
    ("mov", "pcm_s16le", ""),
    ("mov", "adpcm_ima_qt", ""),
    ("aac", "aac", ""),
    ("latm", "aac", ""),
    ("ac3", "ac3", ""),
    ("eac3", "eac3", ""),
    ("dts", "dca", "-strict -2"),
    ("thd", "truehd", "-strict -2"),
    ("mlp", "mlp", "-strict -2"),
    ("mp2", "mp2", ""),
    ("mp3", "libmp3lame", ""),
    ("mp3", "libmp3lame", "-q:a 4"),
    ("mp3", "libmp3lame", "-q:a 4 -write_xing 0"),
    ("webm", "libopus", ""),
    ("mka", "aac", ""),
    ("mkv", "libvorbis", ""),
    ("mkv", "flac", ""),
    ("ogg", "libvorbis", ""),
    ("ogg", "libopus", ""),
    ("ogg", "flac", ""),
    ("oga", "flac", ""),
    ("spx", "libspeex", "-ar 16000 -ac 1"),
    ("flac", "flac", ""),
    ("wma", "wmav1", ""),
    ("wma", "wmav2", ""),
    ("wv", "wavpack", ""),
    ("tta", "tta", ""),
    ("amr", "libopencore_amrnb", "-ar 8000 -ac 1"),
    ("caf", "alac", ""),
    ("caf", "adpcm_ima_qt", ""),
    ("w64", "pcm_s16le", ""),
    ("flv", "aac", ""),
    ("avi", "libmp3lame", ""),
    ("ts", "aac", ""),
    ("vob", "ac3", ""),
    ("rm", "ac3", ""),
    ("nut", "aac", ""),
    ("sox", "pcm_s32le", ""),
    ("au", "adpcm_g722", "-ar 16000 -ac 1"),
    ("aiff", "pcm_s24be", ""),
    ("aiff", "adpcm_ima_qt", ""),
    ("wav", "pcm_u8", ""),
    ("wav", "pcm_s24le", ""),
    ("wav", "pcm_s32le", ""),
    ("wav", "pcm_f64le", ""),
    ("wav", "pcm_alaw", ""),
    ("wav", "adpcm_ms", ""),
    ("wav", "adpcm_ima_wav", ""),
    ("wav", "adpcm_yamaha", ""),
    ("wav", "g722", "-ar 16000 -ac 1"),
    ("wav", "mp2", ""),
    ("wav", "libmp3lame", ""),
    ("wav", "wmav2", ""),
    ("wav", "ac3", ""),
    ("wav", "flac", ""),
    ("wav", "pcm_s16le", "-rf64 always"),
]
# These states no length, or one that ffmpeg does not trust.
_NO_PROMISE = [
    "aac",
    "ac3",
    "amr",
    "avi",
    "dts",
    "eac3",
    "latm",
    "mlp",
    "mp2",
    "nut",
    "rm",
    "sox",
    "spx",
    "thd",
    "ts",
    "vob",
    "wma",
]
# Their decoders begin with silence, or leave it out.
_TOLERANCE = 0.08


@pytest.fixture(name="ffmpeg")
def _ffmpeg(tmp_path, monkeypatch):
    """Return a function that writes a file with ffmpeg, or None where it has not the encoder."""
    path = shutil.which("ffmpeg")
    if not path and importlib.util.find_spec("imageio_ffmpeg"):
        import imageio_ffmpeg

        (tmp_path / "bin").mkdir()
        (tmp_path / "bin" / "ffmpeg").symlink_to(imageio_ffmpeg.get_ffmpeg_exe())
        monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
        path = shutil.which("ffmpeg")
    if not path:
        pytest.skip("ffmpeg is not installed")
    stereo = np.stack([sine(44100, seconds=3), sine(44100, seconds=3, frequency=550)], axis=1)
    soundfile.write(tmp_path / "source.wav", stereo, 44100)

    def write(name, encoder, settings="", source="source.wav"):
        command = [path, "-v", "error", "-y", "-i", tmp_path / source, "-c:a", encoder]
        command += [*settings.split(), tmp_path / name]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True)
        return None if done.returncode else tmp_path / name

    return write


@pytest.mark.slow
@pytest.mark.parametrize(("container", "subtype", "channels"), PAIRS)
def test_decode_hears_all_of_every_pair_of_libsndfile(tmp_path, container, subtype, channels):
    is_slow = subtype.startswith(_SLOW_CODECS) or container == "WVE"
    rate = 24000 if subtype == "OPUS" else 8000 if is_slow else RATE
    samples = np.stack([sine(rate, seconds=2)] * channels, axis=1)
    try:
        soundfile.write(tmp_path / "a", samples, rate, format=container, subtype=subtype)
    except soundfile.LibsndfileError:
        pytest.skip("cannot be written")
    content = (tmp_path / "a").read_bytes()
    rate = 44100 if container == "XI" else rate  # It has no rate.
    waveform, note = decode(tmp_path / "a", sample_rate=rate)
    assert note == "" and abs(len(waveform) - len(samples)) <= 0.05 * rate
    (tmp_path / "a").write_bytes(content[: len(content) * 2 // 3])
    try:
        cut, _ = decode(tmp_path / "a", sample_rate=rate)
    except Exception as error:
        assert "\n" not in str(error)
    else:
        assert len(cut) <= len(waveform)


@pytest.mark.slow
@pytest.mark.parametrize(("suffix", "encoder", "settings"), CODECS)
def test_decode_hears_all_of_every_codec_of_ffmpeg(tmp_path, ffmpeg, suffix, encoder, settings):
    path = ffmpeg(f"a.{suffix}", encoder, settings)
    if path is None:
        pytest.skip("this ffmpeg has no such encoder")
    waveform, note = decode(path)
    assert note == "" and abs(len(waveform) / RATE - 3) < _TOLERANCE
    level = np.sqrt(np.mean(np.square(waveform[RATE:-RATE])))
    assert abs(level - 0.25) < (0.05 if suffix == "amr" else 0.02)
    content = path.read_bytes()
    path.with_name("b.wav").write_bytes(content * 2)  # The suffix says nothing.
    twice, note = decode(path.with_name("b.wav"))
    if suffix not in ("amr", "rm", "spx"):  # Their headers are heard as sound, or end it.
        assert note == "" and abs(len(twice) - 2 * len(waveform)) < _TOLERANCE * RATE
    path.write_bytes(content[: len(content) * 2 // 3])
    try:
        cut, note = decode(path)
    except Exception as error:  # The index of a MPEG-4 file is at its end.
        assert "\n" not in str(error)
        return
    assert 0.9 * RATE < len(cut) < 2.4 * RATE
    if suffix not in _NO_PROMISE and "xing" not in settings:
        assert note == f"truncated or damaged: only {len(cut) / RATE:.2f} s of it can be read"


@pytest.mark.e2e
def test_decode_hears_joined_m4a_and_refuses_a_film_without_sound(tmp_path, ffmpeg):
    (tmp_path / "two").write_bytes(ffmpeg("a.m4a", "aac").read_bytes() * 2)
    waveform, note = decode(tmp_path / "two")
    assert (round(len(waveform) / RATE, 1), note) == (6.0, "")
    film = ["-f", "lavfi", "-i", "color=size=32x32:duration=1", tmp_path / "film.mkv"]
    subprocess.run([shutil.which("ffmpeg"), "-v", "error", *film], check=True)
    assert refusal(tmp_path / "film.mkv") == "has no audio in it"


@pytest.mark.e2e
def test_decode_reads_no_other_file_through_a_playlist(tmp_path, ffmpeg):
    ffmpeg("a.ts", "aac")
    playlist = (
        f"#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:3,\n{tmp_path / 'a.ts'}\n#EXT-X-ENDLIST\n"
    )
    (tmp_path / "list.m4a").write_text(playlist)
    assert refusal(tmp_path / "list.m4a") == "cannot be decoded (Format not recognised)"
    (tmp_path / "list.wav").write_text(f"ffconcat version 1.0\nfile {tmp_path / 'a.ts'}\n")
    assert refusal(tmp_path / "list.wav") == "cannot be decoded (Format not recognised)"
