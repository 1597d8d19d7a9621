"""Files of several streams, or with headers that say too little: all is heard, damage is noted."""

import io
import struct
import time

import numpy as np
import pytest

from mgr_jax.data import audio, decoders, mpeg, streams
from tests.data.audio_files import RATE, decode, encode, refusal

# Container, subtype and rate.
CHAINED = [
    ("WAV", "PCM_16", RATE),
    ("WAVEX", "PCM_24", RATE),
    ("RF64", "PCM_16", RATE),
    ("W64", "PCM_16", RATE),
    ("AIFF", "PCM_16", RATE),
    ("AU", "PCM_16", RATE),
    ("CAF", "PCM_16", RATE),
    ("FLAC", "PCM_16", RATE),
    ("OGG", "VORBIS", RATE),
    ("OGG", "OPUS", 24000),
    ("MP3", "MPEG_LAYER_III", RATE),
]
ID3 = b"ID3\x04\0\0" + bytes([0, 0, 16, 10]) + bytes(2058)


def _noise(seconds, rate=RATE, seed=0):
    return np.random.default_rng(seed).uniform(-0.5, 0.5, round(seconds * rate))


def _heard(tmp_path, content, rate=RATE):
    """Return seconds and note of a file with this content."""
    (tmp_path / "a").write_bytes(content)
    waveform, note = decode(tmp_path / "a", sample_rate=rate)
    return len(waveform) / rate, note


def _decoded(tmp_path, content, rate=RATE):
    (tmp_path / "b").write_bytes(content)
    return decode(tmp_path / "b", sample_rate=rate)[0]


def _without_info(mp3):
    """Return an MP3 file without its first frame, which states the length."""
    return mp3[mpeg.parse(mp3[:4]).size :]


def _mp3(seconds, rate=RATE, *, mode="VARIABLE", seed=0):
    """Return an MP3 file that is louder at its end, so that its bit rate is, too."""
    samples = _noise(seconds, rate, seed) * np.linspace(0.01, 1, round(seconds * rate))
    return encode(samples, "MP3", "MPEG_LAYER_III", rate, bitrate_mode=mode)


@pytest.mark.parametrize(("container", "subtype", "rate"), CHAINED)
def test_decode_hears_files_that_were_joined(tmp_path, container, subtype, rate):
    files = [encode(_noise(s, rate, s), container, subtype, rate) for s in (2, 1)]
    (tmp_path / "a").write_bytes(files[0] + files[1])
    waveform, note = decode(tmp_path / "a", sample_rate=rate)
    assert note == ""
    expected = np.concatenate([_decoded(tmp_path, file, rate) for file in files])
    assert len(expected) == 3 * rate
    np.testing.assert_array_equal(waveform, expected)
    first, _ = decode(tmp_path / "a", sample_rate=rate, max_samples=100)
    np.testing.assert_array_equal(first, waveform[:100])


@pytest.mark.parametrize("container", ["WAV", "FLAC", "OGG", "MP3"])
def test_decode_hears_joined_files_of_other_rates_and_channels(tmp_path, container):
    subtype = {"OGG": "VORBIS", "MP3": "MPEG_LAYER_III"}.get(container, "PCM_16")
    stereo = np.stack([_noise(1, 44100)] * 2, axis=1)
    content = encode(_noise(1), container, subtype) + encode(stereo, container, subtype, 44100)
    assert _heard(tmp_path, content) == (2.0, "")


