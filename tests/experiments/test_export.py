"""Exports through the command line."""

from tests.experiments import commands


def test_export_writes_stablehlo(cache, trained, tmp_path):
    output = tmp_path / "out"
    commands.run(
        cache, "export", f"--workdir={trained}", "--format=stablehlo", f"--output={output}"
    )
    names = sorted(path.name for path in output.iterdir())
    assert names == ["decoding", "model.json", "model.stablehlo", "run.py"]


def test_export_names_what_is_wrong_in_one_line(cache, trained, tmp_path):
    workdir = f"--workdir={trained}"
    line = commands.fails(cache, "export", workdir, "--format=bundle", f"--output={tmp_path}")
    assert "is a folder" in line
    line = commands.fails(cache, "export", workdir, "--format=onnx", f"--output={tmp_path}")
    assert "bash experiments/onnx_env.sh" in line
