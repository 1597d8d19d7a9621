"""Answers to deformed music."""

import json

import numpy as np
import pytest

from mgr_jax import robustness
from mgr_jax.data.arrays import Arrays
from mgr_jax.errors import UserError
from mgr_jax.features import deform
from tests import scored_tones


def test_parse_gives_all_or_some_with_their_strengths():
    everything = robustness.parse("all", sample_rate=22050)
    assert [name for name, _ in everything[:3]] == ["crop"] * 3
    assert {name for name, _ in everything} == {*deform.DEFORMATIONS}
    assert robustness.parse("gain:-6:6, lowpass", sample_rate=8000) == [
        ("gain", -6.0), ("gain", 6.0), ("lowpass", 2000), ("lowpass", 1000)
    ]  # fmt: skip
    assert robustness.parse("noise:1,noise:1:2", sample_rate=8000) == [("noise", 1), ("noise", 2)]


@pytest.mark.parametrize(
    "text,message",
    [
        ("", "'' is unknown; give all, or"),
        ("echo", "'echo' is unknown"),
        ("gain:loud", "gain:loud: give a number other than 0"),
        ("gain:0", "gain:0: give a number other than 0"),
        ("noise:-1", "noise is -1 %; it must be 0 to 1000"),
        ("lowpass:9000", "lowpass is 9000 Hz; it must be 0 to 4000"),
        ("mp3:320", "mp3 is 320 kbit/s; at 8000 Hz it must be 8 to 64"),
    ],
)
def test_parse_names_what_is_wrong(text, message):
    with pytest.raises(UserError) as caught:
        robustness.parse(text, sample_rate=8000)
    assert message in str(caught.value) and str(caught.value).startswith("--deform: ")


def test_parse_leaves_out_mp3_where_libsndfile_lacks_it(monkeypatch):
    monkeypatch.setattr(robustness.soundfile, "available_formats", lambda: {"WAV": ""})
    assert "mp3" not in {name for name, _ in robustness.parse("all", sample_rate=22050)}
    with pytest.raises(UserError, match="--deform: mp3: libsndfile is too old for MP3"):
        robustness.parse("gain,mp3", sample_rate=22050)


def test_parse_leaves_out_what_has_no_strength_at_a_low_rate():
    with pytest.raises(UserError, match="--deform: lowpass: give a strength, such as lowpass:250"):
        robustness.parse("lowpass", sample_rate=1000)
    assert "lowpass" not in {name for name, _ in robustness.parse("all", sample_rate=1000)}


def test_parse_leaves_mp3_to_its_sample_rates():
    with pytest.raises(UserError, match="no sample rate of 10000 Hz"):
        robustness.parse("mp3", sample_rate=10000)
    names = {name for name, _ in robustness.parse("all", sample_rate=10000)}
    assert names == {*deform.IN_JAX}


@pytest.mark.e2e
def test_evaluate_shows_that_brightness_needs_the_treble(tmp_path):
    scored = scored_tones.make(tmp_path, artists=24)
    strengths = robustness.parse("lowpass:1000,gain:-20,mp3:16", sample_rate=scored_tones.RATE)
    report = robustness.evaluate(scored, strengths, folder=tmp_path / "deform")
    assert report["clean"]["accuracy"] == 1
    lowpass, gain, mp3 = report["rows"]
    assert lowpass["per_class"]["high"] == {"n": 12, "num_correct": 0}
    assert lowpass["accuracy"] == 0.5 and lowpass["distinguishable"]
    assert {flip["id"] for flip in lowpass["flips"]} == {f"t{i:02d}" for i in range(0, 24, 2)}
    assert (gain["accuracy"], mp3["accuracy"], gain["p"]) == (1, 1, 1)
    assert "lowpass 1000 Hz 50.0 % (-50.0 points" in report.text
    assert json.loads((tmp_path / "deform" / "report.json").read_text())["rows"] == report["rows"]
    for name in ("report.md", "report.html", "accuracy.png"):
        assert (tmp_path / "deform" / name).stat().st_size > 500


