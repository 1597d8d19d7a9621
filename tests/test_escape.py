"""Names of others in every output: terminal, CSV, Markdown, HTML, card, page, bundle."""

import csv
import dataclasses
import io
import json
import re
import shutil
import sys
import types

import numpy as np
import pytest

from experiments.webpage import answer
from mgr_jax import config as config_lib
from mgr_jax import escape, files, workdir
from mgr_jax.data import catalog, dataset, split_file
from mgr_jax.errors import UserError
from mgr_jax.evaluation import audit, compare
from mgr_jax.evaluation.reports import audit_text, compare_text, overview, plots, timeline, wording
from mgr_jax.export import bundle, card, run_exported
from tests.evaluation.reports import evaluated
from tests.experiments import commands
from tests.experiments.webpage import test_texts
from tests.experiments.webpage.test_texts import prediction
from tests.export import test_bundle, trained

# A link, an image, HTML, a cell, a formula, mathematics, escapes of a terminal, reversed text.
HOSTILE = (
    "=cmd|' /C calc'!A0 \x1b[2J\x07",
    "<img src=x onerror=alert(1)> $\\frac$ {{7*7}}",
    "[a](http://b) ![c](d) `e` *f* _g_ h|i\nj \u202ek\x9b31m",
)
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2028\u2029]")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Sigur Rós: Ágætis byrjun", None),
        ("", None),
        ("👩\u200d🎤 音楽 \u0645\u200c\u0646", None),
        ("a\x1b[31mb", r"a\x1b[31mb"),
        ("a\nb\r\tc", r"a\nb\r\tc"),
        ("a\x9bb\u2028c", r"a\x9bb\u2028c"),
        ("a\u202eb\u2066", r"a\u202eb\u2066"),
        ("rock\u200b", r"rock\u200b"),
        ("\udce9t\udce9", r"\udce9t\udce9"),
    ],
)
def test_printable_escapes_what_controls_a_terminal(text, shown):
    assert escape.printable(text) == (text if shown is None else shown)


@pytest.mark.parametrize(
    "text", ["=1+1", "+a", "-a", "@a", "\t=1", " =1", "'=1", "\uff1d1", "''-x", "=-1"]
)
def test_spreadsheet_cell_is_no_formula_and_can_be_restored(text):
    cell = escape.spreadsheet_cell(text)
    assert cell == f"'{text}" and escape.restore_cell(cell) == text


@pytest.mark.parametrize(
    "value", ["-1", "+.5", "-2.5e-3", "-inf", "nan", "rock", "'n' roll", "", -1, None]
)
def test_spreadsheet_cell_leaves_numbers_and_other_text(value):
    assert escape.spreadsheet_cell(value) == value
    assert not isinstance(value, str) or escape.restore_cell(value) == value


def test_markdown_shows_names_and_numbers_as_they_are():
    for text in ("R&B", "my_song_2", "65.0 % [52.4, 75.8] (n = 60)", "drum & bass", "macro avg"):
        assert escape.markdown(text) == text
    assert escape.markdown("a|b <i> &lt; _x_ [y](z)") == r"a\|b &lt;i&gt; &amp;lt; \_x\_ [y\](z)"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("R&B_soul 50 % #1", r"R\&B\_soul 50 \% \#1"),
        (r"$\frac$ {x} ~^", r"\$\textbackslash{}frac\$ \{x\} \textasciitilde{}\textasciicircum{}"),
        ("[a] *b*", "{[}a{]} {*}b{*}"),
        ("a -- b '' ?`", "a -{}- b '{}' ?{}`"),
        ("Sigur R\u00f3s, Dvor\u030c\xe1k, \u0141\xf3d\u017a", "Sigur Rós, Dvořák, Łódź"),
        ("\u0105 \u97f3 \ufb01", r"\othertext{ą}{a} \othertext{音}{U+97F3} \othertext{ﬁ}{fi}"),
        ("a\x1b[2J\nb", r"a\textbackslash{}x1b{[}2J\textbackslash{}nb"),
    ],
)
def test_latex_shows_names_as_they_are(text, shown):
    assert escape.latex(text) == shown


@pytest.fixture(name="data", scope="module")
def _data():
    """The data set of `evaluated`, with hostile labels, ids and artists."""
    tracks = [catalog.Track(f"{label}0", "", label) for label in HOSTILE]
    return evaluated.make_dataset(labels=catalog.from_tracks("folder", tracks, {}).labels)


@pytest.fixture(name="run", scope="module")
def _run(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("hostile") / "run"
    return workdir.create(str(path), config_lib.Config(), data.catalog, data.split)


@pytest.fixture(name="report", scope="module")
def _report(run, data):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plots, "_save", lambda figure, path: path.write_bytes(b"a picture"))
        return evaluated.write(run, data)[0]


def _shows_no_markup(page):
    """Return whether neither HTML nor a link of a hostile name is left in a Markdown page."""
    return not re.search(r"<img src=x|(?<!\\)\]\(http|(?<!\\)`e`", page)


