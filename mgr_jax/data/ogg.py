"""Streams in Ogg files, which may be chained and mixed."""

import re
import zlib

from mgr_jax.data import chunks, mpeg
from mgr_jax.data.byte_ranges import Read, Stream, find_bytes, number

_OGG = re.compile(rb"OggS\x00")
# First bytes of the first packet: our name of the codec, empty for those that libsndfile reads.
_OGG_CODECS = {
    b"\x01vorbis": "",
    b"OpusHead": "",
    b"\x7fFLAC": "FLAC",
    b"Speex   ": "Speex",
    b"\x80theora": "Theora",
    b"\x01video": "video",
    b"CELT    ": "CELT",
    b"PCM     ": "PCM",
}
# Bytes with their bits in reverse.
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
_FOREIGN = ("Speex", "CELT", "PCM")


def streams(read: Read, start: int, size: int, seconds: float) -> tuple[Stream, int]:
    """Return the next link of a chain: the first stream of audio in it, without the others."""
    position, chosen, codec, names = start, b"", "", []
    payload = 0  # First byte of the payload that counts; FLAC is a file of its own in there.
    pieces: list[tuple[int, int]] = []
    first_granule = 0
    last, rate, has_data, is_damaged, is_over, has_ended = -1, 1, False, False, False, False
    while position < size and not is_over:
        head = read(position, 27 + 255)
        if head[:4] != b"OggS" or len(head) < 28:
            if has_ended and (chunks.begins(read, position) or mpeg.is_frame(read, position, size)):
                break
            following = find_bytes(read, _OGG, position + 1, size)
            if following < size and not has_ended:
                is_damaged = True
            position = following
            continue
        count = head[26]
        begin = position + 27 + count
        end = begin + sum(head[27 : 27 + count])
        flags, granule, serial = head[5], number("<q", head[6:14]), head[14:18]
        if end > size:
            is_damaged = is_damaged or not has_ended
            position = size
            break
        if flags & 2:
            if has_data:
                break  # The next link of the chain.
            first = read(begin, 16)
            name = next((n for mark, n in _OGG_CODECS.items() if first.startswith(mark)), None)
            names += [name] if name else []
            is_ours = name in ("", "FLAC")
            if (is_ours and (not chosen or codec in _FOREIGN)) or (name in _FOREIGN and not chosen):
                chosen, codec, pieces, last = serial, name, [], -1
                rate = number("<I", read(begin + 12, 4)) if first[:1] == b"\x01" else 48000
                payload = 9 if name == "FLAC" else 0
        has_data = has_data or not flags & 2
        if serial == chosen:
            sequence = number("<I", head[18:22])
            is_damaged = is_damaged or (last >= 0 and sequence != (last + 1) % (1 << 32))
            last = sequence
            if not codec:  # libogg leaves out a page with a wrong one.
                is_damaged = is_damaged or not _has_right_checksum(read(position, end - position))
            piece = (begin + payload, end) if codec == "FLAC" else (position, end)
            payload = 0
            if pieces and pieces[-1][1] == piece[0]:
                piece = pieces.pop()[0], piece[1]
            pieces.append(piece)
            has_ended = bool(flags & 4)
            first_granule = first_granule or max(0, granule)
            is_over = not codec and (granule - first_granule) / max(1, rate) > seconds
        position = end
    if not chosen:
        name = next(iter(names), "")
        return Stream("Ogg", name, "ogg" if name else "", content=((start, size),)), size
    is_damaged = is_damaged or not (has_ended or is_over)
    if codec in _FOREIGN:
        return Stream("Ogg", codec, "ogg", ((start, size),), is_damaged=is_damaged), size
    return (
        Stream(
            f"Ogg {codec}".strip(), content=tuple(pieces), is_damaged=is_damaged, is_exact=not codec
        ),
        position,
    )


def _has_right_checksum(page: bytes) -> bool:
    # The checksum of zlib, with the bits of all bytes in reverse and other first and last values.
    data = (page[:22] + bytes(4) + page[26:]).translate(_REVERSED)
    value = zlib.crc32(data, 0xFFFFFFFF) ^ 0xFFFFFFFF
    return value.to_bytes(4, "big").translate(_REVERSED) == page[22:26]
