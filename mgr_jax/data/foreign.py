"""Streams that libsndfile does not read and ffmpeg does: names, and bytes that they promise."""

import re
import struct
from collections.abc import Callable

from mgr_jax.data import mpeg
from mgr_jax.data.byte_ranges import Read, Stream, find_bytes, number

# What libsndfile does not read: first bytes, their position, our name of the format, ffmpeg's name.
_FORMATS = (
    (b"ftyp", 4, "MPEG-4 (m4a)", "mov"),
    (b"moov", 4, "QuickTime", "mov"),
    (b"mdat", 4, "QuickTime", "mov"),
    (b"wide", 4, "QuickTime", "mov"),
    (b"free", 4, "QuickTime", "mov"),
    (b"\x1aE\xdf\xa3", 0, "Matroska or WebM", "matroska"),
    (b"0&\xb2u\x8ef\xcf\x11", 0, "Windows Media (wma)", "asf"),
    (b"\xff\xf1", 0, "AAC", "aac"),
    (b"\xff\xf9", 0, "AAC", "aac"),
    (b"ADIF", 0, "AAC (ADIF)", "aac"),
    (b"\x0bw", 0, "AC-3", "ac3"),
    (b"\x7f\xfe\x80\x01", 0, "DTS", "dts"),
    (b"\xf8ro\xba", 4, "TrueHD", "truehd"),
    (b"\xf8ro\xbb", 4, "MLP", "mlp"),
    (b"#!AMR", 0, "AMR", "amr"),
    (b"MAC ", 0, "Monkey's Audio", "ape"),
    (b"wvpk", 0, "WavPack", "wv"),
    (b"TTA1", 0, "True Audio", "tta"),
    (b"tBaK", 0, "TAK", "tak"),
    (b"MPCK", 0, "Musepack", "mpc8"),
    (b"MP+", 0, "Musepack", "mpc"),
    (b"DSD ", 0, "DSD (dsf)", "dsf"),
    (b"FRM8", 0, "DSD (dff)", "iff"),
    (b"ajkg", 0, "Shorten", "shn"),
    (b".SoX", 0, "SoX", "sox"),
    (b"XoS.", 0, "SoX", "sox"),
    (b".RMF", 0, "RealMedia", "rm"),
    (b"FLV\x01", 0, "Flash video", "flv"),
    (b"nut/multimedia", 0, "NUT", "nut"),
    (b"\0\0\x01\xba", 0, "MPEG video", "mpeg"),
    (b"AVI ", 8, "AVI", "avi"),
)
# Where another file of the format begins, if ffmpeg decodes one of them alone: WavPack's first
# block has the number 0 and the mark of the first of its channels.
_FIRST = b"[" + b"".join(b"\\x%02x" % n for n in range(256) if n & 8) + b"]"
_AGAIN_PATTERNS = {
    "mov": rb"\0\0\0[\x10-\x40]ftyp[\w ]{4}",
    "matroska": rb"\x1aE\xdf\xa3[\x01-\xff]",
    "asf": rb"0&\xb2u\x8ef\xcf\x11\xa6\xd9\x00\xaa",
    "flv": rb"FLV\x01[\x01-\x05]\0\0\0\x09",
    "tta": rb"TTA1[\x01-\x03]\0[\x01-\x08]\0",
    "wv": rb"wvpk(?s:.{4}).\x04(?s:.{6})\0{4}(?s:.{5})" + _FIRST,
}
_AGAIN = {name: re.compile(pattern) for name, pattern in _AGAIN_PATTERNS.items()}
_CODECS = {
    "mov": re.compile(rb"stsd\0{7}.\0\0(?s:..)(\w[\w -]{3})"),
    "matroska": re.compile(rb"\x86.(A_[A-Z0-9_/]+?)(?=V[\xaa\xbb]|[^A-Z0-9_/])"),
}
# Bytes at either end of a file in which the name of its codec is looked for.
_HEADERS = 1 << 20
_NAMES = {"mp4a": "AAC", "alac": "ALAC", "ac-3": "AC-3", "samr": "AMR"}


# Far more than any file has, so that a hostile one cannot take long.
_MOST_CHUNKS, _MOST_FRAMES = 1 << 12, 1 << 20
# Frames a second of the codec that has the most, and bytes behind a frame in which others may be.
_FRAMES_A_SECOND, _REACH = 1500, 1 << 16
# Bytes behind the last box that are passed over.
_MAX_TAG = 1 << 12
_AC3_RATES = (*range(32, 64, 8), *range(64, 128, 16), *range(128, 256, 32), *range(256, 641, 64))
_AMR_SIZES = (13, 14, 16, 18, 20, 21, 27, 32, 6)
_AMR_WB_SIZES = (18, 24, 33, 37, 41, 47, 51, 59, 61, 6)


