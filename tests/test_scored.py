"""Systems with the audio that they are scored on."""

import copy
import dataclasses
import types
from typing import Any, cast

import numpy as np
import pytest
import soundfile

from mgr_jax import config as config_lib
from mgr_jax import hearing, runs, scored
from mgr_jax.errors import UserError
from mgr_jax.features import array_spectrogram
from tests import scored_tones

NAMES = ("rock/rock.00000.wav", "rock/mine.wav", "pop/pop.00001.wav", "pop/other.wav")


@dataclasses.dataclass
class Fake:
    """A predictor of arrays that says `pop` to everything."""

    labels: tuple = ("jazz", "pop", "rock")
    batch_size: int = 2

    @property
    def config(self):
        config = config_lib.Config()
        config.data.name = "arrays"
        return config

    def score_audio(self, batch):
        assert batch["waveform"].shape[1] == array_spectrogram.NUM_SAMPLES
        return hearing.Scores(np.log(np.tile([0.1, 0.7, 0.2], (len(batch["waveform"]), 1))))


@pytest.fixture
def songs(tmp_path):
    rng = np.random.default_rng(0)
    for name in NAMES:
        path = tmp_path / "songs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, rng.normal(size=2205).astype(np.float32) / 9, 22050)
    return tmp_path / "songs"


def open_gtzan(songs, tmp_path, trained_on=(), part="test", **data):
    values = {"name": "folder", "root": str(songs), "cache": str(tmp_path / "cache")} | data
    return scored.open_gtzan(Fake(), trained_on, config_lib.Data(**values), part, tmp_path / "run")


def test_open_run_has_the_data_of_the_overrides(tmp_path, monkeypatch):
    made = scored_tones.make(tmp_path)
    monkeypatch.setattr(runs, "open_part", lambda *_: made.dataset)
    config = copy.deepcopy(made.run.config)
    config.data.name, config.data.root = "manifest", "elsewhere.csv"
    model = types.SimpleNamespace(
        run=made.run, config=made.run.config, score_tracks=made.score, step=0
    )
    opened = scored.open_run(cast(Any, model), "test", config)
    assert opened.run.config.data.root == "elsewhere.csv"  # Of which `--subset` reads columns.


@pytest.mark.e2e
def test_open_gtzan_leaves_out_what_the_model_knows_by_name(songs, tmp_path, capsys):
    opened = open_gtzan(songs, tmp_path, ("rock.00000", "rock.00001"))
    assert [track.label for track in opened.tracks] == ["pop", "pop", "rock"]
    assert opened.classes().tolist() == [1, 1, 2]
    left, unknown = opened.notes
    assert left.startswith("1 track left out, by the names") and "rock.00000" in left
    assert "trained on 2 tracks of GTZAN" in unknown and "is not known" in unknown
    assert "4 of 4 tracks of 30 s, 2 classes" in capsys.readouterr().out
    scores = opened.score(opened.dataset.parts["test"])
    assert scores.shape == (3, 3) and (scores.argmax(axis=1) == 1).all()
    report = runs.write_report(
        "title", opened.run, opened.dataset, "test", scores, checkpoint_step=0
    )
    assert (report["n"], report["num_correct"], report["protocol"]) == (3, 2, "imported")
    assert not report["missing"]


@pytest.mark.e2e
def test_open_gtzan_refuses_in_one_line(songs, tmp_path):
    known = ("rock.00000", "mine", "pop.00001", "other")
    with pytest.raises(UserError, match="was trained on all of its tracks"):
        open_gtzan(songs, tmp_path, known)
    (songs / "pop").rename(songs / "polka")
    with pytest.raises(UserError, match="class 'polka' is unknown to the model, which knows jazz"):
        open_gtzan(songs, tmp_path)


@pytest.mark.e2e
def test_open_gtzan_takes_a_part_where_there_are_parts(songs, tmp_path):
    manifest = songs / "m.csv"
    rows = [
        f"{name},{name.split('/')[0]},{'test' if i < 3 else 'train'}"
        for i, name in enumerate(NAMES)
    ]
    manifest.write_text("path,label,split\n" + "\n".join(rows))
    opened = open_gtzan(manifest, tmp_path, name="manifest")
    assert len(opened.tracks) == 3
    with pytest.raises(UserError, match="no track of part 'valid'; set --split to one"):
        open_gtzan(manifest, tmp_path, name="manifest", part="valid")


def test_open_run_has_the_score_of_the_predictor(tmp_path, monkeypatch):
    own = scored_tones.make(tmp_path)
    monkeypatch.setattr(runs, "open_part", lambda run, part, config: own.dataset)
    model = dataclasses.make_dataclass("Model", ["config", "run", "score_tracks", "step"])(
        own.run.config, own.run, scored_tones.brightness, 7
    )
    opened = scored.open_run(model, "test", own.run.config)
    assert (opened.step, opened.notes, opened.score) == (7, (), scored_tones.brightness)
    assert opened.classes().tolist() == [0, 1] * 12
