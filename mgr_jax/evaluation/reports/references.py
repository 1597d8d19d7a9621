r"""The methods of systems and statistics, as sentences of a paper with `\cite`, and BibTeX.

`references.bib` has every entry; `to_bibtex` chooses those that a text cites.
"""

import pathlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mgr_jax import config as config_lib
from mgr_jax.config_sections import has_batch_norm
from mgr_jax.errors import UserError
from mgr_jax.escape import latex
from mgr_jax.evaluation.reports import published
from mgr_jax.plural import plural
from mgr_jax.version import VERSION

_FILE = pathlib.Path(__file__).with_name("references.bib")
_CITED = re.compile(r"\\cite\{([^}]*)\}")
_ENTRY = re.compile(r"^@\w+\{([\w-]+),\n.*?^\}\n", re.MULTILINE | re.DOTALL)

_MODELS = {
    "bbnn": r"the bottom-up broadcast network~\cite{liu2021bbnn}",
    "cnn": "a convolutional network",
    "cnn_lstm": r"a convolutional network with an LSTM~\cite{hochreiter1997lstm}",
    "logistic": r"logistic regression, fitted by L-BFGS~\cite{nocedal1980lbfgs}",
    "svm": r"a support vector machine~\cite{cortes1995svm,chang2011libsvm,pedregosa2011sklearn}",
    "lda": r"linear discriminant analysis with shrunk covariances~\cite{ledoit2004shrinkage}",
    "ensemble": r"a stacked ensemble~\cite{breiman1996stacked,vanderlaan2007superlearner}",
}
_CELLS = {
    "simple": r"a recurrent network~\cite{elman1990}",
    "gru": r"a network of gated recurrent units~\cite{cho2014gru}",
    "lstm": r"an LSTM network~\cite{hochreiter1997lstm}",
}
_OPTIMIZERS = {
    "adam": r"Adam~\cite{kingma2015adam}",
    "adamw": r"AdamW~\cite{loshchilov2019adamw}",
    "nadam": r"NAdam~\cite{dozat2016nadam}",
    "sgd": "stochastic gradient descent",
    "rmsprop": "RMSprop",
    "adagrad": r"Adagrad~\cite{duchi2011adagrad}",
    "adafactor": r"Adafactor~\cite{shazeer2018adafactor}",
    "lamb": r"LAMB~\cite{you2020lamb}",
    "lion": r"Lion~\cite{chen2023lion}",
}
_DATA = {
    "fma": r"The data are FMA~\cite{defferrard2017fma}.",
    "ballroom": r"The data are the Ballroom set~\cite{gouyon2006ballroom}.",
    "extended_ballroom": r"The data are the Extended Ballroom set~\cite{marchand2016ballroom}.",
}
_LIBROSA = ("logmel", "mel_image", "mfcc", "mfcc_stats", "flattened")


def methods(
    sections: Sequence[Sequence[published.System]],
    measured: Sequence[Sequence[Mapping[str, Any]]],
    compared: Sequence[Mapping[str, Any]],
) -> str:
    """Return paragraphs on the systems, the data and the statistics, as LaTeX.

    Args:
      sections: the systems of each test set, see `published.sections`.
      measured: `published.measure` of each.
      compared: the result of `compare.compare` or `describe_part` for each test set.
    """
    systems = [system for section in sections for system in section]
    values = [row for rows in measured for row in rows]
    pairs = [pair for section in compared for pair in section["pairs"]]
    configs = [config for system in systems if (config := _config(system))]
    software = r"\texttt{mgr\_jax}~\cite{mgrjax} on JAX~\cite{jax2018}"
    if any(config.model.name in config_lib.NETWORKS for config in configs):
        software += r", Flax~\cite{flax2020} and Optax~\cite{optax2020}"
    names_of: dict[str, list[str]] = {}
    for system in systems:
        names_of.setdefault(", ".join(_describe(system)), []).append(latex(system.name))
    parts = [
        f"All systems were trained and evaluated with {software}.",
        *(f"{'; '.join(names)}: {text}." for text, names in names_of.items()),
    ]
    data = list(dict.fromkeys(sentence for system in systems for sentence in _data(system)))
    return "\n\n".join(
        "\n".join(lines)
        for lines in (parts, data, [*_intervals(values), *_tests(pairs, compared)])
        if lines
    )


def to_bibtex(text: str) -> str:
    r"""Return the BibTeX entries that the `\cite` of `text` name, in their order."""
    cited = [key for keys in _CITED.findall(text) for key in keys.split(",")]
    entries = {match[1]: match[0] for match in _ENTRY.finditer(_FILE.read_text("utf-8"))}
    chosen = [entries[key] for key in dict.fromkeys(cited)]
    return "\n".join(chosen).replace("VERSION", VERSION)


