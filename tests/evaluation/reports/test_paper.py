"""The files for a paper: which they are, and that the same results give the same bytes."""

import json
import pathlib
import shutil

import pytest

from mgr_jax.errors import UserError
from mgr_jax.evaluation.reports import paper
from tests.evaluation import test_compare, test_pooled
from tests.evaluation.reports import evaluated


def _run(run, data):
    evaluated.write(run, data)
    return str(run.path)


@pytest.fixture
def workdir(run, data, quick_figures):
    return _run(run, data)


def test_write_paper_writes_the_formats_and_the_same_bytes_again(workdir, tmp_path):
    read = []
    for name in "ab":
        folder = tmp_path / name
        written = paper.write_paper([workdir], "test", str(folder), paper.FORMATS)
        assert written == {
            "latex": ["systems.tex", "classes_0.tex", "methods.tex", "references.bib"],
            "csv": ["results.csv"],
            "svg": ["accuracies.svg", "confusion_0.svg"],
            "pdf": ["accuracies.pdf", "confusion_0.pdf"],
        }
        read.append({path.name: path.read_bytes() for path in folder.iterdir()})
    assert read[0] == read[1] and len(read[0]) == 9
    assert all(str(tmp_path).encode() not in content for content in read[0].values())


def test_write_paper_takes_a_cross_validation(tmp_path, quick_figures):
    answers = test_compare._two(n=12)
    for protocol in ("kfold", "artist_kfold"):
        for seed, correct in enumerate(answers):
            folder = tmp_path / "cv" / protocol / f"seed{seed}"
            test_pooled._write_folds(folder, correct.tolist(), groups="aabbccddeeff")
    protocol = {"accuracy": 0.5, "ci95": [0.4, 0.6]}
    report = {
        "data": "band", "grouped_by": "artist", "num_seeds": 2, "num_folds": 2,
        "protocols": {"kfold": protocol, "artist_kfold": protocol},
        "leakage_gap": {"gap": 0.1, "ci95": None, "n": 12, "num_groups": 6},
    }  # fmt: skip
    (tmp_path / "cv" / "report.json").write_text(json.dumps(report))
    out = tmp_path / "out"
    written = paper.write_paper([str(tmp_path / "cv")], "test", str(out), ["latex", "csv"])
    assert written["latex"] == [
        "systems.tex", "classes_0.tex", "1_systems.tex", "1_classes_0.tex", "leakage.tex",
        "methods.tex", "references.bib",
    ]  # fmt: skip
    assert "cv, kfold &" in (out / "systems.tex").read_text()
    one = str(tmp_path / "cv" / "kfold" / "seed0")
    paper.write_paper([one], "test", str(out), ["csv"])
    assert (out / "results.csv").read_text().splitlines()[1].startswith("cv/kfold/seed0,,")
    shutil.copytree(tmp_path / "cv", tmp_path / "others")
    (tmp_path / "others" / "report.json").write_text(json.dumps(report | {"data": "fma"}))
    both = [str(tmp_path / name) for name in ("cv", "others")]
    written = paper.write_paper(both, "test", str(out), ["latex"])["latex"]
    assert {"leakage.tex", "1_leakage.tex"} <= set(written)
    text = (out / "1_leakage.tex").read_text()
    assert "of fma by protocol" in text and r"\label{tab:1-leakage}" in text
    (tmp_path / "cv" / "report.json").write_text('{"leakage_gap": {}}')
    with pytest.raises(UserError, match=r"report\.json: cannot be read .*run cross_validate"):
        paper.write_paper([str(tmp_path / "cv")], "test", str(out), ["latex"])


def test_write_paper_names_a_missing_report_and_a_bad_folder(workdir, tmp_path):
    with pytest.raises(UserError, match=r"has no report\.json"):
        paper.write_paper([str(tmp_path / "none")], "test", str(tmp_path), ["csv"])
    pathlib.Path(tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"--output .*file: cannot be written"):
        paper.write_paper([workdir], "test", str(tmp_path / "file"), ["csv"])


@pytest.mark.slow
def test_write_paper_draws_the_same_figures_again(run, data, tmp_path):
    workdir = _run(run, data)
    read = []
    for name in "ab":
        paper.write_paper([workdir], "test", str(tmp_path / name), ["svg", "pdf"])
        read.append({path.name: path.read_bytes() for path in (tmp_path / name).iterdir()})
    assert read[0] == read[1] and len(read[0]) == 4
