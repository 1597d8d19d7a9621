"""Protocols: the laws of a split, over random catalogs; and the split file."""

import csv
import dataclasses
import io
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mgr_jax.data import gtzan, splits
from mgr_jax.data.catalog import PARTS, Catalog, Track, from_tracks
from mgr_jax.errors import UserError

# Of the holdout split of GTZAN with seed 7: a change would make all earlier workdirs another split.
PINNED_TEST = ("blues.00002", "blues.00005", "blues.00009", "blues.00026")
PINNED_HASH = "181d4de0708083d6b04ccf58ac04dbb945cdd023f7b3107ef4b143b93f3bcb9a"
GTZAN = Catalog("gtzan", gtzan.tracks(), gtzan.GENRES)


def _classes(sizes):
    """Catalog with `sizes[i]` tracks of class i."""
    tracks = [
        Track(f"{label:02d}/{i:04d}", "", f"class {label:02d}")
        for label, size in enumerate(sizes)
        for i in range(size)
    ]
    return from_tracks("folder", tracks, {})


def _listed(*tracks):
    return from_tracks("folder", (Track(f"{i}", "", **facts) for i, facts in enumerate(tracks)), {})


def _refused(catalog, **kwargs):
    with pytest.raises(UserError) as caught:
        splits.make_split(catalog, **kwargs)
    message = str(caught.value)
    assert "\n" not in message
    return message


def _sizes(split):
    return {part: len(getattr(split, part)) for part in PARTS}


class_sizes = st.lists(st.integers(3, 60), min_size=2, max_size=6)
seeds = st.integers(0, 2**32 - 1)


@settings(deadline=None, max_examples=50)
@given(class_sizes, seeds)
def test_holdout_parts_are_disjoint_sorted_and_cover_every_track(sizes, seed):
    catalog = _classes(sizes)
    split = splits.make_split(catalog, protocol="holdout", seed=seed)
    parts = [getattr(split, part) for part in PARTS]
    assert all(list(ids) == sorted(ids) for ids in parts)
    assert sorted(sum(parts, ())) == [track.id for track in catalog.tracks]
    assert split.left_out == ()
    assert split.protocol == "holdout"


@settings(deadline=None, max_examples=50)
@given(class_sizes, seeds)
def test_holdout_is_stratified_to_one_track(sizes, seed):
    split = splits.make_split(_classes(sizes), protocol="holdout", seed=seed)
    for label, size in enumerate(sizes):
        for part in ("valid", "test"):
            count = sum(name.startswith(f"{label:02d}/") for name in getattr(split, part))
            assert count >= 1
            assert abs(count - size / 10) <= 1 if size >= 5 else count == 1
        assert any(name.startswith(f"{label:02d}/") for name in split.train)


@settings(deadline=None, max_examples=50)
@given(class_sizes, seeds, st.randoms(use_true_random=False))
def test_holdout_does_not_depend_on_the_order_of_the_catalog(sizes, seed, rng):
    catalog = _classes(sizes)
    shuffled = list(catalog.tracks)
    rng.shuffle(shuffled)
    shuffled = dataclasses.replace(catalog, tracks=tuple(shuffled))
    one = splits.make_split(catalog, protocol="holdout", seed=seed)
    assert splits.make_split(shuffled, protocol="holdout", seed=seed) == one


def test_holdout_keeps_the_parts_of_the_other_classes_when_one_is_added():
    small = splits.make_split(_classes([30, 30]), protocol="holdout")
    large = splits.make_split(_classes([30, 30, 30]), protocol="holdout")
    assert set(small.test) < set(large.test)


def test_holdout_of_gtzan_has_800_100_100_tracks():
    split = splits.make_split(GTZAN, protocol="holdout")
    assert _sizes(split) == {"train": 800, "valid": 100, "test": 100}


def test_holdout_is_the_same_on_every_machine():
    split = splits.make_split(GTZAN, protocol="holdout", seed=7)
    assert split.test[:4] == PINNED_TEST
    assert split.hash() == PINNED_HASH


def test_holdout_draws_another_split_for_another_seed():
    catalog = _classes([50, 50])
    drawn = [splits.make_split(catalog, protocol="holdout", seed=seed).test for seed in range(20)]
    assert len(set(drawn)) == 20
    # Every track has its turn: 20 draws of one in ten leave out about one in eight of them.
    assert len(set().union(*drawn)) > 75


