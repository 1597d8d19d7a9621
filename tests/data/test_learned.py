"""The names that a model was trained on."""

from mgr_jax.data import learned
from mgr_jax.data.catalog import Catalog, Track
from mgr_jax.data.splits import Split

SPLIT = Split("listed", train=("a", "b"), valid=("c",), test=("d",))


def _track(name, artist="", recording=""):
    return Track(name, "", "x", artist, recording)


def test_names_are_those_of_the_training_and_the_validation_part():
    tracks = (
        _track("a", "Ann", "one"),
        _track("b", "", "two"),
        _track("c", "Cid"),
        _track("d", "Dee", "three"),
    )
    names = learned.names(Catalog("arrays", tracks, ("x",)), SPLIT)
    assert names == {"artist": ["Ann", "Cid"], "recording": ["one", "two"]}


def test_shared_compares_names_and_not_their_spelling():
    names = {"artist": ["Ann Bo"], "recording": ["one"]}
    tracks = [_track("n", "ANN  BO", "two"), _track("m", "Cid", "One"), _track("o")]
    shared = learned.shared(names, SPLIT, tracks)
    assert shared == {"artist": ("ANN  BO",), "recording": ("One",)}
    assert learned.shared({}, SPLIT, tracks) == {"artist": (), "recording": ()}


def test_shared_compares_the_artist_groups_of_gtzan():
    # rock.00016 and metal.00058 are the same audio.
    split = Split("listed", train=("rock.00016",), valid=(), test=())
    tracks = [_track("metal.00058", "somebody"), _track("blues.00000", "somebody else")]
    shared = learned.shared({"artist": ["Some Body's"]}, split, tracks)
    assert shared["artist"] == ("somebody",) and len(shared["recording"]) == 1


def test_knows_artists_from_the_file_or_from_gtzan():
    assert learned.knows_artists({"artist": ["Ann"]}, SPLIT)
    assert not learned.knows_artists({"artist": [], "recording": ["one"]}, SPLIT)
    assert learned.knows_artists({}, Split("listed", ("rock.00016",), (), ()))
