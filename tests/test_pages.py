"""The pages state each accuracy with n, interval and protocol, and agree with what is stored."""

import ast
import functools
import pathlib
import re

import pytest
from scipy import stats as scipy_stats

from experiments import gtzan_text
from mgr_jax.pretrained import gtzan
from tests.experiments import commands

ROOT = pathlib.Path(__file__).parents[1]
RESULTS = ROOT / "experiments" / "results"
PAGES = [
    *(ROOT / name for name in ("README.md", "experiments/README.md", "launch/README.md")),
    *sorted([*RESULTS.glob("*.md"), *(ROOT / "mgr_jax").rglob("README.md")]),
]
CONFIGS = sorted((ROOT / "experiments/configs").glob("[a-z]*.py"))
PROTOCOL = r"(?:listed|holdout|kfold|artist_kfold|fault_filtered)"
INTERVAL = r"\[(\d+\.\d), (\d+\.\d)\]"
SHARE = re.compile(rf"(\d+\.\d) % {INTERVAL}")
# As `stats.describe` writes it; where no artist repeats, there is Wilson's interval alone.
DESCRIBED = re.compile(
    rf"{SHARE.pattern} (by (?:artist|recording)(?: and seed)? )?"
    rf"\(n = (\d+)(?:, \d+ \w+)?, {PROTOCOL}"
    rf"(?:; Wilson by track {INTERVAL})?\)"
)
# Percentages beside accuracies that are none themselves.
OTHERS = (
    r"95 % (?:intervals?|Wilson)|(?:interval|Intervals) of 95 %",
    r"power of \d+ %|chance \d+ %|mean confidence \d+\.\d %|waited \d\.\d %",
    # The card of the GTZAN model: the share of synthesised speech that is marked.
    r"\d+ % (?:are marked|in a hall)|of 10 s only 17 %",
)
HOLM = re.compile(r"by artist ([\d.e-]+), after Holm ([\d.e-]+)")


@functools.cache
def blocks(page):
    """Return the paragraphs, each in one line, and the tables, each as a list of rows of cells."""
    parts = []
    for block in re.split(r"\n\s*\n", page.read_text("utf-8")):
        if block.startswith("|"):
            rows = [re.split(r"(?<!\\)\|", row)[1:-1] for row in block.strip().split("\n")]
            parts.append([[cell.strip() for cell in row] for row in rows])
        else:
            parts.append(" ".join(block.split()))
    return parts


def text_of(page):
    return " ".join(page.read_text("utf-8").split())


def tables(page):
    return [block for block in blocks(page) if isinstance(block, list)]


def each(paths):
    ids = [path.relative_to(ROOT).as_posix() for path in paths]
    return pytest.mark.parametrize("path", paths, ids=ids)


def unexplained(text):
    """Return the percentages that have no interval and are not among `OTHERS`."""
    for pattern in (SHARE.pattern, *OTHERS):
        text = re.sub(pattern, "", text)
    return re.findall(r"\d+(?:\.\d+)? %", text)


def is_stated(text, around):
    """Return whether a text with shares has n and protocol, or stands among them."""
    named = re.search(r"n = \d+", around) and re.search(PROTOCOL, around)
    return not SHARE.search(DESCRIBED.sub("", text)) or bool(named)


def faults(block, caption):
    """Yield the accuracies of a paragraph or table that lack their n, interval or protocol."""
    if isinstance(block, str):
        if re.search(r"accurac|scored", block):
            yield from unexplained(block)
        if not is_stated(block, block):
            yield block
        return
    header, _, *rows = block
    for row in rows:
        for title, cell in zip(header, row, strict=True):
            if "accuracy" in title and cell and not SHARE.search(cell):
                yield cell
            if not is_stated(cell, caption + " ".join(header)):
                yield cell


@each(PAGES)
def test_accuracies_of_the_pages_have_n_interval_and_protocol(path):
    captions = ["", *(block if isinstance(block, str) else "" for block in blocks(path))]
    pairs = zip(blocks(path), captions, strict=False)
    assert not [fault for block, caption in pairs for fault in faults(block, caption)]


@pytest.mark.parametrize(
    ("block", "caption"),
    [
        ("it has an accuracy of 67.4 %", ""),
        ("it scored 67 % on n = 60 tracks, listed", ""),
        ("67.4 % [59.4, 74.6] by artist (n = 639)", ""),
        ("67.4 % [59.4, 74.6] (artist_kfold)", ""),
        ([["system", "accuracy"], ["---"] * 2, ["cnn", "67.4 %"]], "n = 639, artist_kfold"),
        ([["system", "share"], ["---"] * 2, ["cnn", "67.4 % [59.4, 74.6]"]], "n = 639"),
    ],
)
def test_faults_finds_what_is_missing(block, caption):
    assert list(faults(block, caption))