def test_decode_notes_a_second_file_that_is_cut(tmp_path):
    one, two = encode(_noise(1), "FLAC", "PCM_16"), encode(_noise(4), "FLAC", "PCM_16")
    seconds, note = _heard(tmp_path, one + two[: len(two) // 2])
    assert (
        2 < seconds < 4 and note == f"truncated or damaged: only {seconds:.2f} s of it can be read"
    )


@pytest.mark.parametrize("mode", ["CONSTANT", "VARIABLE"])
@pytest.mark.parametrize("rate", [22050, 44100])
def test_decode_hears_mp3_of_any_bit_rate_without_a_stated_length(tmp_path, rate, mode):
    whole = _mp3(2, rate, mode=mode)
    content = _without_info(whole)
    (tmp_path / "a").write_bytes(content)
    waveform, note = decode(tmp_path / "a", sample_rate=rate)
    assert note == "" and 2 * rate <= len(waveform) < 2 * rate + 4 * 1152
    # All frames, but for the delay of the decoder.
    assert (len(waveform) + 529) % 576 == 0
    # The first frame said how much of the rest is the encoder's own.
    expected = _decoded(tmp_path, whole, rate)
    shift = np.argmax(np.correlate(waveform[: rate // 2], expected[: rate // 4]))
    np.testing.assert_allclose(waveform[shift:][: len(expected)], expected, atol=1e-4)


def test_decode_hears_joined_mp3_without_a_stated_length(tmp_path):
    content = _without_info(_mp3(2)) + _without_info(_mp3(2, seed=1))
    seconds, note = _heard(tmp_path, content)
    assert 4 < seconds < 4.3 and note == ""


def test_decode_hears_mp3_whose_first_frame_states_too_little(tmp_path):
    content = bytearray(_mp3(4))
    mark = next(content.index(word) for word in (b"Xing", b"Info") if word in content[:100])
    content[mark + 8 : mark + 12] = struct.pack(">I", 20)
    seconds, note = _heard(tmp_path, bytes(content))
    assert 4 < seconds < 4.2 and note == ""


@pytest.mark.parametrize("hole", ["missing", "zeros", "junk", "extra"])
@pytest.mark.parametrize("stated", [True, False])
def test_decode_hears_mp3_behind_a_hole(tmp_path, hole, stated):
    content = _mp3(5, mode="CONSTANT")
    content = content if stated else _without_info(content)
    middle = len(content) // 2
    junk = np.random.default_rng(0).bytes(3000)
    inserted = {"missing": b"", "zeros": bytes(3000), "junk": junk, "extra": junk}[hole]
    rest = middle if hole == "extra" else middle + 3000
    seconds, note = _heard(tmp_path, content[:middle] + inserted + content[rest:])
    assert 3.9 < seconds < 5.2
    if hole == "missing" and not stated:
        return  # Nothing says that these frames were there.
    assert note == f"truncated or damaged: only {seconds:.2f} s of it can be read"


@pytest.mark.parametrize(("subtype", "rate"), [("VORBIS", RATE), ("OPUS", 24000)])
def test_decode_hears_ogg_behind_a_hole(tmp_path, subtype, rate):
    content = encode(_noise(6, rate), "OGG", subtype, rate)
    middle = len(content) // 2
    seconds, note = _heard(tmp_path, content[:middle] + content[middle + 3000 :], rate)
    assert 3 < seconds < 6
    assert note == f"truncated or damaged: only {seconds:.2f} s of it can be read"


def test_decode_notes_an_ogg_file_without_its_last_pages(tmp_path):
    content = encode(_noise(10), "OGG", "VORBIS")
    last = content.rindex(b"OggS")
    assert _heard(tmp_path, content[:last])[1].startswith("truncated or damaged: only ")


def test_decode_refuses_mp3_of_tags_and_no_frames(tmp_path):
    content = _mp3(1)
    info = content[: mpeg.parse(content[:4]).size]
    for rest in (info, b"", b"TAG" + bytes(125)):
        (tmp_path / "a").write_bytes(ID3 + rest)
        assert refusal(tmp_path / "a") == "has no samples"


@pytest.mark.parametrize(("container", "subtype", "rate"), CHAINED)
def test_decode_reads_behind_tags(tmp_path, container, subtype, rate):
    content = encode(_noise(1, rate), container, subtype, rate)
    assert _heard(tmp_path, ID3 + content + b"TAG" + bytes(125), rate) == (1.0, "")


def test_decode_reads_mp3_beside_its_metadata_of_macos(tmp_path):
    (tmp_path / "._a").write_bytes(bytes.fromhex("00051607 00020000") + bytes(4088))
    assert _heard(tmp_path, _mp3(1)) == (1.0, "")


def test_decode_reads_mp3_behind_anything(tmp_path):
    for junk in (bytes(3000), np.random.default_rng(0).bytes(3000)):
        assert _heard(tmp_path, junk + _mp3(2)) == (2.0, "")


def _chunked(container):
    """Return a file of two seconds, with position and form of the size of its samples."""
    content = bytearray(encode(_noise(2), container, "PCM_16"))
    name = b"SSND" if container == "AIFF" else b"data"
    place = content.index(name) + (16 if container == "W64" else 4)
    form = {"W64": "<Q", "CAF": ">Q", "AIFF": ">I"}.get(container, "<I")
    return content, place, form


@pytest.mark.parametrize("value", [0, -1, -37, 0x7FFFF000, 0x80000000])
def test_decode_reads_wav_whose_sizes_were_never_written(tmp_path, value):
    content, place, _ = _chunked("WAV")
    for outer in {0, 36, value}:
        struct.pack_into("<I", content, place, value % 2**32)
        struct.pack_into("<I", content, 4, outer % 2**32)
        if value == 0 and outer not in (0, 36):
            continue
        assert _heard(tmp_path, bytes(content)) == (2.0, "")


@pytest.mark.parametrize(("container", "value"), [
    ("AIFF", 0), ("AIFF", -1), ("W64", 0), ("W64", 24), ("W64", -1), ("CAF", 0), ("CAF", -1),
])  # fmt: skip
def test_decode_reads_other_containers_whose_sizes_were_never_written(tmp_path, container, value):
    content, place, form = _chunked(container)
    size = struct.calcsize(form)
    struct.pack_into(form, content, place, value % (1 << 8 * size))
    if container == "AIFF":
        struct.pack_into(">I", content, 4, value % 2**32)
        struct.pack_into(">I", content, content.index(b"COMM") + 10, 0)
    if container == "W64":
        struct.pack_into("<Q", content, 16, value % 2**64)
    assert _heard(tmp_path, bytes(content)) == (2.0, "")


def test_decode_reads_au_rf64_and_flac_whose_sizes_were_never_written(tmp_path):
    for value in (0, 2**32 - 1):
        content = bytearray(encode(_noise(2), "AU", "PCM_16"))
        struct.pack_into(">I", content, 8, value)
        assert _heard(tmp_path, bytes(content)) == (2.0, "")
    for value in (0, 2**64 - 1):
        content = bytearray(encode(_noise(2), "RF64", "PCM_16"))
        struct.pack_into("<QQQ", content, content.index(b"ds64") + 8, value, value, value)
        assert _heard(tmp_path, bytes(content)) == (2.0, "")
    content = bytearray(encode(_noise(2), "FLAC", "PCM_16"))
    content[21] &= 0xF0
    content[22:26] = bytes(4)
    assert _heard(tmp_path, bytes(content)) == (2.0, "")
    assert _heard(tmp_path, bytes(content) * 2) == (4.0, "")


def test_decode_says_nothing_of_damage_where_a_length_is_no_promise(tmp_path):
    for subtype, channels in (("MS_ADPCM", 1), ("IMA_ADPCM", 1), ("MS_ADPCM", 2), ("GSM610", 1)):
        samples = np.stack([_noise(3)] * channels, axis=1)
        seconds, note = _heard(tmp_path, encode(samples, "WAV", subtype))
        assert 3 <= seconds < 3.1 and note == ""


def test_decode_reads_an_empty_wav_before_another(tmp_path):
    empty = encode(np.zeros(0), "WAV", "PCM_16")
    assert _heard(tmp_path, empty + encode(_noise(1), "WAV", "PCM_16")) == (1.0, "")
    (tmp_path / "a").write_bytes(empty)
    assert refusal(tmp_path / "a") == "has no samples"


def _in_wav(tag, content):
    """Return a WAV file with samples of another codec."""
    form = struct.pack("<HHIIHH", tag, 1, RATE, 4000, 1, 0)
    chunks = b"fmt " + struct.pack("<I", len(form)) + form
    chunks += b"data" + struct.pack("<I", len(content)) + content
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks


def test_decode_reads_mpeg_audio_in_wav(tmp_path):
    content = _in_wav(0x55, _mp3(2))
    assert _heard(tmp_path, content) == (2.0, "")
    _, note = _heard(tmp_path, content[: len(content) // 2])
    assert note.startswith("truncated or damaged: only ")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (_in_wav(0x161, bytes(1000)), "is WAV with codec 0x0161"),
        (b"OggS\0\2" + bytes(20) + b"\1\x50Speex   " + bytes(72), "is Ogg with Speex"),
        (b"\0\0\0\x18ftypM4A " + bytes(90), "is MPEG-4 (m4a)"),
        (ID3 + b"\xff\xf1\x50\x80" + bytes(90), "is AAC"),
        (b"\x1aE\xdf\xa3" + bytes(40) + b"\x86\x86A_OPUS\x56\xaa", "is Matroska or WebM with OPUS"),
        (b"RIFF\0\0\0\0AVI LIST" + bytes(90), "is AVI"),
        (b".snd" + struct.pack(">IIIII", 24, 40, 99, RATE, 1) + bytes(40), "is AU with codec 99"),
        ((b"G" + bytes(187)) * 3, "is MPEG transport stream"),
    ],
)
def test_decode_names_container_and_codec_that_need_ffmpeg(tmp_path, monkeypatch, content, reason):
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "a.wav").write_bytes(content)
    assert refusal(tmp_path / "a.wav") == f"{reason}, which needs ffmpeg to read; install ffmpeg"


def test_decode_names_a_film_without_sound(tmp_path):
    (tmp_path / "a").write_bytes(b"\0\0\0\x18ftypisom" + bytes(12) + b"\0\0\0\x20moov" + bytes(24))
    assert refusal(tmp_path / "a") == "has no audio in it"


def _ogg_pages(packets):
    """Return the pages of an Ogg stream, a packet each."""
    for number, packet in enumerate(packets):
        flags = 2 * (number == 0) + 4 * (number == len(packets) - 1)
        lacing = [255] * (len(packet) // 255) + [len(packet) % 255]
        head = struct.pack("<4sBBqIIIB", b"OggS", 0, flags, number, 7, number, 0, len(lacing))
        yield head + bytes(lacing) + packet


def test_decode_reads_flac_in_ogg(tmp_path):
    samples = (_noise(2) * 2**15).astype(np.int16)
    flac = encode(samples, "FLAC", "PCM_16")
    rest = [flac[i : i + 5000] for i in range(42, len(flac), 5000)]
    ogg = b"".join(_ogg_pages([b"\x7fFLAC\1\0\0\1" + flac[:42], *rest]))
    (tmp_path / "a.oga").write_bytes(ogg)
    waveform, note = decode(tmp_path / "a.oga")
    np.testing.assert_array_equal(waveform * 2**15, samples)
    assert note == ""
    assert _heard(tmp_path, ogg + encode(_noise(1), "OGG", "VORBIS")) == (3.0, "")


def test_decode_reads_data_behind_an_empty_chunk_and_all_chunks_of_data(tmp_path):
    content, place, _ = _chunked("WAV")
    empty = bytes(content[: place - 4]) + b"data\0\0\0\0" + bytes(content[place - 4 :])
    assert _heard(tmp_path, empty) == (2.0, "")
    assert _heard(tmp_path, bytes(content) + bytes(content[place - 4 :])) == (4.0, "")


@pytest.mark.parametrize("container", ["WAV", "AU", "CAF", "RF64"])
def test_decode_notes_what_follows_the_samples_that_a_header_states(tmp_path, container):
    content = bytearray(encode(_noise(2), container, "PCM_16"))
    name, form = {"AU": (b".snd", ">I"), "CAF": (b"data", ">Q")}.get(container, (b"data", "<I"))
    place = content.index(name) + (8 if container == "AU" else 4)
    if container == "RF64":
        place, form = content.index(b"ds64") + 16, "<Q"
    struct.pack_into(form, content, place, 2 * RATE + 4 * (container == "CAF"))
    seconds, note = _heard(tmp_path, bytes(content))
    assert seconds == 1.0
    assert note == f"{2 * RATE} bytes behind its sound are of no known format: not heard"


def test_decode_hears_files_of_other_formats_that_were_joined(tmp_path):
    wav, mp3, flac = (
        encode(_noise(1), "WAV", "PCM_16"),
        _mp3(1),
        encode(_noise(1), "FLAC", "PCM_16"),
    )
    for content in (wav + mp3, mp3 + wav, wav + ID3 + mp3, flac + wav, wav + flac):
        assert _heard(tmp_path, content) == (2.0, "")


@pytest.mark.parametrize("size", [bytes([127] * 4), bytes([0, 0, 0, 10])])
@pytest.mark.parametrize(("container", "subtype", "rate"), CHAINED)
def test_decode_reads_behind_a_tag_that_states_a_wrong_size(
    tmp_path, container, subtype, rate, size
):
    content = b"ID3\x04\0\0" + size + bytes(500) + encode(_noise(1, rate), container, subtype, rate)
    assert _heard(tmp_path, content, rate) == (1.0, "")


def test_decode_notes_mp3_whose_last_frame_is_cut(tmp_path):
    content = _without_info(_mp3(2))
    seconds, note = _heard(tmp_path, content[:-20])
    assert note == f"truncated or damaged: only {seconds:.2f} s of it can be read"


def test_decode_notes_an_ogg_page_with_a_wrong_checksum(tmp_path):
    content = bytearray(encode(_noise(6), "OGG", "VORBIS"))
    content[-100] ^= 1
    seconds, note = _heard(tmp_path, bytes(content))
    assert note == f"truncated or damaged: only {seconds:.2f} s of it can be read"


class _Spy(io.BytesIO):
    """A file that keeps the last position that was read."""

    last = 0

    def seek(self, position, whence=0):
        self.last = max(self.last, position)
        return super().seek(position, whence)


def test_find_takes_all_of_wav_whose_size_has_lost_its_highest_bits(tmp_path):
    content = bytearray(encode(_noise(2), "WAV", "PCM_16"))
    size = len(content) + (1 << 32)
    with open(tmp_path / "a", "wb") as file:
        file.write(content)
        file.truncate(size)  # A hole of the file system.
    with open(tmp_path / "a", "rb") as file:
        (stream,) = streams.find(file, size)
    assert stream.content[-1] == (44, size) and not stream.is_damaged


def test_decode_takes_a_broadcast_for_whole_whose_samples_are_counted_from_its_beginning(tmp_path):
    content, position = bytearray(encode(_noise(2), "OGG", "VORBIS")), 0
    while (position := content.find(b"OggS", position)) >= 0:
        count = content[position + 26]
        size = 27 + count + sum(content[position + 27 : position + 27 + count])
        (granule,) = struct.unpack_from("<q", content, position + 6)
        if granule:
            struct.pack_into("<q", content, position + 6, granule + 1000 * RATE)
        content[position + 22 : position + 26] = bytes(4)
        checksum = _ogg_checksum(content[position : position + size])
        struct.pack_into("<I", content, position + 22, checksum)
        position += size
    seconds, note = _heard(tmp_path, bytes(content))
    assert abs(seconds - 2) < 0.1 and note == ""
    assert len(decode(tmp_path / "a", max_samples=3 * RATE // 2)[0]) == 3 * RATE // 2


def _ogg_checksum(page):
    value = 0
    for byte in page:
        value ^= byte << 24
        for _ in range(8):
            value = (value << 1 ^ 0x04C11DB7 * (value >> 31)) & 0xFFFFFFFF
    return value


def test_decode_of_a_huge_stated_length_takes_what_is_there(tmp_path):
    content = bytearray(encode(_noise(2), "FLAC", "PCM_16"))
    content[21] |= 0x0F
    content[22:26] = b"\xff" * 4
    began = time.monotonic()
    note = "truncated or damaged: only 2.00 s of it can be read"
    assert _heard(tmp_path, bytes(content)) == (2.0, note)
    assert time.monotonic() - began < 5


def test_find_ends_at_the_seconds_that_are_needed():
    for content in (_mp3(9) * 2, encode(_noise(9), "OGG", "VORBIS") * 2):
        file = _Spy(content)
        next(streams.find(file, len(content), 1.0))
        assert 0 < file.last < len(content) // 2


@pytest.mark.parametrize(
    "content", [b"\xff" * 300_000, b"\xff\xfb\x90\0" * 50_000, b"OggS" * 50_000]
)
def test_decode_gives_up_soon_on_what_looks_like_frames(tmp_path, content):
    (tmp_path / "a").write_bytes(content)
    assert refusal(tmp_path / "a")


def test_decode_refuses_many_channels_from_the_header(tmp_path):
    for channels, rate, container in ((255, RATE, "OGG"), (8, 384000, "FLAC")):
        subtype = "VORBIS" if container == "OGG" else "PCM_16"
        samples = np.full((1000, channels), 0.1)
        (tmp_path / "a").write_bytes(encode(samples, container, subtype, rate))
        reason = f"has {channels} channels at {rate} Hz, more than any recording"
        assert refusal(tmp_path / "a") == reason


@pytest.mark.slow
def test_decode_of_mutated_files_ends_in_a_waveform_or_one_line(tmp_path):
    generator = np.random.default_rng(0)
    sources = [encode(_noise(0.3, rate), name, sub, rate) * 2 for name, sub, rate in CHAINED]
    sources += [_without_info(_mp3(0.5)), _in_wav(0x55, _mp3(0.5)), ID3 + _mp3(0.5)]
    sources += [encode(_noise(0.3), "WAV", sub) for sub in ("MS_ADPCM", "IMA_ADPCM", "GSM610")]
    paths = []
    for number, source in enumerate(sources):
        for mutation in range(150):
            content = bytearray(source)
            for _ in range(generator.integers(1, 9)):
                # Half of the changes are in the header.
                place = generator.integers(min(len(content), 80) if mutation % 2 else len(content))
                size = int(generator.integers(1, 9))
                match generator.integers(4):
                    case 0:
                        content[place : place + size] = generator.bytes(size)
                    case 1:
                        content[place : place + size] = size * [int(generator.choice([0, 255]))]
                    case 2:
                        del content[place : place + 50 * size]
                    case 3:
                        content[place:place] = generator.bytes(size)
            paths.append(tmp_path / f"{number}-{mutation}")
            paths[-1].write_bytes(content)
    pool, errors, slowest = decoders.Decoders(2), 0, 0.0
    for _, blocks in pool.read(paths, sample_rate=RATE):
        began = time.monotonic()
        try:
            assert all(np.isfinite(block).all() for block in blocks)
        except audio.AudioError as error:
            errors += 1
            assert str(error) and "\n" not in str(error) and "crashed" not in str(error)
        slowest = max(slowest, time.monotonic() - began)
    pool.close()
    assert len(paths) > 2400 and 0 < errors < len(paths) and slowest < 20
