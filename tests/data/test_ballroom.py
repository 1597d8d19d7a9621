"""Ballroom and Extended Ballroom, from tiny trees of their layouts."""

import pytest

from mgr_jax import config as config_lib
from mgr_jax.data import sources, splits
from mgr_jax.errors import UserError

XML = """<?xml version="1.0"?>
<ExtendedBallroomDatabase>
  <Chacha>
    <song id="100701" title="Some  Song" artist="The Band" hash="x"/>
    <song id="100702" title="some song" artist="THE BAND" hash="y"/>
    <song id="100703" title="" artist="" hash="z"/>
  </Chacha>
  <Wcswing><song id="100801" title="T" artist="A" hash="w"/></Wcswing>
</ExtendedBallroomDatabase>
"""


def _catalog(name, root):
    return sources.make_catalog(config_lib.Data(name=name, root=str(root)))


def test_ballroom_joins_rumba_and_reads_albums_from_file_names(tmp_path):
    for name in (
        "Rumba-American/Media-105901.wav",
        "Rumba-Misc/Albums-Cafe_Paradiso-01.wav",
        "Jive/Albums-Cafe_Paradiso-13.wav",
        "Jive/Media-105902.wav",
        "Jive/._Media-105902.wav",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "allBallroomFiles").touch()
    catalog = _catalog("ballroom", tmp_path)
    assert [(t.id, t.label, t.artist) for t in catalog.tracks] == [
        ("Jive/Albums-Cafe_Paradiso-13", "Jive", "album Cafe_Paradiso"),
        ("Jive/Media-105902", "Jive", "album 1059"),
        ("Rumba-American/Media-105901", "Rumba", "album 1059"),
        ("Rumba-Misc/Albums-Cafe_Paradiso-01", "Rumba", "album Cafe_Paradiso"),
    ]
    assert catalog.skipped == (("hidden file (._*, .DS_Store, ...)", 1),)


def test_extended_ballroom_takes_artists_and_recordings_from_the_xml(tmp_path):
    (tmp_path / "extendedballroom_v1.1.xml").write_text(XML)
    catalog = _catalog("extended_ballroom", tmp_path)
    first, second, unknown, other = catalog.tracks
    assert catalog.labels == ("Chacha", "Wcswing")
    assert first.path == str(tmp_path / "Chacha" / "100701.mp3")
    assert first.artist == second.artist == "the band"
    assert first.recording == second.recording == "the band: some song"
    assert (unknown.artist, unknown.recording) == ("", "")
    assert other.label == "Wcswing"
    with pytest.raises(UserError, match="use 'holdout'"):
        splits.make_split(catalog, protocol="listed")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (XML[:80], "restore"),
        ("<ExtendedBallroomDatabase/>", "no song"),
        (XML.replace('id="100701"', 'id="../x"'), "Chacha"),
        (XML.replace('id="100701" ', ""), "Chacha"),
    ],
)
def test_extended_ballroom_damaged_xml_is_one_line(tmp_path, text, named):
    (tmp_path / "extendedballroom_v1.1.xml").write_text(text)
    with pytest.raises(UserError, match=named) as caught:
        _catalog("extended_ballroom", tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["ballroom", "extended_ballroom"])
def test_ballroom_refuses_an_empty_folder(tmp_path, name):
    with pytest.raises(UserError, match=r"data\.root"):
        _catalog(name, tmp_path)
