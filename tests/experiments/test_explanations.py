"""`predict --explain=DIR`: a picture and JSON for each song."""

import json
import types

import numpy as np
import pytest
import soundfile

from experiments import explanations
from tests.experiments import commands


@pytest.mark.e2e
def test_predict_writes_explanations_beside_its_answers(cache, trained, tmp_path):
    noise = np.random.default_rng(0).normal(size=(2, 30_000)) * 0.1
    songs, folder = [tmp_path / "a" / "x.wav", tmp_path / "b" / "x.wav"], tmp_path / "out"
    for song, samples in zip(songs, noise, strict=True):
        song.parent.mkdir()
        soundfile.write(song, samples, 22_050)
    arguments = ("predict", f"--workdir={trained}", f"--explain={folder}")
    out, _ = commands.run(cache, *arguments, "--format=json", *songs)
    for line, name in zip(out.splitlines(), ("x.wav", "x.wav.2"), strict=True):
        values = json.loads(line)
        assert values["explanation"]["picture"] == str(folder / f"{name}.explanation.png")
        assert (folder / f"{name}.explanation.png").read_bytes().startswith(b"\x89PNG")
        stored = json.loads((folder / f"{name}.explanation.json").read_text())
        assert (stored["path"], stored["label"]) == (values["path"], values["label"])
        shape = np.shape(stored["attributions"])
        assert shape == (len(stored["seconds"]) - 1, len(stored["hz"]) - 1)
    table, _ = commands.run(cache, *arguments, "--explain_method=occlusion", songs[0])
    assert ": most at " in table and "Hz, by occlusion\n" in table


def test_files_of_long_names_have_shorter_ones(tmp_path):
    explanation = types.SimpleNamespace(to_png=lambda _: b"", to_json=dict)
    folder = explanations.Folder(str(tmp_path / "out"))
    names = ["\u3042" * 80 + f"{i}.wav" for i in range(2)]  # Of 245 bytes.
    pictures = [folder.write(name, lambda _: explanation)[0] for name in names]
    assert len(set(pictures)) == 2 and len([*(tmp_path / "out").iterdir()]) == 4
    assert folder.write("x.wav", lambda _: explanation)[0].endswith("/x.wav.explanation.png")


def test_predict_names_what_is_wrong_with_explanations(cache, trained, tmp_path):
    (tmp_path / "x.wav").write_bytes(b"")
    arguments = ("predict", f"--workdir={trained}", str(tmp_path / "x.wav"))
    error = commands.fails(cache, *arguments, "--explain_method=occlusion")
    assert "--explain_method: is for --explain=DIR" in error
    error = commands.fails(cache, *arguments, f"--explain={tmp_path}", "--explain_method=shap")
    assert "--explain_method shap: " in error
    error = commands.fails(cache, *arguments, f"--explain={tmp_path / 'x.wav'}")
    assert "--explain" in error and "give the name of a folder" in error
