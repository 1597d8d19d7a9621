"""Ballroom (Gouyon et al. 2006) and Extended Ballroom (Marchand & Peeters 2016): dance music.

The BBNN paper reports on both. Neither comes with a split.
"""

import pathlib
import xml.etree.ElementTree as ElementTree

from mgr_jax.data.catalog import Track
from mgr_jax.errors import UserError

# The three folders of rumba are one class, as in the papers.
_RUMBA = "Rumba"
_EXTENDED_XML = "extendedballroom_v*.xml"


def read(root: pathlib.Path) -> tuple[list[Track], dict[str, int]]:
    """Read the 698 tracks of Ballroom in 8 classes: `root/<class>/*.wav`.

    Artists are not known, but albums are, from the file name (`Albums-AnaBelen_Veneo-01.wav`,
    `Media-105901.wav`: album 1059). The album takes the place of the artist, so that no album is in
    two parts.

    Raises:
      UserError: if there is no such file.
    """
    tracks, num_hidden = [], 0
    for path in sorted(root.glob("*/*.wav")):
        if path.name.startswith("."):
            num_hidden += 1
            continue
        folder = path.parent.name
        label = _RUMBA if folder.startswith(_RUMBA) else folder
        artist = f"album {_album(path.stem)}"
        tracks.append(Track(f"{folder}/{path.stem}", str(path), label, artist))
    if not tracks:
        raise UserError(f"data.root {root}: no <class>/*.wav in it; give the folder BallroomData")
    return tracks, {"hidden file (._*, .DS_Store, ...)": num_hidden} if num_hidden else {}


def read_extended(root: pathlib.Path) -> tuple[list[Track], dict[str, int]]:
    """Read the 4180 tracks of Extended Ballroom in 13 classes: `root/<class>/<id>.mp3`, and an XML.

    The XML (`extendedballroom_v1.1.xml`) has artist and title; tracks that share both are one
    recording.

    Raises:
      UserError: if the XML is missing or damaged, or lists no track.
    """
    tables = sorted(root.glob(_EXTENDED_XML))
    if not tables:
        raise UserError(f"data.root {root}: no {_EXTENDED_XML} in it; put it beside the folders")
    try:
        tree = ElementTree.parse(tables[-1]).getroot()
    except (OSError, ElementTree.ParseError) as error:
        raise UserError(f"{tables[-1]}: cannot be read ({error}); restore it") from error
    tracks = []
    for genre in tree:
        for song in genre:
            name = song.get("id", "")
            if not name or "/" in name or "/" in genre.tag:
                raise UserError(f"{tables[-1]}: a song of {genre.tag} has no id; restore the file")
            artist, title = (_plain(song.get(field, "")) for field in ("artist", "title"))
            recording = f"{artist}: {title}" if artist and title else ""
            path = root / genre.tag / f"{name}.mp3"
            tracks.append(Track(f"{genre.tag}/{name}", str(path), genre.tag, artist, recording))
    if not tracks:
        raise UserError(f"{tables[-1]}: lists no song; restore the file")
    return tracks, {}


def _album(stem: str) -> str:
    """`Albums-Cafe_Paradiso-01` -> `Cafe_Paradiso`; `Media-105901` -> `1059`."""
    kind, _, rest = stem.partition("-")
    return rest.rpartition("-")[0] or rest if kind == "Albums" else rest[:-2]


def _plain(text: str) -> str:
    return " ".join(text.split()).casefold()
