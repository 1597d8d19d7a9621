"""The suites that compare with targets: sides in turns, growth, start-up, classical systems."""

import numpy as np
import pytest

from experiments.benchmarks import classical, contest, growth, machine, networks, startup

STEPS = """
class Steps:
    def __init__(self, factor, *, offset):
        self.factor, self.offset, self.taken = factor, offset, 0

    def step(self):
        self.taken += 1

    def result(self, value):
        return self.factor * value + self.offset, self.taken

    def fail(self):
        raise ValueError("as it should")
"""


def test_statistics_of_turns():
    found = contest.statistics([(1.0, 2.0), (2.0, 3.0), (1.0, 4.0)])
    assert found["ours_s"] == 1.0 and found["peer_s"] == 3.0
    assert found["ratio"] == 2.0 and (found["ratio_min"], found["ratio_max"]) == (1.5, 4.0)
    assert found["spread"] == pytest.approx(3.0 - 1.75)


def test_sides_take_turns_in_processes_of_their_own(tmp_path, monkeypatch, capfd):
    (tmp_path / "steps_of_a_test.py").write_text(STEPS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(contest, "_MIN_SECONDS", 1e-4)
    sides = [contest.Side("steps_of_a_test", factor, offset=1) for factor in (2, 3)]
    with contest.sides(*sides):
        found = contest.alternate(*sides, turns=3)
        assert found["turns"] == 3 and found["ratio"] > 0
        mine, theirs, trips = zip(*found["by_turn"], strict=True)
        assert (np.median(mine), np.median(theirs)) == (found["ours_s"], found["peer_s"])
        assert len(trips) == 3 and all(trip is None or trip > 1 for trip in trips)
        values, taken = zip(*(side.call("result", 10) for side in sides), strict=True)
        assert values == (21, 31) and min(taken) > 4
        assert all(1 < side.peak_memory() < 10_000 for side in sides)
        with pytest.raises(RuntimeError, match="fail ended"):
            sides[0].call("fail")
    assert "as it should" in capfd.readouterr().err


def test_path_beside_scikit_learn_ends_at_its_loss(monkeypatch):
    monkeypatch.setattr(
        classical, "_LOOPS", {"one": {"threads": 1}, "warm": {"warm": True, "threads": 1}}
    )
    row = classical.path(turns=1, rows=80, columns=6, penalties=3)
    assert row["peer"].startswith("scikit-learn, ") and row["ratio"] > 0
    assert abs(row["ours_loss"] - row["peer_loss"]) < 1e-3 and row["largest_excess"] < 1e-3
    assert len(classical.table([row])) == 5


@pytest.mark.slow
def test_features_beside_librosa_are_the_same():
    row = classical.features(clips=5, samples=22_050, turns=1)
    assert row["max_difference"] < 1e-4 and row["ratio"] > 0


def test_exponents_are_the_powers_of_growth(tmp_path):
    rows = [
        {
            "quantity": "batch",
            "work": "work",
            "size": size,
            "seconds": 0.1 * size**0.5,
            "spread": 0.0,
            "memory_mb": 3.0 * size**2,
        }
        for size in (1, 2, 4)
    ]
    ((work, found, powers),) = growth.exponents(rows)
    assert (work, found) == ("work", rows)
    assert powers == pytest.approx({"seconds": 0.5, "memory_mb": 2.0})
    assert "more than linear" in growth.table(rows)[-1]
    growth.plot(rows, tmp_path / "growth.png")
    assert (tmp_path / "growth.png").read_bytes().startswith(b"\x89PNG")


def test_bookkeeping_works_on_tracks_without_audio():
    rows = growth._tracks(100)
    assert len({row["work"] for row in rows}) == 4
    assert all(row["seconds"] > 0 and row["memory_mb"] > 0 for row in rows)


def test_startup_judges_by_the_median(monkeypatch):
    monkeypatch.setattr(startup, "_COMMANDS", {"quick": (("-c", "pass"), 60.0)})
    monkeypatch.setattr(startup, "_compilation", lambda turns: [])
    (row,) = startup.run(turns=2)
    assert row["fastest"] <= row["seconds"] <= row["slowest"]
    assert startup.table([row])[-1].endswith("| < 60 | met |")


@pytest.mark.slow
def test_startup_measures_what_the_cache_spares():
    cold, _, warm, _, imports = startup._compilation(1)
    assert warm["seconds"] < cold["seconds"] and imports["seconds"] > 0


def test_machine_is_described_in_one_line():
    line, empty = machine.describe()
    assert empty == "" and "cores" in line and "jax 0." in line


@pytest.mark.slow
@pytest.mark.parametrize("name", ["bbnn", "gru"])
def test_networks_rows_beside_their_peers(name):
    pytest.importorskip("torch")
    title, config = networks.cases()[name]
    config.data.clip_samples, config.data.clip_seconds = 0, 1.0
    config.model.width, config.model.num_modules, config.model.hidden_size = 4, 1, 8
    rows = [networks.beside_torch(title, config, "train", turns=2)]
    if name == "bbnn":
        rows += [
            networks.frontend_share(title, config, turns=2),
            networks.beside_plain(title, config, turns=2),
        ]
        assert rows[2]["max_difference"] < 1e-4 and rows[2]["peer_temporaries_mb"] > 0
    assert rows[0]["max_difference"] < 1e-4 and rows[0]["peer"].startswith("PyTorch, ")
    text = "\n".join(networks.table(rows))
    assert f"| {title}, train | {rows[0]['devices']} | PyTorch, " in text
    assert rows[0]["devices"] in rows[0]["our_trials"] and "ours on 1 device " in text


def test_networks_inputs_have_the_shapes_of_the_front_end():
    shapes = [networks.input_shape(config) for _, config in networks.cases().values()]
    image, sequence = (480, 640, 3), (2584, 14)
    assert shapes == [(647, 128), (288, 432, 3), image, image, sequence, sequence, sequence]
    inputs, labels = networks._data((4, 2), 8)
    assert inputs.shape == (8, 4, 2) and inputs.dtype == np.float32 and len(labels) == 8
