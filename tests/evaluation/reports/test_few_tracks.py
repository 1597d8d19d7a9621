"""Small test parts point to cross-validation with a command that runs as it is."""

import dataclasses
import pathlib
import shlex

import pytest

from mgr_jax import workdir
from mgr_jax.evaluation.reports import few_tracks, html, markdown, wording
from tests.evaluation.reports import evaluated

pytestmark = pytest.mark.usefixtures("quick_figures")


def _flags(command):
    words = shlex.split(command)
    assert words[:3] == ["python", "-m", "experiments.cross_validate"]
    return dict(word.split("=", 1) for word in words[3:])


def test_a_report_on_few_tracks_shows_the_command_everywhere(run, data):
    report, _ = evaluated.write(run, data)
    command = report["cross_validation"]
    assert _flags(command) == {
        "--config": f"workdir:{run.path}",
        "--workdir": f"{run.path}-folds",
        "--protocols": "kfold",  # Each class has three artists, fewer than folds.
    }
    folder = run.path / "eval/test"
    sentence = (
        f"{report['n']} test tracks cannot tell much; cross-validation tests every track once"
    )
    assert f"{sentence}:\n  {command}\n\n" in wording.to_text(report)
    assert f"{sentence}:\n\n```bash\n{command}\n```" in (folder / "report.md").read_text()
    assert f"{sentence}:<code>{command}</code>" in (folder / "report.html").read_text()


def test_other_reports_show_none(run, data, monkeypatch):
    assert not evaluated.write(run, data, part="valid")[0]["cross_validation"]
    monkeypatch.setattr(few_tracks, "FEW", 12)
    report, _ = evaluated.write(run, data)
    del report["cross_validation"]  # Reports of earlier versions have none.
    folder = run.path / "eval/test"
    for shown in (
        wording.to_text(report),
        markdown.to_markdown(report),
        html.to_html(report, folder),
    ):
        assert "cross_validate" not in shown


def test_command_fits_the_data_and_the_workdir(run, data):
    config = dataclasses.replace(run.config, data=dataclasses.replace(run.config.data))
    config.data.num_folds, config.data.fold = 3, 2
    odd = dataclasses.replace(run, config=config, path=pathlib.Path("runs/my run"))
    assert _flags(few_tracks.command(odd, data.catalog)) == {
        "--config": "workdir:runs/my run",
        "--workdir": "runs/my run-folds",
        "--config.data.fold": "0",
    }
    tracks = [t for t in data.catalog.tracks if t.label != "drum | bass" or int(t.id[0]) < 2]
    small = dataclasses.replace(data.catalog, tracks=tuple(tracks))
    assert _flags(few_tracks.command(odd, small))["--config.data.num_folds"] == "2"
    single = dataclasses.replace(data.catalog, tracks=tuple(tracks[:1]))
    assert few_tracks.command(odd, single) == ""
    here = dataclasses.replace(odd, path=pathlib.Path())
    assert (
        _flags(few_tracks.command(here, data.catalog))["--workdir"] == f"{pathlib.Path.cwd()}-folds"
    )
    fold = dataclasses.replace(odd, path=pathlib.Path("runs/my run/kfold/seed0/fold1"))
    assert few_tracks.command(fold, data.catalog) == ""


def test_the_config_of_a_workdir_is_that_of_its_training(tmp_path, run):
    from experiments.configs import workdir as workdir_config
    from mgr_jax.errors import UserError

    assert workdir_config.get_config(str(run.path)) == workdir.load(str(run.path)).config
    with pytest.raises(UserError, match=r"no config\.json"):
        workdir_config.get_config(str(tmp_path))
    with pytest.raises(UserError, match="workdir:DIR"):
        workdir_config.get_config()


def test_before_training_counts_the_test_tracks(data):
    assert few_tracks.before_training(data.split).startswith("12 test tracks cannot tell much")