def _config(system: published.System) -> config_lib.Config | None:
    """Return the config of a system; None if it is not known, or has fields of another version."""
    try:
        return config_lib.from_json(dict(system.config)) if system.config else None
    except UserError:
        return None


def _describe(system: published.System) -> Iterator[str]:
    """Yield the methods of a system, each with its citation."""
    config = _config(system)
    if config is None:
        yield latex(system.report["system"])
        return
    model, features, optim = config.model, config.features, config.optim
    yield _CELLS[model.cell] if model.name == "rnn" else _MODELS[model.name]
    if features.kind in ("mfcc", "mfcc_stats") or features.cepstrum:
        yield r"on mel-frequency cepstral coefficients~\cite{davis1980mfcc}"
    if features.kind in _LIBROSA:
        yield r"features as librosa computes them~\cite{mcfee2015librosa}"
    if features.kind == "musicnn":
        yield r"on the embedding of MusiCNN~\cite{pons2019musicnn}"
    if model.name not in config_lib.NETWORKS:
        return
    if has_batch_norm(model):
        yield r"batch normalisation~\cite{ioffe2015batchnorm}"
    if model.dropout and model.name != "bbnn":
        yield r"dropout~\cite{srivastava2014dropout}"
    yield f"trained by {_OPTIMIZERS[optim.name]}"
    if optim.schedule == "cosine":
        yield r"a cosine schedule~\cite{loshchilov2017sgdr}"
    if optim.label_smoothing:
        yield r"label smoothing~\cite{szegedy2016smoothing}"
    if config.train.mixup_alpha:
        yield r"mixup~\cite{zhang2018mixup}"
    deformations = vars(config.augment).items()
    names = [name for name, strength in deformations if strength and name != "probability"]
    if names:
        yield f"random deformations of the training audio ({', '.join(names)})"


def _data(system: published.System) -> Iterator[str]:
    """Yield the sentences on a data set and its protocol."""
    if published.is_gtzan(system):
        yield (
            r"The data are GTZAN~\cite{tzanetakis2002gtzan}, whose repetitions, wrong labels and"
            r" distortions are known~\cite{sturm2013gtzan}."
        )
    elif system.report["data"] in _DATA:
        yield _DATA[system.report["data"]]
    if system.report["protocol"] == "fault_filtered":
        yield r"The split is the fault-filtered one of~\cite{kereliuk2015adversaries}."
    protocol = latex(system.report["protocol"])
    if system.report["shared_artists"]:
        yield f"With the protocol {protocol}, artists are on both sides of a split."
    elif system.report.get("artists_known"):
        yield (
            f"With the protocol {protocol}, no known artist is on both sides of a"
            r" split~\cite{flexer2007artist}."
        )


def _intervals(measured: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield the sentences on the intervals of accuracies and F1."""
    grouped = sorted({row["grouped_by"] for row in measured if row["grouped_by"] != "track"})
    yield r"Intervals are of 95\,\% and Wilson's~\cite{wilson1927}."
    if grouped:
        by = " or ".join(f"{name}s" for name in grouped)
        yield (
            f"Where {by} repeat, they are taken at the effective number of"
            r" tracks~\cite{korn1998}, which is their number divided by the design"
            rf" effect~\cite{{kish1965}} of a jackknife over {by}~\cite{{mackinnon2023jackknife}},"
            " with the quantile of Student's $t$ at Satterthwaite's degrees of"
            r" freedom~\cite{satterthwaite1946}."
        )
    if any(row["num_seeds"] > 1 for row in measured):
        yield (
            r"Over several trainings, the variance between these is"
            r" added~\cite{cameron2011multiway}, and the quantile is a weighted mean of"
            r" both~\cite{cochran1964}."
        )


def _tests(
    pairs: Sequence[Mapping[str, Any]], compared: Sequence[Mapping[str, Any]]
) -> Iterator[str]:
    """Yield the sentences on the comparisons."""
    grouped = sorted({pair["grouped_by"] for pair in pairs if pair["grouped_by"] != "track"})
    for by in grouped:
        yield (
            f"Two systems are compared by the exact test that exchanges their answers {by} by {by},"
            rf" which is McNemar's~\cite{{mcnemar1947}} where no {by} repeats."
        )
    if any(pair["grouped_by"] == "track" for pair in pairs):
        yield (
            "Two systems are compared by McNemar's test~"
            r"\cite{mcnemar1947} with mid-$p$ values~\cite{fagerland2013midp}."
        )
    if any(pair["ci95"] for pair in pairs):
        yield (
            r"Intervals of differences invert the test~\cite{hartigan1969} and reach to those of"
            r" Agresti and Min~\cite{agresti2005} where these go further."
        )
    sizes = sorted({len(section["pairs"]) for section in compared if len(section["pairs"]) > 1})
    for size in sizes:
        over = plural(size, "pair")
        yield rf"$p$ values are corrected by Holm's method~\cite{{holm1979}} over {over}."
