"""Artist and recording of a file, from its tags (ID3, Vorbis comments, MP4, ASF, RIFF, APE)."""

import os
import pathlib
import re
import unicodedata
from typing import NamedTuple

import tinytag

# Guests do not make another artist: "Dr. Dre feat. Snoop Dogg", "Queen; David Bowie"; but there is
# a band "Little Feat".
_GUESTS = re.compile(r"\s*(?:;|\0|[\s(\[](?:feat|ft|featuring)\b\.?+\s*\S).*", re.DOTALL)
# The form by which lists are sorted: "Beatles, The".
_ARTICLE = re.compile(r"(.+), (the|les?|la|los|die|der|das)$")
# A remaster is the same recording; a live version is another one.
_REMASTER = re.compile(r"\s*[-(\[]\s*(?:\d{4}\s+)?(?:digital(?:ly)?\s+)?remaster.*", re.DOTALL)
# What programs write where nobody knows, in whole words: "Nova" is an artist.
_NOBODY = re.compile(
    r"(?:[\W_]|(?<![^\W_])(?:unknown|no|various|artist[aes]?s?|interpr[eè]te?s?|v[./]?a|n/a|none"
    r"|verschiedene|diverse?r?|unbekannt(?:er?)?|inconnue?|varios|vari|desconocido|desconhecido"
    r"|sconosciuto)(?![^\W_]))*"
)
_NO_TITLE = re.compile(
    r"(?:\W|\d|unknown|untitled|no|title|titel|titre|track|audio|spur|piste|pista|n/a|none)*"
)


class Names(NamedTuple):
    """The artist and the recording of a file; each is "" where its tags do not tell."""

    artist: str
    recording: str


def read(path: pathlib.Path) -> Names:
    """Return what the tags of an audio file say; a file without readable tags has none.

    The main artist alone counts, or that of the album where none is given. Files of one artist and
    title, whatever their case, spaces and form of Unicode, are one recording, remasters too.
    """
    tag = open_tags(path, duration=False)
    if tag is None:
        return Names("", "")
    artist = _artist(tag.artist) or _artist(tag.albumartist)
    title = _REMASTER.sub("", _fold(tag.title))
    known = artist and not _NO_TITLE.fullmatch(title)
    return Names(artist, f"{artist}: {title}" if known else "")


def open_tags(path: str | os.PathLike, *, duration: bool = True) -> tinytag.TinyTag | None:
    """Return the tags of an audio file and its properties; None if they cannot be read."""
    if not os.path.isfile(path):  # A pipe would wait for a writer.
        return None
    try:
        return tinytag.TinyTag.get(path, duration=duration)
    except Exception:  # Damaged tags raise anything; the decoder reports a damaged file.
        return None


def _artist(text: str | None) -> str:
    name = _ARTICLE.sub(r"\2 \1", _GUESTS.sub("", _fold(text)))
    return "" if _NOBODY.fullmatch(name) else name


def _fold(text: str | None) -> str:
    return " ".join(unicodedata.normalize("NFKC", text or "").casefold().split())
