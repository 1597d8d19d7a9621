"""Figures of the best epoch: which, when, and that none is drawn twice."""

import time

import numpy as np

from mgr_jax.training.figures import BestConfusion


class Recorder:
    """A stand-in for the writer: the steps whose figures were drawn."""

    def __init__(self):
        self.drawn = []

    def write_image(self, name, png, *, step):
        assert name == "valid_confusion" and png.startswith(b"\x89PNG")
        self.drawn.append(step)


def record(epoch, accuracy, loss=1.0):
    return {"epoch": epoch, "step": 10 * epoch, "valid_accuracy": accuracy, "valid_loss": loss}


def test_best_confusion_draws_the_best_epoch_at_the_end():
    writer = Recorder()
    figure = BestConfusion(writer, ("a", "b"), [record(1, 0.5)])
    for epoch, accuracy, loss in [(2, 0.4, 1.0), (3, 0.6, 2.0), (4, 0.6, 1.5), (5, 0.5, 0.1)]:
        figure.after_epoch(record(epoch, accuracy, loss), np.eye(2, dtype=int))
    assert writer.drawn == []
    figure.close()
    figure.close()
    assert writer.drawn == [40]


def test_best_confusion_draws_at_most_once_a_minute(monkeypatch):
    writer, now = Recorder(), [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    figure = BestConfusion(writer, ("a", "b"), [])
    for epoch in range(1, 8):
        now[0] += 25
        figure.after_epoch(record(epoch, 0.1 * epoch), np.eye(2, dtype=int))
    assert writer.drawn == [30, 60]


def test_best_confusion_draws_nothing_in_a_run_that_gets_no_better():
    writer = Recorder()
    figure = BestConfusion(writer, ("a", "b"), [record(1, 0.5)])
    figure.after_epoch(record(2, 0.5), np.eye(2, dtype=int))
    figure.close()
    assert writer.drawn == []
