"""The suites of the benchmark, on a small scale."""

import pytest
import soundfile

from experiments.benchmarks import (
    classical,
    frontend,
    growth,
    parity,
    parity_cases,
    pipeline,
    shards,
    startup,
    thousand,
)

pytestmark = pytest.mark.e2e


def test_path_beside_scikit_learn_ends_at_its_loss(monkeypatch):
    monkeypatch.setattr(
        classical, "_LOOPS", {"one": {"threads": 1}, "warm": {"warm": True, "threads": 1}}
    )
    row = classical.path(turns=1, rows=80, columns=6, penalties=3)
    assert row["peer"].startswith("scikit-learn, ") and row["ratio"] > 0
    assert abs(row["ours_loss"] - row["peer_loss"]) < 1e-3 and row["largest_excess"] < 1e-3
    assert len(classical.table([row])) == 5


def test_features_beside_librosa_are_the_same():
    row = classical.features(clips=5, samples=22_050, turns=1)
    assert row["max_difference"] < 1e-4 and row["ratio"] > 0


def test_exponents_are_the_powers_of_growth(tmp_path):
    rows = [
        growth._row("batch", "work", size, [0.1 * size**0.5], 3.0 * size**2) for size in (1, 2, 4)
    ]
    ((work, points, powers),) = growth.exponents(rows)
    assert (work, points) == ("work", rows)
    assert powers == pytest.approx({"seconds": 0.5, "memory_mb": 2.0})
    assert "more than linear" in growth.table(rows)[-1]
    growth.plot(rows, tmp_path / "growth.png")
    assert (tmp_path / "growth.png").read_bytes().startswith(b"\x89PNG")


def test_bookkeeping_works_on_tracks_without_audio():
    rows = growth._tracks(100)
    assert len({row["work"] for row in rows}) == 4
    assert all(row["seconds"] > 0 and row["memory_mb"] > 0 for row in rows)


def test_startup_compares_the_median_with_the_target(monkeypatch):
    monkeypatch.setattr(startup, "_COMMANDS", {"quick": (("-c", "pass"), 60.0)})
    monkeypatch.setattr(startup, "_compilation", lambda turns: [])
    (row,) = startup.run(turns=2)
    assert row["fastest"] <= row["seconds"] <= row["slowest"]
    assert startup.table([row])[-1].endswith("| < 60 | met |")


@pytest.mark.slow
def test_startup_measures_what_the_cache_saves():
    cold, _, warm, _, imports = startup._compilation(1)
    assert warm["seconds"] < cold["seconds"] and imports["seconds"] > 0


def test_frontend_times_the_same_work_as_librosa(monkeypatch):
    monkeypatch.setattr(frontend, "PEERS", {"librosa": frontend.PEERS["librosa"]})
    rows = frontend.run(clips=2, samples=22_050, turns=2)
    assert [row["case"] for row in rows] == list(frontend.CASES)
    for row in rows:
        assert {"case", "peer", "ours_s", "peer_s", "ratio", "spread"} <= row.keys()
        assert row["max_difference"] < 1e-3 and row["ours_s"] > 0 and row["peer_s"] > 0
    assert len(frontend.table(rows)) == 2 + len(rows)


def test_parity_table_has_the_largest_error_of_every_case(monkeypatch):
    cases = [case for case in parity_cases.cases() if case.function in ("rms", "spectral_centroid")]
    monkeypatch.setattr(parity_cases, "cases", lambda: iter(cases))
    monkeypatch.delenv("MGR_JAX_SHARED", raising=False)
    rows = parity.run(samples=8192)
    assert len(rows) == 5 * len(cases)
    text = "\n".join(parity.table(rows))
    assert "`rms(center=False)`" in text and "| `spectral_centroid` | sine |" in text


def test_pipeline_measures_wait_and_memory(monkeypatch):
    case = "RNN (rnn.py:fast)"
    config = pipeline.cases()[case]
    config.data.window_seconds, config.model.hidden_size = 0.5, 4
    monkeypatch.setattr(pipeline, "cases", lambda: {case: config})
    memory, row = pipeline.run(clips=1000, samples=150_000, steps=2, turns=2)
    assert row["case"] == case and row["steps"] == 4
    assert 0 <= row["data_wait_fraction"] <= row["worst"] < 1
    assert row["steps_per_second"] > 0 and row["reader_steps_per_second"] > 0
    # The process maps all of the store, and owns what the few batches read ahead take.
    assert memory["store_mb"] == 300 and memory["batch_mb"] == 4.8
    assert memory["growth_mb"] < 150
    assert memory["rss_peak_mb"] > memory["anonymous_peak_mb"]
    text = "\n".join(pipeline.table([memory, row]))
    assert f"| {case} | 8 x 0.5 s |" in text and "| 1000 clips of 150000 samples | 300 |" in text


@pytest.mark.slow
def test_shards_measures_preparing_and_the_start():
    [row] = shards.run(only=[str(shards.SMALLEST)], num_shards=2, seconds=0.6)
    assert (row["tracks"], row["shards"]) == (160, 2)
    assert 0 < row["slowest_s"] < row["prepare_s"] and row["processor_s"] > 0
    assert row["prepare_rss_mb"] > 50 and row["peak_mb"] >= row["open_mb"] > 50
    assert row["shards_mb"] * 1e6 > 160 * 2 * 4800
    text = "\n".join(shards.table([row]))
    assert text.count("\n| 160 | ") == 2


def test_shards_writes_files_that_all_differ(tmp_path):
    path = shards.write_collection(tmp_path, 200, 800)
    files = sorted(tmp_path.glob("audio/*/*.wav"))
    assert len({file.read_bytes() for file in files}) == 200
    waveform, rate = soundfile.read(files[7], dtype="int16")
    assert (len(waveform), rate) == (800, 8000)
    assert path.read_text().splitlines()[8] == "audio/000/000007.wav,genre07,artist 1,train"


@pytest.mark.slow
def test_thousand_measures_every_command_on_files():
    rows = thousand.run(**thousand.QUICK)
    cases = " ".join(row["case"].split()[0] for row in rows)
    trained = " ".join(["train evaluate"] * 3)
    assert cases == f"prepare prepare audit {trained} cross_validate report"
    assert all(row["seconds"] > 0 and row["peak_mb"] > 50 for row in rows)
    assert "(n = " in rows[4]["result"] and "artist_kfold" in rows[4]["result"]
    assert len(thousand.table(rows)) == 2 + len(rows)
