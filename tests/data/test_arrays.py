"""Array files: exact values, and one error for each kind of damage."""

import io
import warnings

import numpy as np
import pytest

from mgr_jax import config as config_lib
from mgr_jax.data import arrays, batches, dataset, gtzan
from mgr_jax.errors import UserError

NAMES = ["rock.00001", "rock.00002", "blues.00003", "blues.00004"]
CONTENT = {
    "spectrogram": np.random.default_rng(0).integers(256, size=(4, 30, 8)).astype(np.uint8),
    "label": np.array(["rock", "rock", "blues", "blues"]),
    "track_id": np.array(NAMES),
    "split": np.array(["train", "test", "train", "valid"]),
    "scale": np.float32(0.5),
    "offset": np.float32(-10.0),
}


def save(folder, name="arrays.npz", **changes):
    content = {k: v for k, v in (CONTENT | changes).items() if v is not None}
    with open(folder / name, "wb") as file:
        np.savez(file, **content)
    return str(folder / name)


def open_store(path, num_frames=30, num_bins=8):
    return arrays.open_arrays(path, num_frames=num_frames, num_bins=num_bins, sample_rate=16.5)


def test_open_arrays_scales_cuts_and_pads(tmp_path):
    store = open_store(save(tmp_path), num_frames=20)
    expected = CONTENT["spectrogram"][2, 12:20] * 0.5 - 10.0
    waveform = store.waveform(store.row["blues.00003"], 12, 10)
    np.testing.assert_allclose(waveform[:8], expected, rtol=1e-6)
    assert waveform.dtype == np.float32 and not waveform[8:].any()


def test_open_arrays_takes_floats_as_they_are(tmp_path):
    values = np.random.default_rng(1).normal(size=(4, 30, 8)).astype(np.float16)
    store = open_store(save(tmp_path, spectrogram=values, scale=None, offset=None))
    np.testing.assert_array_equal(store.waveform(1), values[1].astype(np.float32))


def test_open_arrays_skips_rows_that_are_not_finite(tmp_path):
    values = np.zeros((4, 30, 8), np.float32)
    values[1, 3, 2] = np.nan
    store = open_store(save(tmp_path, spectrogram=values))
    assert store.errors() == {"rock.00002": "has values that are not finite"}
    assert "rock.00002" not in store.row


def test_read_tracks_takes_artists_of_gtzan_that_the_file_lacks(tmp_path):
    (one, *_) = arrays.read_tracks(save(tmp_path))
    fact = gtzan.facts()["rock.00001"]
    assert (one.artist, one.recording, one.part) == (fact.artist, fact.recording, "train")
    own = np.array(["a", "b", "c", "d"])
    (one, *_) = arrays.read_tracks(save(tmp_path, artist=own))
    assert (one.artist, one.recording) == ("a", fact.recording)
    (one, *_) = arrays.read_tracks(save(tmp_path, track_id=np.array(["1", "2", "3", "4"])))
    assert (one.artist, one.recording) == ("", "")


def test_read_tracks_takes_the_usual_names_of_the_parts(tmp_path):
    split = np.array(["Training", "eval", "none", "val"])
    tracks = arrays.read_tracks(save(tmp_path, split=split))
    assert [track.part for track in tracks] == ["train", "test", "", "valid"]


def test_structured_npy_equals_npz(tmp_path):
    fields = [("spectrogram", "u1", (30, 8)), ("label", "U8"), ("track_id", "S16"), ("split", "U5")]
    rows = np.zeros(4, fields)
    for name, *_ in fields:
        rows[name] = CONTENT[name]
    np.save(tmp_path / "rows.npy", rows)
    assert [t.id for t in arrays.read_tracks(str(tmp_path / "rows.npy"))] == NAMES
    waveform = open_store(str(tmp_path / "rows.npy")).waveform(3)
    np.testing.assert_array_equal(waveform, CONTENT["spectrogram"][3].astype(np.float32))


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"label": None}, "'label' is missing"),
        ({"label": np.arange(4)}, "'label' is int64"),
        ({"label": np.array(["a", "b"])}, r"'label' is <U1 \(2,\)"),
        ({"track_id": np.array(["a", "a", "b", "c"])}, "twice"),
        ({"split": np.array(["train", "test", "tset", ""])}, "split is not"),
        ({"track_id": np.array(NAMES, object)}, "cannot be read"),
        ({"track_id": np.array([b"\xff", b"a", b"b", b"c"])}, "UTF-8"),
        ({"label": np.array(["a\n", "b", "c", "d"])}, "line break"),
    ],
)
def test_read_tracks_refuses(tmp_path, changes, word):
    with pytest.raises(UserError, match=word):
        arrays.read_tracks(save(tmp_path, **changes))


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"spectrogram": None}, "'spectrogram' is missing"),
        ({"spectrogram": np.zeros((4, 30, 8), np.int32)}, "int32"),
        ({"spectrogram": np.zeros((3, 30, 8), np.uint8)}, "for 4 tracks"),
        ({"spectrogram": np.zeros((4, 30), np.uint8)}, "for 4 tracks"),
        ({"spectrogram": np.zeros((4, 30, 9), np.uint8)}, "features.num_bins=9"),
        ({"spectrogram": np.zeros((4, 29, 8), np.uint8)}, "data.clip_samples=29"),
        ({"scale": np.array([1.0, 2.0])}, "'scale' must be one"),
        ({"offset": np.float32(np.nan)}, "'offset' must be one"),
    ],
)
def test_open_arrays_refuses(tmp_path, changes, word):
    with pytest.raises(UserError, match=word):
        open_store(save(tmp_path, **changes))