@pytest.mark.parametrize("size", [1, 2])
def test_holdout_refuses_a_class_that_does_not_fill_the_parts(size):
    message = _refused(_classes([10, size]), protocol="holdout")
    assert f"class 'class 01' has {size} readable track(s); it needs 3 or more" in message
    assert _sizes(splits.make_split(_classes([3, 3]), protocol="holdout")) == {
        "train": 2,
        "valid": 2,
        "test": 2,
    }


def test_holdout_refuses_a_class_of_which_nothing_can_be_read():
    catalog = dataclasses.replace(_classes([10, 10]), labels=("class 00", "class 01", "gone"))
    assert "class 'gone' has 0 readable track(s)" in _refused(catalog, protocol="holdout")


def test_holdout_reports_what_crosses():
    split = splits.make_split(GTZAN, protocol="holdout")
    by_id = {track.id: track for track in GTZAN.tracks}
    learned = [by_id[name] for name in (*split.train, *split.valid)]
    tested = [by_id[name] for name in split.test]
    for field, shared in (
        ("artist", split.shared_artists),
        ("recording", split.shared_recordings),
    ):
        both = {getattr(t, field) for t in learned} & {getattr(t, field) for t in tested}
        assert list(shared) == sorted(both)
        assert shared
    # Most test tracks of a random split share an artist with training (78 % over many draws).
    share = sum(track.artist in split.shared_artists for track in tested) / len(tested)
    assert 0.65 < share < 0.9


def test_unknown_artists_do_not_count_as_shared():
    split = splits.make_split(_classes([20, 20]), protocol="holdout")
    assert (split.shared_artists, split.shared_recordings) == ((), ())


def test_shared_artists_ignore_the_spelling():
    catalog = _listed(
        {"label": "a", "artist": "Rage Against the Machine", "part": "train"},
        {"label": "b", "artist": "x", "part": "train"},
        {"label": "b", "artist": "y", "part": "valid"},
        {"label": "a", "artist": "rage against The  Machine ", "part": "test"},
    )
    split = splits.make_split(catalog, protocol="listed")
    assert split.shared_artists == ("rage against The  Machine ",)


def test_artists_shared_by_train_and_valid_alone_are_no_leak():
    catalog = _listed(
        {"label": "a", "artist": "x", "part": "train"},
        {"label": "b", "artist": "x", "part": "valid"},
        {"label": "a", "artist": "y", "recording": "r", "part": "test"},
        {"label": "b", "artist": "z", "recording": "r", "part": "train"},
    )
    split = splits.make_split(catalog, protocol="listed")
    assert split.shared_artists == ()
    assert split.shared_recordings == ("r",)


def test_listed_is_the_split_of_the_data():
    catalog = _listed(
        {"label": "a", "part": "train"},
        {"label": "b", "part": "train"},
        {"label": "a", "part": "valid"},
        {"label": "b", "part": "test"},
        {"label": "b"},
    )
    for seed in (0, 1):
        split = splits.make_split(catalog, protocol="listed", seed=seed)
        assert (split.train, split.valid, split.test) == (("0", "1"), ("2",), ("3",))
        assert split.left_out == ("4",)


@pytest.mark.parametrize("empty", PARTS)
def test_listed_refuses_an_empty_part(empty):
    tracks = [{"label": label, "part": part} for part in PARTS for label in "ab" if part != empty]
    message = _refused(_listed(*tracks), protocol="listed")
    assert f"no track in part {empty!r}" in message


def test_listed_refuses_a_class_that_is_not_learned():
    tracks = [{"label": "a", "part": part} for part in PARTS] + [{"label": "b", "part": "test"}]
    message = _refused(_listed(*tracks), protocol="listed")
    assert "part 'train' has no track of class 'b'" in message


def test_fault_filtered_is_the_published_split():
    split = splits.make_split(GTZAN, protocol="fault_filtered")
    assert _sizes(split) == {"train": 443, "valid": 197, "test": 290}
    assert len(split.left_out) == 70
    assert (split.shared_artists, split.shared_recordings) == ((), ())
    assert "blues.00000" in split.valid


def test_fault_filtered_is_for_gtzan_alone():
    message = _refused(_classes([10, 10]), protocol="fault_filtered")
    assert "'fault_filtered' is a split of GTZAN, not of data.name 'folder'" in message


@pytest.mark.parametrize("protocol", ["holdout", "listed", "fault_filtered"])
def test_make_split_refuses_a_fold_that_is_not_there(protocol):
    message = _refused(GTZAN, protocol=protocol, fold=1)
    assert message.startswith("data.fold is 1, but ")


