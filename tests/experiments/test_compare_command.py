"""Comparing workdirs, and the page for several, through the command line."""

import json
import shutil

import pytest

from tests.experiments import commands


@pytest.fixture(scope="module", name="pair")
def _pair(cache, trained, tmp_path_factory):
    """Two evaluated workdirs, the same but for their predictions."""
    folder = tmp_path_factory.mktemp("pair")
    commands.run(cache, "evaluate", f"--workdir={trained}")
    shutil.copytree(trained, folder / "one")
    shutil.copytree(trained, folder / "two")
    path = folder / "two" / "eval" / "test"
    lines = (path / "predictions.csv").read_text().splitlines()
    for i, line in enumerate(lines[1:], 1):
        name, label, _, *rest = line.split(",")
        lines[i] = ",".join([name, label, label, *rest])
    (path / "predictions.csv").write_text("\n".join(lines) + "\n")
    report = json.loads((path / "report.json").read_text())
    report |= {"num_correct": 10, "accuracy": 1.0}
    (path / "report.json").write_text(json.dumps(report))
    return folder


def test_compare_prints_accuracies_and_a_verdict(cache, pair, tmp_path):
    file = tmp_path / "out.json"
    workdirs = f"--workdirs={pair / 'one'},{pair / 'two'}"
    out, errors = commands.run(cache, "compare", workdirs, f"--json={file}")
    assert errors.endswith(
        f"experiments.report {pair / 'one'} {pair / 'two'} --output=comparison\n"
    )
    result = json.loads(file.read_text())
    assert [system["num_correct"] for system in result["systems"]][1] == 10
    assert "  two  100.0 % [72.2, 100.0] (n = 10, listed)" in out
    (comparison,) = result["pairs"]
    assert comparison["only_first"] == 0
    assert f"  verdict     {comparison['verdict']}\n" in out
    assert {"mcnemar_exact", "mcnemar_mid_p", "p_holm", "ci95"} <= comparison.keys()


def test_compare_names_what_is_wrong_in_one_line(cache, pair, tmp_path):
    assert "two or more" in commands.fails(cache, "compare", f"--workdirs={pair / 'one'}")
    line = commands.fails(cache, "compare", f"--workdirs={pair / 'one'},{tmp_path}")
    assert "run python -m experiments.evaluate" in line


def test_report_writes_one_page_for_all(cache, pair, tmp_path):
    out, errors = commands.run(
        cache, "report", pair / "one", pair / "two", f"--output={tmp_path / 'out'}"
    )
    assert errors.endswith(f"experiments.compare --workdirs={pair / 'one'},{pair / 'two'}\n")
    assert "two has the highest accuracy, 100.0 % [72.2, 100.0] (n = 10, listed)" in out
    page = (tmp_path / "out" / "comparison.html").read_text()
    assert "data:image/png;base64," in page
    assert "no workdir given" in commands.fails(cache, "report", f"--output={tmp_path}")
    line = commands.fails(cache, "report", pair / "one", f"--output={tmp_path}", "--format=word")
    assert "--format word is unknown; use some of html, latex, csv, svg, pdf" in line
    line = commands.fails(cache, "report", pair / "one", f"--output={tmp_path}", "--format=")
    assert "--format is empty; use some of html" in line


def test_report_writes_tables_for_a_paper(cache, pair, tmp_path):
    folder = tmp_path / "paper"
    flags = [f"--output={folder}", "--format=latex,csv"]
    out, _ = commands.run(cache, "report", pair / "one", pair / "two", *flags)
    assert f"latex     {folder}: systems.tex, pairs.tex, classes_0.tex" in out
    assert r"two & 100.0 [72.2, 100.0] &" in (folder / "systems.tex").read_text()
    assert (folder / "results.csv").read_text().startswith("run,class,accuracy,")
    assert not (folder / "comparison.html").exists()


def test_report_of_a_cross_validation_names_no_command_that_refuses_it(cache, pair, tmp_path):
    """`compare` takes one training, and a folder of several has no model to hear."""
    for fold in "01":
        shutil.copytree(pair / "one", tmp_path / f"folds/kfold/seed{fold}/fold0")
    both = (tmp_path / "folds", pair / "one")
    line = commands.fails(cache, "compare", f"--workdirs={both[0]},{both[1]}")
    assert "has the trainings of a cross-validation; give one of them, DIR/<protocol>/" in line
    folder = f"--output={tmp_path / 'paper'}"
    _, errors = commands.run(cache, "report", *both, folder, "--format=csv")
    expected = f"report {both[0]} {both[1]} {folder} --format=latex,csv,pdf\n"
    assert errors.endswith(f"experiments.{expected}")
