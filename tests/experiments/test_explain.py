"""`experiments.explain`: the test of explanations over tracks, which goes on from its rows."""

import json

import pytest

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


def test_explain_names_what_is_wrong(cache, trained, tmp_path):
    assert "no audio file given" in commands.fails(cache, "explain")
    (tmp_path / "rows.jsonl").write_text("[]\n")
    arguments = (f"--workdir={trained}", f"--rows={tmp_path / 'rows.jsonl'}")
    assert "is no file of this command" in commands.fails(cache, "explain", *arguments)
    error = commands.fails(cache, "explain", f"--workdir={trained}", "--explain_method=shap")
    assert "--explain_method shap: " in error