def _of_artists(num_artists, size=2, labels=("a", "b")):
    tracks = [
        {"label": label, "artist": f"{label}{i}"}
        for label in labels
        for i in range(num_artists)
        for _ in range(size)
    ]
    return _listed(*tracks)


def _copy_without(part):
    """A copy of GTZAN that its published split cannot divide: it lacks a part of one genre."""
    tracks = tuple(t for t in GTZAN.tracks if t.part != part or (part, t.label) == ("train", "pop"))
    return dataclasses.replace(GTZAN, tracks=tracks)


@pytest.mark.parametrize(
    ("catalog", "expected"),
    [
        (GTZAN, "fault_filtered"),
        (dataclasses.replace(GTZAN, tracks=GTZAN.tracks[::3]), "fault_filtered"),
        (_copy_without("train"), "artist_kfold"),
        (_copy_without("test"), "artist_kfold"),
        (_listed({"label": "a", "part": "train"}, {"label": "b"}), "listed"),
        (_of_artists(5), "artist_kfold"),
        (_of_artists(200), "artist_kfold"),
        (_of_artists(4), "kfold"),
        (_classes([100, 100]), "kfold"),
        (_classes([150, 149]), "kfold"),
        (_classes([150, 150]), "holdout"),
        (_classes([150, 4]), "holdout"),
    ],
)
def test_choose_protocol_of_auto_takes_what_the_tracks_allow(catalog, expected):
    assert splits.choose_protocol("auto", catalog, num_folds=5) == expected
    assert splits.choose_protocol("holdout", catalog) == "holdout"
    if expected != "listed":
        assert splits.make_split(catalog, protocol=expected).protocol == expected


def test_choose_protocol_of_auto_needs_all_artists():
    known = _of_artists(6)
    unknown = dataclasses.replace(known.tracks[0], artist="")
    catalog = dataclasses.replace(known, tracks=(unknown, *known.tracks[1:]))
    assert splits.choose_protocol("auto", catalog) == "kfold"


def test_from_json_gives_back_what_to_json_took():
    split = splits.make_split(GTZAN, protocol="holdout", seed=3)
    values = json.loads(json.dumps(splits.to_json(split)))
    assert splits.from_json(values) == split
    assert splits.from_json(values).hash() == split.hash()


@pytest.mark.parametrize("pair", [("train", "test"), ("train", "valid"), ("valid", "test")])
def test_from_json_refuses_a_track_in_two_parts(pair):
    values = splits.to_json(splits.make_split(_classes([10, 10]), protocol="holdout"))
    values[pair[0]].append(values[pair[1]][0])
    with pytest.raises(UserError, match="a track is in two parts"):
        splits.from_json(values)


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(splits.Split)])
def test_from_json_refuses_a_damaged_file(field):
    values = splits.to_json(splits.make_split(_classes([10, 10]), protocol="holdout"))
    for damaged in (None, 3, [1], {"a": 1}, "text" if field != "protocol" else ["text"]):
        with pytest.raises(UserError, match=f"field '{field}' is damaged"):
            splits.from_json(values | {field: damaged})
    del values[field]
    with pytest.raises(UserError, match=f"field '{field}' is missing"):
        splits.from_json(values)


def test_to_csv_lists_every_track_once():
    tracks = [{"label": label, "part": part} for part in PARTS for label in "ab"]
    catalog = _listed(*tracks)
    odd = dataclasses.replace(catalog.tracks[0], id='a, "b"')
    catalog = dataclasses.replace(catalog, tracks=(odd, *catalog.tracks[1:]))
    split = splits.make_split(catalog, protocol="listed")
    rows = list(csv.DictReader(io.StringIO(splits.to_csv(split))))
    read = {part: {r["track_id"] for r in rows if r["part"] == part} for part in PARTS}
    assert read == {part: set(getattr(split, part)) for part in PARTS}
    assert len(rows) == 6


def test_hash_sees_protocol_and_parts():
    split = splits.make_split(_classes([10, 10]), protocol="holdout")
    others = [
        dataclasses.replace(split, protocol="listed"),
        dataclasses.replace(split, train=split.train[1:]),
        dataclasses.replace(split, train=split.valid, valid=split.train),
    ]
    assert len({split.hash(), *(other.hash() for other in others)}) == 4
    assert dataclasses.replace(split, shared_artists=("x",)).hash() == split.hash()