@pytest.mark.e2e
def test_evaluate_goes_on_where_it_was_killed(tmp_path):
    counts = []

    def counted(part):
        counts.append(len(part.ids))
        return scored_tones.brightness(part)

    scored = scored_tones.make(tmp_path, score=counted)
    run = [("noise", 30.0), ("shift", 0.1)]
    first = robustness.evaluate(scored, run[:1], folder=tmp_path / "deform")
    assert counts == [24, 12, 12]
    rows = tmp_path / "deform" / "rows.jsonl"
    rows.write_text(rows.read_text() + '\n{"fingerprint": "cut o')
    again = robustness.evaluate(scored, run, folder=tmp_path / "deform")
    assert counts == [24, 12, 12, 24, 12, 12]
    assert again["rows"][0]["flips"] == first["rows"][0]["flips"]
    robustness.evaluate(scored, run, folder=tmp_path / "deform", seed=1)
    assert len(counts) == 11  # Draws of another seed are other rows.


def test_deformed_clips_depend_on_seed_and_name_and_keep_their_padding(tmp_path):
    scored = scored_tones.make(tmp_path, count=4)
    part, store = scored.dataset.parts["test"], scored.dataset.clips
    change = robustness._changer("noise", 30.0, scored_tones.RATE, 0)
    both = robustness._deformed(part, np.array([1, 2]), change)
    alone = robustness._deformed(part, np.array([2]), change)
    np.testing.assert_array_equal(both.clips.waveform(1), alone.clips.waveform(0))
    length = store.records[2].length
    assert both.clips.records[1].length == length < scored_tones.RATE
    assert not both.clips.waveform(1)[length:].any()
    added = both.clips.waveform(1)[:length] - store.waveform(2)[:length]
    assert np.std(added) / np.std(store.waveform(2)[:length]) == pytest.approx(0.3, rel=0.05)
    other = robustness._deformed(
        part, np.array([2]), robustness._changer("noise", 30.0, scored_tones.RATE, 1)
    )
    assert np.abs(other.clips.waveform(0) - alone.clips.waveform(0)).max() > 0.01


def test_crop_of_a_short_clip_cuts_its_music_away_and_not_repetitions(tmp_path):
    length = 3000
    waveform = np.resize(np.arange(1.0, length + 1, dtype=np.float32), 8000)
    change = robustness._changer("crop", 50.0, scored_tones.RATE, 0)
    assert len({*change(waveform, "a song", length)[:length]}) == length / 2
    assert len({*change(waveform, "a song", 8000)}) >= length  # 4000 samples are left.


def test_rows_of_a_damaged_file_are_made_again(tmp_path):
    good = {"fingerprint": "f", "deformation": "gain", "strength": 1.0, "predicted": [0, 1]}
    lines = [good, good | {"strength": 2.0, "predicted": [0]}, good | {"predicted": [0, 7]}]
    lines += [good | {"strength": 3.0, "predicted": [0, 10**30]}, good | {"fingerprint": "g"}]
    text = "\n".join(map(json.dumps, lines)).encode()
    (tmp_path / "rows.jsonl").write_bytes(text + b'\n{"fingerprint": "\xff')
    rows = robustness._Rows(tmp_path, "f", (2, 3))
    assert rows.get("gain", 1.0).tolist() == [0, 1]
    assert rows.get("gain", 2.0) is None and rows.get("gain", 3.0) is None


def test_arrays_and_scores_without_numbers_are_refused(tmp_path):
    scored = scored_tones.make(tmp_path, score=lambda part: np.full((len(part.ids), 2), np.nan))
    with pytest.raises(UserError, match="gives no numbers for some tracks"):
        robustness.evaluate(scored, [("gain", 1.0)])
    arrays = Arrays(np.zeros((1, 2, 2)), (), 1.0)
    own = scored.dataset.__class__(scored.dataset.catalog, arrays, scored.run.split, {})
    with pytest.raises(UserError, match=r"--deform: data\.root of tones holds no audio"):
        robustness.evaluate(scored._replace(dataset=own), [("gain", 1.0)])
