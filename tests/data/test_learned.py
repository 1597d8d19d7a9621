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
    found = learned.names(Catalog("arrays", tracks, ("x",)), SPLIT)
    assert found == {"artist": ["Ann", "Cid"], "recording": ["one", "two"]}


def test_shared_compares_names_and_not_their_spelling():
    names = {"artist": ["Ann Bo"], "recording": ["one"]}
    tracks = [_track("n", "ANN  BO", "two"), _track("m", "Cid", "One"), _track("o")]
    found = learned.shared(names, SPLIT, tracks)
    assert found == {"artist": ("ANN  BO",), "recording": ("One",)}
    assert learned.shared({}, SPLIT, tracks) == {"artist": (), "recording": ()}


def test_shared_knows_the_artists_of_gtzan_whatever_the_files_call_them():
    # rock.00016 and metal.00058 are the same audio.
    split = Split("listed", train=("rock.00016",), valid=(), test=())
    tracks = [_track("metal.00058", "somebody"), _track("blues.00000", "somebody else")]
    found = learned.shared({"artist": ["Some Body's"]}, split, tracks)
    assert found["artist"] == ("somebody",) and len(found["recording"]) == 1


def test_knows_artists_from_the_file_or_from_gtzan():
    assert learned.knows_artists({"artist": ["Ann"]}, SPLIT)
    assert not learned.knows_artists({"artist": [], "recording": ["one"]}, SPLIT)
    assert learned.knows_artists({}, Split("listed", ("rock.00016",), (), ()))
