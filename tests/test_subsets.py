"""Groups of tracks by what is known of them."""

import dataclasses

import numpy as np
import pytest

from mgr_jax import subsets
from mgr_jax.errors import UserError
from tests import scored_tones


def test_parse_groups_by_artist_length_level_and_format(tmp_path):
    scored = scored_tones.make(tmp_path, levels=(0.5, 0.05))
    columns = subsets.parse("artist, Length,level,format,label", scored)
    assert columns["artist"][:3] == ["a0", "a1", "a2"]
    assert columns["length"][:3] == ["1.0", "0.9875", "0.975"]
    assert {name.split()[-1] for name in columns["level"]} == {"dB"}
    loud = set(columns["level"][::2])
    assert loud.isdisjoint(columns["level"][1::2]) and "-9.0" in str(sorted(loud))
    assert columns["format"][:4] == [".mp3", ".wav", ".wav", ".mp3"]
    assert columns["label"][:2] == ["high", "low"]


def test_parse_reads_columns_of_the_manifest_and_tags(tmp_path):
    scored = scored_tones.make(tmp_path)
    path = tmp_path / "m.csv"
    rows = "\n".join(
        f"{t.path},{t.id},{'vinyl' if i % 2 else ''}" for i, t in enumerate(scored.tracks)
    )
    path.write_text(f"path,id,source\n{rows}\n")
    scored.run.config.data.name, scored.run.config.data.root = "manifest", str(path)
    columns = subsets.parse("source,bitrate", scored)
    assert columns["source"][:2] == ["unknown", "vinyl"]
    assert set(columns["bitrate"]) == {"unknown"}  # There are no files.
    with pytest.raises(
        UserError, match=r"'colour' is unknown; give some of artist, .*, source, album"
    ):
        subsets.parse("colour", scored)
    with pytest.raises(UserError, match="--subset is empty"):
        subsets.parse(" ,", scored)


def test_binned_cuts_numbers_into_four_groups_of_equal_counts():
    names = subsets.binned([float(i) for i in range(40)] + [float("nan"), ""], unit="s")
    assert names[0] == "0 to 9 s" and names[39] == "30 to 39 s"
    assert [names.count(name) for name in sorted(set(names))] == [10, 10, 10, 10, 2]
    assert names[-2:] == ["unknown", "unknown"]
    assert subsets.binned(["1990", "1991", "live"]) == ["1990", "1991", "live"]
    assert subsets.binned([1.0] * 5) == ["1.0"] * 5
    assert subsets.binned([0.049977324263, -13.429770880679]) == ["0.04998", "-13.43"]


def test_binned_gives_groups_of_close_numbers_names_of_their_own():
    names = subsets.binned([30.0 + i / 1e6 for i in range(40)], unit="s")
    assert len(set(names)) == 4 and names[0] == "30 to 30.000009 s"
    assert {*subsets.binned(list(range(100000, 100008)))} == {
        f"{i} to {i + 1}" for i in range(100000, 100008, 2)
    }
    assert len({*subsets.binned([0.0] * 50 + [1.0, 2.0, 3.0, 4.0, 5.0])}) == 2


def test_names_that_look_like_numbers_stay_apart(tmp_path):
    scored = scored_tones.make(tmp_path)
    tracks = tuple(
        dataclasses.replace(t, artist=str(100 + i), label=str(i % 7))
        for i, t in enumerate(scored.dataset.catalog.tracks)
    )
    catalog = dataclasses.replace(scored.dataset.catalog, tracks=tracks)
    scored = scored._replace(dataset=dataclasses.replace(scored.dataset, catalog=catalog))
    columns = subsets.parse("artist,label", scored)
    assert len(set(columns["artist"])) == 24 and set(columns["label"]) == {*"0123456"}


def test_evaluate_refuses_scores_without_numbers(tmp_path):
    scored = scored_tones.make(tmp_path, score=lambda part: np.full((len(part.ids), 2), np.nan))
    with pytest.raises(UserError, match="--subset: the model gives no numbers for some tracks"):
        subsets.evaluate(scored, subsets.parse("label", scored))


def test_evaluate_lists_the_worst_group_first(tmp_path):
    scored = scored_tones.make(tmp_path, count=48, artists=16)

    def deaf_to_mp3(part):
        scores = scored_tones.brightness(part)
        formats = np.array(["mp3" in track.path for track in scored.tracks])
        return np.where(formats[:, None], scores[:, ::-1], scores)

    scored = scored._replace(score=deaf_to_mp3)
    report = subsets.evaluate(
        scored, subsets.parse("format,length,artist", scored), folder=tmp_path / "subsets"
    )
    worst = report["rows"][0]
    assert (worst["column"], worst["accuracy"], worst["distinguishable"]) == ("format", 0, True)
    assert "worst first: format .mp3 0.0 % (n = 16" in report.text
    for name in ("report.json", "report.md", "report.html", "accuracy.png"):
        assert (tmp_path / "subsets" / name).stat().st_size > 500


def test_evaluate_of_one_group_says_so(tmp_path):
    scored = scored_tones.make(tmp_path)
    tracks = tuple(dataclasses.replace(t, path="x.wav") for t in scored.dataset.catalog.tracks)
    catalog = dataclasses.replace(scored.dataset.catalog, tracks=tracks)
    scored = scored._replace(dataset=dataclasses.replace(scored.dataset, catalog=catalog))
    report = subsets.evaluate(scored, subsets.parse("format", scored))
    assert not report["rows"] and "There is nothing to compare" in report.text
    assert report.path is None and "the same for all tracks: format (" in report.text