def names(read: Read, start: int, *, least: int = 1) -> tuple[str, str] | None:
    """Return our name and ffmpeg's of the format that begins at `start`, or None.

    Its mark must have the `least` number of bytes.
    """
    head = read(start, 16)
    for mark, place, *both in _FORMATS:
        if head[place:].startswith(mark) and len(mark) >= least:
            return both[0], both[1]
    if least > 1:
        return None
    if head[:1] == b"V" and head[1:2] >= b"\xe0":
        return "AAC (LOAS)", "loas"
    if head[:1] == read(start + 188, 1) == read(start + 376, 1) == b"G":
        return "MPEG transport stream", "mpegts"
    return None


def streams(
    read: Read, start: int, size: int, seconds: float, container: str, demuxer: str
) -> tuple[Stream, int]:
    """Return the stream of a file for ffmpeg, and where the next one begins."""
    following = size
    if demuxer in _AGAIN:
        following = find_bytes(read, _AGAIN[demuxer], start + 1, size)
    headers = read(start, _HEADERS) + read(max(start, following - _HEADERS), _HEADERS)
    codec = _CODECS[demuxer].search(headers) if demuxer in _CODECS else None
    name = codec[1].decode().strip().removeprefix("A_") if codec else ""
    has_audio = demuxer != "mov" or b"moov" not in headers or b"soun" in headers
    return (
        Stream(
            container,
            codec=_NAMES.get(name, name),
            demuxer=demuxer,
            content=((start, following),),
            has_audio=has_audio,
            is_damaged=_is_damaged(read, demuxer, start, following, seconds),
        ),
        following,
    )


def _is_damaged(read: Read, demuxer: str, start: int, stop: int, seconds: float) -> bool:
    """Return whether bytes that the headers of a stream promise are missing."""
    if demuxer in _FRAME_SIZES:
        start += 13 if demuxer == "flv" else 0
        return _lacks_frames(read, _FRAME_SIZES[demuxer], start, stop, seconds)
    if demuxer == "amr":
        is_wide = read(start, 9) == b"#!AMR-WB\n"
        sizes, start = (_AMR_WB_SIZES, start + 9) if is_wide else (_AMR_SIZES, start + 6)
        return _lacks_frames(
            read,
            lambda head: dict(enumerate(sizes)).get(head[0] >> 3 & 15, 1),
            start,
            stop,
            seconds,
        )
    if demuxer == "mpegts":
        rest = (stop - start) % 188
        return rest > 0 and read(stop - rest, 1) == b"G"
    if demuxer == "matroska":
        return _end_of_matroska(read, start, stop, seconds) > stop
    return demuxer in _ENDS and _ENDS[demuxer](read, start, stop) > stop


def _lacks_frames(
    read: Read, size_of: Callable[[bytes], int], start: int, stop: int, seconds: float
) -> bool:
    """Return whether the last frame is cut, or there are bytes between frames that are none."""
    position = start
    for _ in range(int(min(_MOST_FRAMES, seconds * _FRAMES_A_SECOND))):
        head = read(position, 24)
        size = mpeg.tag_size(head) or (size_of(head) if len(head) >= 8 else 0)
        if position + size >= stop:
            return position + size > stop
        if size:
            position += size
            continue
        # What follows the last frame is no damage, but a frame behind it tells that it was not.
        rest = read(position, min(_REACH, stop - position))
        for place in range(1, len(rest) - 8):
            size = size_of(rest[place : place + 16])
            following = size and size_of(rest[place + size : place + size + 16].ljust(16, b"\0"))
            if size and following:
                return True
        break
    return False


def _adts(head: bytes) -> int:
    if head[0] != 0xFF or head[1] & 0xF6 != 0xF0:
        return 0
    size = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
    return size if size >= 7 else 0


def _loas(head: bytes) -> int:
    return (number(">H", head[1:3]) & 0x1FFF) + 3 if number(">H", head) >> 5 == 0x2B7 else 0


