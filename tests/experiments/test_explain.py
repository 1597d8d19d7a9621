"""`experiments.explain`: the test of explanations over tracks, which goes on from its rows."""

import json

import numpy as np
import pytest
import soundfile

from tests.experiments import commands


@pytest.mark.e2e
def test_explain_tests_tracks_and_goes_on_from_its_rows(cache, trained, tmp_path):
    rows = tmp_path / "rows.jsonl"
    arguments = ("explain", f"--workdir={trained}", "--num=4", f"--rows={rows}")
    out, _ = commands.run(cache, *arguments)
    lines = out.splitlines()
    assert lines[0] == "explained 4 tracks by integrated_gradients"
    assert [line.split()[0] for line in lines[-5:]] == [
        "removed", "most", "random", "area", "verdict"
    ]  # fmt: skip
    made = [json.loads(line) for line in rows.read_text().splitlines()]
    assert len({row["track"] for row in made}) == 4
    assert all(row["attributed"][0] == pytest.approx(row["probability"], abs=1e-4) for row in made)
    # A row that is there is not made again.
    rows.write_text(
        "".join(json.dumps(row | {"area": 0.5 + i}) + "\n" for i, row in enumerate(made))
    )
    out, _ = commands.run(cache, *arguments)
    assert "area      2.000" in out and "above 0 for 4 of 4" in out
    # Rows of other audio, seeds or methods are others, and a line that a kill cut is none.
    rows.write_text(rows.read_text() + '{"track": "cut o')
    out, _ = commands.run(cache, *arguments, "--seconds=0.5")
    assert "area      2.000" not in out
    text = rows.read_text()
    assert len(text.splitlines()) == 4 + 1 + 4
    commands.run(cache, *arguments, "--seconds=0.5")
    assert rows.read_text() == text


@pytest.mark.e2e
def test_explain_counts_a_file_once_and_goes_on_after_silence(cache, trained, tmp_path):
    rng, files = np.random.default_rng(0), [str(tmp_path / f"{i}.wav") for i in range(3)]
    for i, path in enumerate(files):
        soundfile.write(path, rng.normal(size=8000) * (0.1 if i else 0), 8000)
    arguments = ("explain", f"--workdir={trained}", *files, files[1], str(tmp_path / "none.wav"))
    out, err = commands.run(cache, *arguments, code=1)
    assert out.startswith("explained 2 tracks by") and "of 2, p = " in out
    assert f"skipped   {files[0]}: is silent" in err and err.count("none.wav: ") == 1
    _, err = commands.run(cache, *arguments[:2], *files[:2], code=1)
    assert "error: 1 of 2 tracks have audio" in err


def test_explain_names_what_is_wrong(cache, trained, tmp_path):
    assert "no audio file given" in commands.fails(cache, "explain")
    (tmp_path / "rows.jsonl").write_text("[]\n")
    arguments = (f"--workdir={trained}", f"--rows={tmp_path / 'rows.jsonl'}")
    assert "is no file of this command" in commands.fails(cache, "explain", *arguments)
    for flag, message in (
        ("--seconds=inf", "--seconds inf: give a number"),
        ("--seed=-1", "--seed"),
    ):
        assert message in commands.fails(cache, "explain", f"--workdir={trained}", flag)
    error = commands.fails(cache, "explain", f"--workdir={trained}", "--explain_method=shap")
    assert "--explain_method shap: " in error
