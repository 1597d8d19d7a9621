"""The facts about the model: what it is, what it learned from, and how often it is right."""

from experiments.webpage.text import escape
from mgr_jax.data import splits
from mgr_jax.evaluation import stats
from mgr_jax.evaluation.reports import wording
from mgr_jax.predictor import Predictor

_PROTOCOLS = {
    "holdout": "a tenth of each genre was kept for the test, drawn at random; artists may stand on"
    " both sides, which makes the number too high",
    "kfold": "one fold of several was kept for the test, drawn at random; artists may stand on"
    " both sides, which makes the number too high",
    "artist_kfold": "one fold of several was kept for the test; the songs of an artist stay"
    " together",
    "listed": "tested on the part that the data set lists for it",
    "fault_filtered": "the published split of GTZAN without its faults; no artist stands on both"
    " sides",
    splits.IMPORTED: "the model was trained elsewhere, perhaps on the very music it was tested on",
}
_MODELS = {
    "bbnn": "Bottom-up Broadcast network (bbnn)",
    "cnn": "convolutional network (cnn)",
    "cnn_lstm": "convolutional and LSTM network (cnn_lstm)",
    "rnn": "recurrent network (rnn)",
    "logistic": "logistic regression",
    "svm": "support vector machine",
    "ensemble": "ensemble of discriminants",
}
_INPUTS = {
    "logmel": "log-mel spectrogram",
    "mel_image": "picture of the mel spectrogram",
    "mfcc": "MFCCs over time",
    "mfcc_stats": "mean and covariance of the MFCCs",
    "flattened": "picture of the mel spectrogram",
    "spectrogram": "spectrogram",
    "musicnn": "embedding of MusiCNN, a network that has learned to tag other music",
}
_DATA = {
    "band": "the embedded band, which is music made by a program",
    "gtzan": "GTZAN",
    "folder": "a folder of songs",
    "manifest": "a list of songs",
    "arrays": "a file of spectrograms",
}


def reads_musicnn(predictor: Predictor) -> bool:
    """Return whether the model reads MusiCNN; that of the package, which has a title, does."""
    return predictor.config.features.kind == "musicnn" or bool(predictor.system.title)


def behind(predictor: Predictor) -> str:
    """Return the facts about the model: data, accuracy and protocol of its evaluation."""
    config, report = predictor.config, predictor.system.report
    name, kind, data = config.model.name, config.features.kind, config.data.name
    rows = {
        "Model": f"{_MODELS.get(name, name)}, from the {_INPUTS.get(kind, kind)}",
        "Learned from": _DATA.get(data, data),
    }
    if predictor.system.title:
        rows = {"Model": predictor.system.title, "Learned from": "GTZAN, its tracks without faults"}
    if report is None:
        protocol = predictor.system.facts["protocol"]
        rows["Accuracy"] = "not evaluated: nobody has measured how often it is right"
    else:
        protocol = report["protocol"]
        rows["Accuracy"] = f"{stats.describe(report, protocol)}; 95 % intervals in brackets"
        rows["Chance"] = _chance(report, len(predictor.labels)).removeprefix("chance ")
    rows["Protocol"] = f"{protocol}: {_PROTOCOLS.get(protocol, 'see the README')}"
    if report is not None and not predictor.system.title:  # Its protocol says it.
        rows["Artists"] = wording.leakage(report) or wording.artists(report)[0]
    table = "".join(f"<dt>{key}</dt><dd>{escape(value)}</dd>" for key, value in rows.items())
    return (
        f'<section class="card behind"><h2>Behind the answer</h2><dl>{table}</dl>'
        f"{_interval(report, len(predictor.labels))}"
        '<p class="small">Expect less on other music than it was tested on. A song of none of these'
        " genres is given one of them all the same.</p></section>"
    )


def _chance(report: dict, num_labels: int) -> str:
    """Return what a random guess would get, and the best constant one where it is known."""
    if "per_class" in report:
        return wording.chance(report)
    return f"chance {100 / num_labels:.0f} %"


def _interval(report: dict | None, num_labels: int) -> str:
    """Draw the accuracy, its interval and chance on one axis from 0 to 100 %."""
    if report is None:
        return ""
    accuracy, chance = 100 * report["num_correct"] / report["n"], 100 / num_labels
    # Of a single artist there is none.
    low, high = (100 * value for value in report.get("ci95") or (accuracy / 100, accuracy / 100))
    between = f"interval {low:.1f} to {high:.1f} %" if low < high else "no interval"
    return (
        f'<div class="interval" role="img" aria-label="accuracy {accuracy:.1f} %, {between},'
        f' {escape(_chance(report, num_labels))}"><div class="axis">'
        f'<span class="range" style="left:{low:.2f}%;width:{high - low:.2f}%"></span>'
        f'<span class="point" style="left:{accuracy:.2f}%"></span>'
        f'<span class="chance" style="left:{chance:.2f}%"><i>chance</i></span></div>'
        '<div class="clock"><span>0 %</span><span>50 %</span><span>100 %</span></div></div>'
    )