def test_names_are_data_in_every_file_of_a_report(run, data, report):
    folder = run.path / "eval" / "test"
    texts = {path.name: path.read_text() for path in folder.iterdir() if path.suffix != ".png"}
    assert texts.keys() == {
        "predictions.csv", "tracks.csv", "report.md", "report.html", "report.json"
    }  # fmt: skip
    assert not [name for name, text in texts.items() if CONTROL.search(text)]
    assert "<img src=x" not in texts["report.html"]
    assert _shows_no_markup(texts["report.md"])
    tables = [line for line in texts["report.md"].splitlines() if line.startswith("|")]
    assert {line.replace(r"\|", "").count("|") for line in tables} == {3, 4, 6, 7}
    for name in ("predictions.csv", "tracks.csv"):
        cells = [cell for row in csv.reader(io.StringIO(texts[name])) for cell in row]
        assert not [cell for cell in cells if cell[:1] in "=+-@" and cell]
    # Read again, they are the names of the data.
    assert set(compare.read(str(run.path), "test").ids) == set(data.split.test)
    assert {row["track_id"] for row in files.read_csv(folder / "tracks.csv")} == set(
        data.split.test
    )
    assert json.loads(texts["report.json"])["labels"] == list(data.catalog.labels)


def test_names_are_data_in_a_terminal(data, report, monkeypatch):
    predict = commands.load("predict")
    for flag, value in (("_TIMELINE", False), ("_TOP_K", 0), ("_COVERAGE", None)):
        monkeypatch.setattr(predict, flag, types.SimpleNamespace(value=value))
    shown = dataclasses.replace(prediction(), note=HOSTILE[0], cautions=HOSTILE[1:])
    predictor = test_texts.predictor()
    lines = [dataset.describe(data), wording.to_text(report)]
    for to_lines in (predict._table, predict._csv, predict._json):
        lines += to_lines(HOSTILE[2], shown, predictor, None)
    (row,) = csv.reader(predict._csv(HOSTILE[2], shown, predictor, None))
    assert row[-2] == "'" + "; ".join(map(escape.printable, HOSTILE)) and not row[-1]
    lines += predict._csv(HOSTILE[2], ValueError(HOSTILE[0]), predictor, None)
    assert not CONTROL.search("\n".join(lines))


def test_names_are_data_in_the_card_the_page_and_the_picture_over_time(data, tmp_path):
    labels = data.catalog.labels
    system = trained.make_system()
    row = system.report["per_class"]["blues"]
    own = system.report | {"per_class": dict.fromkeys(labels, row)}
    text = card.make_card(dataclasses.replace(system, labels=labels, report=own), name=HOSTILE[2])
    assert _shows_no_markup(text.partition("---\n\n")[2]) and not CONTROL.search(text)
    page = test_texts.song(prediction()) + answer.error(*HOSTILE[:2]) + answer.waiting(HOSTILE)
    assert "<img src=x" not in page and not CONTROL.search(page)
    timeline.draw(tmp_path / "a.png", prediction(), ("$\\frac$", "$x^"), title=HOSTILE[1])


def test_names_are_data_in_the_split_and_the_audit(run, data):
    cells = [row[0] for row in csv.reader((run.path / "split.csv").read_text().splitlines())]
    assert not [cell for cell in cells if cell[:1] in "=+-@"]
    assignment = split_file.of_split(data.split)
    findings = audit.audit(data.catalog, assignment, unreadable={HOSTILE[0]: HOSTILE[2]})
    assert not CONTROL.search(audit_text.to_text(findings | {"data": "folder"}))


def test_names_of_folders_are_data_in_an_overview_and_a_comparison(
    tmp_path, data, report, run, monkeypatch
):
    monkeypatch.setattr(plots, "_save", lambda figure, path: path.write_bytes(b"a picture"))
    folders = [tmp_path / name.replace("/", " ") for name in HOSTILE]
    for folder in folders:
        shutil.copytree(run.path, folder)
    paths = [str(folder) for folder in folders]
    (section,) = overview.write_overview(paths, "test", str(tmp_path / "out"))
    texts = {path.suffix: path.read_text() for path in (tmp_path / "out").glob("comparison.*")}
    texts["terminal"] = overview.to_text(section) + compare_text.to_text(section)
    assert len(texts) == 4 and not [name for name, text in texts.items() if CONTROL.search(text)]
    assert "<img src=x" not in texts[".html"] and _shows_no_markup(texts[".md"])


def test_names_are_data_in_an_exported_model(monkeypatch, capsys):
    facts = {"sample_rate": 8000, "window_samples": 4000, "labels": HOSTILE}
    facts |= {
        "sets": {"0.9": [-2.0] * 3},
        "inputs": ["waveform"],
        "config": {"features": {"n_fft": 256}},
    }
    model = facts, lambda waveform: np.full((1, 3), 1 / 3)
    decode = lambda path, sample_rate: (trained.noise(4000), HOSTILE[2])  # noqa: E731
    decoding = types.SimpleNamespace(audio=types.SimpleNamespace(decode=decode, AudioError=OSError))
    monkeypatch.setitem(sys.modules, "decoding", decoding)
    monkeypatch.setattr(run_exported, "load_model", lambda: model)
    assert run_exported.main(HOSTILE[0]) == 0
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 4 and len(err.splitlines()) == 1
    assert not CONTROL.search(out + err)


@pytest.mark.parametrize("label", [HOSTILE[2], "a\x1b[2J", " a", "a\u202e"])
def test_bundle_refuses_labels_that_control_a_terminal(tmp_path, label):
    path = tmp_path / "m"
    bundle.write(path, trained.make_system())
    test_bundle._rewrite(path, lambda contract, _: contract["labels"].__setitem__(0, label))
    with pytest.raises(UserError, match="a label has control characters"):
        bundle.read(path)