def test_intervals_of_the_pages_belong_to_their_counts():
    seen = [match for page in PAGES for match in DESCRIBED.finditer(text_of(page))]
    assert len(seen) > 30
    for match in seen:
        share, low, high, by_artist, n, *printed = match.groups()
        right = round(float(share) * int(n) / 100)
        assert f"{100 * right / int(n):.1f}" == share, match[0]
        ends = scipy_stats.binomtest(right, int(n)).proportion_ci(method="wilson")
        wilson = [f"{100 * end:.1f}" for end in ends]
        assert (printed if all(printed) or by_artist else [low, high]) in (wilson, [None] * 2)
        # Tracks of one artist are alike: the interval is that of fewer tracks.
        assert float(low) <= float(wilson[0]) < float(wilson[1]) <= float(high), match[0]


def test_p_values_after_holm_belong_to_those_before():
    """Holm (1979): the k-th smallest of m times m - k + 1, not below the one before it."""
    columns = [
        column for page in PAGES for table in tables(page) for column in zip(*table, strict=True)
    ]
    pairs = [[tuple(map(float, p)) for p in HOLM.findall(" ".join(column))] for column in columns]
    pairs = [sorted(column) for column in pairs if column]
    assert len(pairs) >= 3
    for column in pairs:
        least = 0.0
        for k, (p, adjusted) in enumerate(column):
            least = max(least, min(1.0, p * (len(column) - k)))
            assert adjusted == pytest.approx(least, rel=0.06), column


def test_card_of_the_gtzan_model_is_that_of_its_figures():
    assert (gtzan.FOLDER / "README.md").read_text("utf-8") == gtzan_text.to_card(gtzan.load())


def test_pages_have_the_figures_of_the_gtzan_model():
    facts = gtzan.load().facts
    (accuracy,) = DESCRIBED.finditer(gtzan_text.to_card(gtzan.load()))
    assert accuracy[0] in text_of(ROOT / "README.md")
    page = RESULTS / "gtzan_pretrained.md"
    rows = {row[0]: row[1:] for table in reversed(tables(page)) for row in table}
    model = rows[gtzan_text.SYSTEMS["both"]]
    assert model[:2] == [accuracy[0], ", ".join(map(str, facts["num_correct_other_folds"]))]
    assert rows["30 s"][0] == accuracy[0]
    for name, share in facts["held_out_accuracy"].items():
        assert rows[name] == [str(round(share * facts["n"]))]
    error = gtzan_text.calibration_error.describe(facts["calibration_error"])
    assert error in text_of(page) and error.startswith(rows["30 s"][3])


def test_page_of_the_rivals_has_the_table_of_its_command():
    arrays = commands.load("arrays")
    page = RESULTS / "gtzan_arrays.md"
    of_rivals = [table for table in tables(page) if table[0][-1] == "against logistic regression"]
    made_by = re.findall(r"-m experiments\.arrays (.*)", page.read_text("utf-8"))
    for (header, _, *rows), command in zip(of_rivals, made_by, strict=True):
        named = re.findall(r"--systems=(\S+)", command)
        systems = arrays.expand(named[0].split(",") if named else [])
        if "networks" in command:
            systems += ["network", "networks"] + ["member"] * ("" in systems)
        correct = {name: {"a": True, "b": False} for name in systems}
        printed = arrays.to_table(correct, {"a": "x", "b": "y"})
        assert [cell.strip() for cell in printed.split("\n")[0].split("|")[1:-1]] == header
        assert sorted(row[0] for row in rows) == sorted(arrays.NAMES[name] for name in systems)
        rivals = f"Holm's correction over {len(systems) - 1} systems."
        assert rivals in printed and rivals in text_of(page)
        for column in (-1, -2):
            assert len(HOLM.findall(" ".join(row[column] for row in rows))) == len(rows) - 1


def test_readme_repeats_the_figures_of_the_results():
    measured = " ".join(map(text_of, RESULTS.glob("*.md")))
    figures = [match[0] for match in SHARE.finditer(text_of(ROOT / "README.md"))]
    assert len(figures) > 8 and not [figure for figure in figures if figure not in measured]
    (rivals,) = [block for block in blocks(ROOT / "README.md") if "gtzan_arrays.md" in block]
    page = text_of(RESULTS / "gtzan_arrays.md")
    numbers = re.findall(r"\d+\.\d+|\d+e-\d+", rivals)
    assert len(numbers) > 6 and not [number for number in numbers if number not in page]


@each(CONFIGS)
def test_docstrings_of_the_configs_repeat_the_figures_of_the_page_that_they_name(path):
    text = " ".join(ast.get_docstring(ast.parse(path.read_text("utf-8"))).split())
    figures = [match[0] for match in SHARE.finditer(text)]
    if not figures:
        return
    named = [ROOT / page for page in re.findall(r"experiments/results/\w+\.md", text)]
    if "the README" in text:
        named.append(ROOT / "README.md")
    measured = " ".join(text_of(page) for page in named if page.exists())
    assert not [figure for figure in figures if figure not in measured]
    assert is_stated(figures[0], text)
    for n, protocol in re.findall(rf"n = (\d+), ({PROTOCOL})", text):
        assert f"n = {n}" in measured and protocol in measured
