"""Methods and references: exactly those of the systems and of the statistics."""

import dataclasses
import pathlib
import re

import pytest

from mgr_jax import config as config_lib
from mgr_jax.config_sections import MODEL_NAMES, OPTIMIZERS
from mgr_jax.data import gtzan
from mgr_jax.evaluation import compare
from mgr_jax.evaluation.reports import published, references
from mgr_jax.version import VERSION
from tests.evaluation.reports import systems

ROOT = pathlib.Path(__file__).parents[3]


def _methods(*chosen):
    measured = list(map(published.measure, chosen))
    evaluations, names = [s.seeds[0] for s in chosen], [s.name for s in chosen]
    describe = compare.compare if len(chosen) > 1 else compare.describe_part
    return references.methods([chosen], [measured], [describe(evaluations, names)])


def _keys(text):
    return set(re.findall(r"^@\w+\{(\w+),", references.to_bibtex(text), re.MULTILINE))


def _config(**fields):
    config = config_lib.Config()
    for name, value in fields.items():
        section, field = name.split("__")
        setattr(getattr(config, section), field, value)
    return config


def test_methods_of_a_classical_system_cite_what_it_uses():
    config = _config(model__name="svm", features__kind="mfcc_stats")
    assert _keys(_methods(systems.system(config=config, per_artist=1))) == {
        "mgrjax", "jax2018", "cortes1995svm", "chang2011libsvm", "pedregosa2011sklearn",
        "davis1980mfcc", "mcfee2015librosa", "flexer2007artist", "wilson1927",
    }  # fmt: skip


def test_methods_of_a_network_cite_its_training():
    keys = _keys(_methods(systems.system(config=_config(model__name="bbnn"))))
    assert {"liu2021bbnn", "kingma2015adam", "ioffe2015batchnorm", "flax2020"} <= keys
    assert not {"srivastava2014dropout", "zhang2018mixup", "loshchilov2017sgdr"} & keys
    config = _config(
        model__name="rnn", model__cell="gru", optim__schedule="cosine", train__mixup_alpha=0.2,
        optim__label_smoothing=0.1, optim__name="adamw", features__kind="logmel",
        augment__gain=6.0, augment__crop=10.0,
    )  # fmt: skip
    text = _methods(systems.system(config=config))
    assert "random deformations of the training audio (crop, gain)" in text
    keys = _keys(text)
    assert {
        "cho2014gru", "loshchilov2017sgdr", "zhang2018mixup", "szegedy2016smoothing",
        "loshchilov2019adamw", "srivastava2014dropout",
    } <= keys  # fmt: skip
    assert not {"liu2021bbnn", "kingma2015adam", "davis1980mfcc"} & keys


def test_methods_cite_the_statistics_that_are_used():
    alone, several = (_methods(*(systems.system(n) for n in names)) for names in ("a", "abc"))
    assert {"wilson1927", "korn1998", "kish1965", "mackinnon2023jackknife"} <= _keys(alone)
    assert not {"holm1979", "mcnemar1947", "cameron2011multiway"} & _keys(alone)
    assert {"holm1979", "mcnemar1947"} <= _keys(several)
    two = _keys(
        _methods(*(systems.system(n, per_artist=1, seeds=(i,)) for i, n in enumerate("ab")))
    )
    assert {"mcnemar1947", "fagerland2013midp", "agresti2005"} <= two and "holm1979" not in two
    assert "korn1998" not in two
    seeds = _keys(_methods(systems.system(seeds=(0, 1))))
    assert {"cameron2011multiway", "cochran1964"} <= seeds


def test_methods_cite_data_and_protocol():
    text = _methods(systems.system(data="fma", shared_artists=["x"], protocol="kfold"))
    assert "defferrard2017fma" in _keys(text) and "flexer2007artist" not in _keys(text)
    assert "With the protocol kfold, artists are on both sides of a split." in text
    evaluation = systems.evaluation(protocol="fault_filtered")
    ids = tuple(sorted(gtzan.facts())[:30])
    gtzan_run = published.System("a", (dataclasses.replace(evaluation, ids=ids, groups=ids),))
    keys = _keys(_methods(gtzan_run))
    assert {"tzanetakis2002gtzan", "sturm2013gtzan", "kereliuk2015adversaries"} <= keys


def test_methods_of_a_report_without_a_readable_config_name_the_system():
    for provenance in ({}, {"config": {"data": {"unknown": 1}}}):
        text = _methods(systems.system("x", system="a_b", provenance=provenance))
        assert r"x: a\_b." in text


@pytest.mark.parametrize("name", [*MODEL_NAMES, *OPTIMIZERS])
def test_methods_know_every_model_and_optimizer(name):
    field = "optim__name" if name in OPTIMIZERS else "model__name"
    assert _methods(systems.system(config=_config(**{field: name})))


def test_references_are_complete_and_each_is_cited():
    text = references._FILE.read_text("utf-8")
    keys = [match[1] for match in references._ENTRY.finditer(text)]
    assert len(set(keys)) == len(keys) == text.count("\n@") + 1
    source = pathlib.Path(references.__file__).read_text("utf-8")
    cited = {
        key for group in re.findall(r"\\cite\{+([\w,]+)\}", source) for key in group.split(",")
    }
    assert cited == set(keys)
    for match in references._ENTRY.finditer(text):
        entry = match[0]
        assert entry.isascii() and entry.count("{") == entry.count("}")
        fields = dict(re.findall(r"^  (\w+) = \{(.*)\},$", entry, re.MULTILINE))
        assert {"author", "title"} <= fields.keys()
        assert re.fullmatch(r"(18|19|20)\d\d", fields.get("year", "2000"))
        assert re.fullmatch(r"10\.\d{4,}/\S+", fields.get("doi", "10.1000/x"))


def test_references_cite_this_project_as_its_citation_file_does():
    text = (ROOT / "CITATION.cff").read_text("utf-8")
    plain = re.sub(r"[{}\\]", "", references.to_bibtex(r"\cite{mgrjax}"))
    title, author = (re.search(rf'{field}: "?(.*?)"?\n', text)[1] for field in ("title", "- name"))
    assert f"title = {title}," in plain and f"author = {author}," in plain
    assert VERSION in plain