def _ac3(head: bytes) -> int:
    if head[:2] != b"\x0bw":
        return 0
    if head[5] >> 3 > 10:  # E-AC-3.
        return 2 * (number(">H", head[2:4]) & 0x7FF) + 2
    rate, code = head[4] >> 6, head[4] & 63
    if rate == 3 or code >= 2 * len(_AC3_RATES):
        return 0
    bits = _AC3_RATES[code // 2]
    return (4 * bits, 2 * (bits * 320 // 147 + code % 2), 6 * bits)[rate]


def _dts(head: bytes) -> int:
    if head[:4] == b"\x7f\xfe\x80\x01":
        return (int.from_bytes(head[5:8], "big") >> 4 & 0x3FFF) + 1
    return 0


def _mlp(head: bytes) -> int:
    return 2 * (number(">H", head) & 0xFFF)


def _flv(head: bytes) -> int:
    """Return the size of a tag, which is behind it, too."""
    return int.from_bytes(head[1:4], "big") + 15 if head[0] in (8, 9, 18) else 0


def _wavpack(head: bytes) -> int:
    return number("<I", head[4:8]) + 8 if head[:4] == b"wvpk" else 0


_FRAME_SIZES = {
    "aac": _adts,
    "flv": _flv,
    "loas": _loas,
    "ac3": _ac3,
    "dts": _dts,
    "mlp": _mlp,
    "truehd": _mlp,
    "wv": _wavpack,
}


def _end_of_boxes(read: Read, start: int, stop: int) -> int:
    """Return where the boxes of MPEG-4 end that have sound or its index."""
    position = start
    for _ in range(_MOST_CHUNKS):
        head = read(position, 16)
        size = number(">I", head)
        size = number(">Q", head[8:]) if size == 1 else size
        if size < 8:  # The last box may have no size.
            return stop + (head[4:8] != b"mdat" and _has_rest(read, position, stop))
        if position + size > stop:
            return position + size if head[4:8] in (b"mdat", b"moov", b"moof") else stop
        position += size
    return stop


def _end_of_avi(read: Read, start: int, stop: int) -> int:
    """Return where the list of the pictures and sounds of an AVI file ends."""
    position = start
    for _ in range(_MOST_CHUNKS):
        head = read(position, 12)
        size = number("<I", head[4:])
        if head[:4] == b"RIFF":
            position += 12
            continue
        if len(head) < 12 or size >= 0x7FFF0000:
            break
        if head[:4] == b"LIST" and head[8:] == b"movi" and position + 8 + size > stop:
            return position + 8 + size
        position += 8 + size + size % 2
    return stop


def _end_of_matroska(read: Read, start: int, stop: int, seconds: float) -> int:
    """Return where the last element ends, or a position behind `stop` if there is a hole."""
    position = start
    for _ in range(int(min(_MOST_FRAMES, seconds * _FRAMES_A_SECOND))):
        head = read(position, 24)
        if position >= stop or len(head) < 12 or mpeg.tag_size(head):
            break
        name = head[: 9 - head[0].bit_length()]
        length = 9 - head[len(name)].bit_length() if len(name) < 5 else 9
        if length > 8:
            return stop + _has_rest(read, position, stop)
        size = int.from_bytes(head[len(name) : len(name) + length], "big") & (1 << 7 * length) - 1
        position += len(name) + length
        is_known = size != (1 << 7 * length) - 1
        if is_known and position + size > stop:
            return position + size
        # Segments and clusters are entered, whose sizes may not be known.
        if is_known and name not in (b"\x18S\x80g", b"\x1fC\xb6u"):
            position += size
    return stop


def _has_rest(read: Read, position: int, stop: int) -> bool:
    """Return whether more than padding or a tag is between two positions."""
    rest = read(position, min(stop - position, _REACH))
    return len(rest) > _MAX_TAG and bool(rest.strip(b"\0"))


def _end_of_program(read: Read, start: int, stop: int) -> int:
    """Return where the last packet of an MPEG program stream ends."""
    tail = read(max(start, stop - _REACH), _REACH)[: stop - start]
    position = tail.rfind(b"\0\0\1\xba")
    head = tail[position : position + 14]
    if position < 0 or len(head) < 14:
        return stop
    position += 14 + (head[13] & 7) if head[4] >> 6 == 1 else 12
    while (
        tail[position : position + 3] == b"\0\0\1" and tail[position + 3 : position + 4] > b"\xb9"
    ):
        position += 6 + number(">H", tail[position + 4 : position + 6])
    return stop - len(tail) + position


def _end_of_asf(read: Read, start: int, stop: int) -> int:
    """Return where the packets end, unless the file says that it is a broadcast."""
    header = read(start, min(number("<Q", read(start + 16, 8)), _HEADERS))
    facts = header.find(bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365"))
    if facts < 0 or number("<I", header[facts + 88 :]) & 1:
        return stop
    data = start + number("<Q", header[16:])
    return data + number("<Q", read(data + 16, 8))


def _end_of_realmedia(read: Read, start: int, stop: int) -> int:
    """Return where the last chunk ends, or a bit before, since ffmpeg counts 10 bytes twice."""
    position = start
    for _ in range(_MOST_CHUNKS):
        head = read(position, 8)
        size = number(">I", head[4:])
        if size < 10 or not head[:4].strip(b".").isalpha():
            break
        position += size
    return position - 16


def _end_of_sox(read: Read, start: int, stop: int) -> int:
    """Return where the samples of 4 bytes end."""
    order = "<" if read(start, 1) == b"." else ">"
    size, count = struct.unpack(order + "IQ", read(start + 4, 12).ljust(12, b"\0"))
    return start + 4 + size + 4 * count


_ENDS: dict[str, Callable[[Read, int, int], int]] = {
    "mov": _end_of_boxes,
    "avi": _end_of_avi,
    "mpeg": _end_of_program,
    "asf": _end_of_asf,
    "rm": _end_of_realmedia,
    "sox": _end_of_sox,
    "dsf": lambda read, start, _: start + number("<Q", read(start + 12, 8)),
    "iff": lambda read, start, _: start + 12 + number(">Q", read(start + 4, 8)),
}