def test_damaged_files_are_one_error(tmp_path):
    whole = io.BytesIO()
    np.savez_compressed(whole, **CONTENT)
    data = whole.getvalue()
    random = np.random.default_rng(0)
    for trial in range(200):
        damaged = bytearray(data[: random.integers(len(data))] if trial % 2 else data)
        for place in random.integers(max(1, len(damaged)), size=20 * (len(damaged) > 0)):
            damaged[place] = random.integers(256)
        (tmp_path / "damaged.npz").write_bytes(damaged)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                arrays.read_tracks(str(tmp_path / "damaged.npz"))
                open_store(str(tmp_path / "damaged.npz"))
        except UserError as error:
            assert "\n" not in str(error)
    for content in (b"", b"no array", data[:100]):
        (tmp_path / "damaged.npz").write_bytes(content)
        with pytest.raises(UserError, match="cannot be read"):
            arrays.read_tracks(str(tmp_path / "damaged.npz"))
    np.save(tmp_path / "bare.npy", CONTENT["spectrogram"])
    with pytest.raises(UserError, match="bare array"):
        arrays.read_tracks(str(tmp_path / "bare.npy"))
    with pytest.raises(UserError, match="no such file"):
        arrays.read_tracks(str(tmp_path))


def config(root, **fields):
    values = config_lib.Config()
    values.data.name, values.data.root, values.data.clip_samples = "arrays", root, 30
    values.features.kind, values.features.num_bins = "spectrogram", 8
    values.model.name = "rnn"
    for name, value in fields.items():
        section, _, field = name.partition("__")
        setattr(getattr(values, section), field, value)
    return config_lib.validate(values)


def test_batches_of_arrays_are_windows_of_frames(tmp_path):
    values = config(save(tmp_path))
    part = dataset.open_dataset(values).parts["train"]
    (batch,) = batches.eval_batches(part, batch_size=8, window=20)
    assert batch["waveform"].shape == (8, 20, 8)
    np.testing.assert_array_equal(batch["row"][:4], [0, 0, 1, 1])
    expected = CONTENT["spectrogram"][2, 10:] * np.float32(0.5) - np.float32(10)
    np.testing.assert_allclose(batch["waveform"][1], expected)
    options = {"batch_size": 2, "window": 20, "seed": 0, "start_step": 0, "num_steps": 2}
    for batch in batches.train_batches(part, **options):
        assert batch["waveform"].shape == (2, 20, 8)


def test_refit_learns_from_the_validation_part_and_needs_no_test_part(tmp_path):
    root = save(tmp_path, split=np.array(["train", "valid", "train", "valid"]))
    split = dataset.open_dataset(config(root)).split
    assert (len(split.train), len(split.valid), len(split.test)) == (2, 2, 0)
    split = dataset.open_dataset(
        config(root, model__name="lda", features__statistics="mean", train__refit=True)
    ).split
    assert split.train == tuple(sorted(NAMES)) and not split.valid and not split.test


def test_open_part_scores_another_file_by_its_own_split(tmp_path):
    values = config(save(tmp_path), model__name="lda", features__statistics="mean")
    split = dataset.open_dataset(values).split
    new = np.array([f"new {i}" for i in range(4)], "U20")
    values.data.root = save(tmp_path, "other.npz", track_id=new)
    opened = dataset.open_part(values, split, "test")
    assert opened.parts["test"].ids == ("new 1",) and opened.split.test == ("new 1",)
    assert not opened.split.shared_artists
    values.data.root = save(tmp_path, "artists.npz", track_id=new, artist=np.array([*"abcd"]))
    opened = dataset.open_part(values, split, "test", learned={"artist": ["B", "c"]})
    assert opened.split.shared_artists == ("b",) and not opened.split.shared_recordings
    new[1] = "blues.00003"
    values.data.root = save(tmp_path, "leak.npz", track_id=new)
    with pytest.raises(UserError, match=r"trained on blues\.00003"):
        dataset.open_part(values, split, "test")


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"features__kind": "logmel"}, "spectrogram"),
        ({"data__name": "band"}, "spectrogram"),
        ({"features__bands": "bark"}, "features.bands"),
        ({"features__statistics": "mean"}, "leave features.statistics empty"),
        ({"model__name": "svm"}, "features.statistics=mean,std"),
        ({"model__name": "svm", "features__statistics": "mode"}, "'mode'"),
        ({"features__num_bins": 2000}, "features.num_bins"),
        ({"features__cepstrum": True}, "n_mfcc"),
        ({"data__root": ""}, "data.root is empty"),
    ],
)
def test_validation_of_arrays_refuses(fields, word):
    with pytest.raises(UserError, match=word):
        config(**({"root": "x.npz"} | fields)) if "data__root" not in fields else config("")
