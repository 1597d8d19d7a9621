"""LaTeX tables: what they say, and that they compile whatever the names are."""

import re
import shutil
import subprocess

import pytest

from mgr_jax.evaluation import compare
from mgr_jax.evaluation.reports import latex, published, references
from tests.evaluation.reports import systems

HOSTILE = ("=cmd|' /C calc'!A0 \x1b[2J", "[a]_b%&#{}$^~\\", "*x* ?` -- '' \"q\" ½ Ł ą 音 <b>")


def _tables(chosen, prefix=""):
    measured = list(map(published.measure, chosen))
    evaluations, names = [s.seeds[0] for s in chosen], [s.name for s in chosen]
    several = len(chosen) > 1 and measured[0]["num_seeds"] == 1
    describe = compare.compare if several else compare.describe_part
    section = describe(evaluations, names)
    return latex.tables(chosen, measured, section, prefix=prefix), measured, section


def _rows(text):
    body = text.split(r"\midrule", 1)[1].split(r"\bottomrule")[0].replace(r"\midrule", "")
    return [
        [cell.strip() for cell in re.split(r"(?<!\\)&", line)]
        for line in re.findall(r"^ +(.*) \\\\$", body, re.MULTILINE)
    ]


def test_tables_have_accuracy_interval_n_protocol_and_p_after_holm():
    chosen = [systems.system(n, share=s) for n, s in (("a", 0.95), ("b", 0.7), ("c", 0.2))]
    tables, measured, section = _tables(chosen)
    assert list(tables) == ["systems", "pairs", "classes_0", "classes_1", "classes_2", "f1"]
    text = tables["systems"]
    low, high = (100 * end for end in measured[0]["ci95"])
    row = _rows(text)[0]
    assert row[:2] == ["a", f"{100 * measured[0]['accuracy']:.1f} [{low:.1f}, {high:.1f}]"]
    assert row[-1] == latex.NONE
    assert _rows(text)[2][-1] == latex._p(section["pairs"][1]["p_holm"])
    assert "($n = 30$, 10 artists, protocol: listed)" in text
    assert r"Brackets: 95\,\% intervals by artist, Wilson's at the effective number" in text
    assert "exact sign-flip test by artist, after Holm's correction over 3 pairs" in text
    assert [row[0] for row in _rows(tables["pairs"])] == [
        "b against a", "c against a", "c against b"
    ]  # fmt: skip
    (*classes, mean) = _rows(tables["classes_1"])
    assert len(classes) == 3 and [row[-1] for row in classes] == ["12", "9", "9"]
    assert mean[0] == "mean" and mean[-1] == "30"
    assert "Those of a class of fewer than 6 artists are a rough guide." in tables["classes_1"]
    assert len(_rows(tables["f1"])[0]) == 4


def test_tables_name_protocols_and_groups_that_differ():
    chosen = [systems.system("a"), systems.system("b", protocol="holdout", per_artist=1)]
    text = _tables(chosen)[0]["systems"]
    assert [row[1] for row in _rows(text)] == ["listed", "holdout"]
    assert [row[3] for row in _rows(text)] == ["artist", "track"]
    assert "by artist or track, Wilson's at the effective number of tracks where artists" in text
    assert "protocol: listed, holdout" in text and "The runs have different protocols" in text


def test_tables_say_what_makes_a_number_less_than_it_seems():
    few = _tables([systems.system(n=12)])[0]["systems"]
    assert "of so few artists a rough guide" in few
    alone = _tables([systems.system(per_artist=30)])[0]["systems"]
    assert "No interval: all tracks are of one artist." in alone and "[" not in _rows(alone)[0][1]
    train = _tables([systems.system(part="train")])[0]["systems"]
    assert "learned from these tracks" in train
    leaky = _tables([systems.system(shared_artists=["x"])])[0]["systems"]
    assert "Artists or recordings are on both sides" in leaky
    seeds = _tables([systems.system("a", seeds=(0, 1)), systems.system("b", seeds=(2, 3))])[0]
    assert "pairs" not in seeds and "means of 2 trainings" in seeds["systems"]
    assert "by artist and seed" in seeds["systems"] and "not tested" in seeds["systems"]


def test_leakage_has_both_protocols_and_the_gap():
    protocol = {"accuracy": 0.9, "ci95": [0.8, 0.95]}
    report = {
        "data": "a_b", "grouped_by": "artist", "num_seeds": 3, "num_folds": 5,
        "protocols": {"kfold": protocol, "artist_kfold": protocol | {"accuracy": 0.8}},
        "leakage_gap": {"gap": 0.1, "ci95": [0.05, 0.2], "n": 240, "num_groups": 120},
    }  # fmt: skip
    text = latex.leakage([("x_y", report)])
    assert _rows(text) == [
        [r"x\_y", "90.0 [80.0, 95.0]", "80.0 [80.0, 95.0]", r"$+10.0\ [+5.0, +20.0]$"]
    ]
    assert r"a\_b by protocol ($n = 240$, 120 artists, 5 folds, 3 seeds)" in text


def _hostile():
    labels = ("a_b", *HOSTILE[1:])
    return [
        systems.system(name, share=0.3 * i + 0.3, labels=labels, protocol="artist_kfold")
        for i, name in enumerate(HOSTILE)
    ]


def test_tables_escape_every_name():
    for text in _tables(_hostile())[0].values():
        lines = text.split("\n")
        assert "\x1b" not in text
        unescaped = re.sub(r"\\[\\{}$&#%_]", "", text)
        assert unescaped.count("{") == unescaped.count("}")
        assert unescaped.count("$") % 2 == 0
        head = next(line for line in lines if line.endswith(r" \\"))
        width = len(re.split(r"(?<!\\)&", head))
        assert {len(row) for row in _rows(text)} == {width}
        assert not re.search(r"^ *[\[*]", text, re.MULTILINE)
        assert unescaped.count("#") in (0, 4)  # The definition of `othertext`.
        assert all("%" not in re.sub(r"\\%", "", line) for line in lines if line[:1] != "%")


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("pdflatex"), reason="needs TeX with booktabs")
def test_tables_methods_and_references_compile(tmp_path):
    chosen = _hostile()
    tables, measured, section = _tables(chosen)
    tables["methods"] = latex.with_othertext([references.methods([chosen], [measured], [section])])
    (tmp_path / "references.bib").write_text(references.to_bibtex(tables["methods"]), "utf-8")
    for name, text in tables.items():
        (tmp_path / f"{name}.tex").write_text(text, "utf-8")
    inputs = "\n".join(rf"\input{{{name}}}" for name in tables)
    (tmp_path / "a.tex").write_text(
        "\\documentclass{article}\n\\usepackage{booktabs}\n\\begin{document}\n"
        f"{inputs}\n\\listoftables\n\\bibliographystyle{{plain}}\n\\bibliography{{references}}\n"
        "\\end{document}\n"
    )
    latex_run = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "a"]
    for command in (latex_run, ["bibtex", "a"], latex_run, latex_run):
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False)
        assert not done.returncode, done.stdout.decode(errors="replace")[-2000:]
        if command[0] == "bibtex":
            assert b"Warning" not in done.stdout and b"error" not in done.stdout
    assert b"undefined" not in done.stdout and b"multiply defined" not in done.stdout
