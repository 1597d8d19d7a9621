"""What takes long is shown: a live line on a terminal, sparse lines in a log."""

import io
import time
import types

import pytest

from mgr_jax import progress


class _Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture(name="log")
def _log(monkeypatch):
    """A log in which a second takes 2 ms."""
    monkeypatch.delenv("TQDM_DISABLE", raising=False)
    monkeypatch.setattr(progress, "_FIRST", 0.01)
    monkeypatch.setattr(progress, "_LONGEST", 0.12)
    stream = io.StringIO()
    monkeypatch.setattr(progress, "sys", types.SimpleNamespace(stderr=stream))
    return stream


def _wait_for(stream, text):
    end = time.monotonic() + 20
    while text not in stream.getvalue() and time.monotonic() < end:
        time.sleep(0.001)
    return stream.getvalue()


def test_duration_is_short():
    words = [progress.duration(x) for x in (7e-5, 3.14, 9.96, 59.4, 90, 7200)]
    assert words == ["0.0 s", "3.1 s", "10 s", "59 s", "1.5 min", "120.0 min"]


def test_a_block_that_takes_long_is_shown_in_a_log_less_and_less_often(log):
    with progress.Progress("compile", "the train step"):
        time.sleep(0.1)
    first, *others = log.getvalue().splitlines()
    assert first.startswith("compile   the train step ...  0.0")
    assert 1 <= len(others) <= 3  # After 0.01, 0.03, 0.07 and 0.15 s.


def test_a_short_block_and_one_that_is_not_shown_print_nothing(log, monkeypatch):
    monkeypatch.setattr(progress, "_FIRST", 5.0)
    with progress.Progress("fit", "svm"):
        pass
    monkeypatch.setattr(progress, "_FIRST", 0.001)
    with progress.Progress("fit", "svm", is_shown=False) as one:
        time.sleep(0.01)
    monkeypatch.setenv("TQDM_DISABLE", "1")
    with progress.Progress("decode", total=3, unit="track") as other:
        other.update()
        time.sleep(0.01)
    assert (one.n, other.n, log.getvalue()) == (0, 1, "")


def test_a_loop_counts_its_items(log):
    bar = progress.Progress("decode", total=240, unit="track", initial=95)
    bar.update()
    with bar:
        text = _wait_for(log, "\n")
    assert text.startswith("decode    96 of 240 tracks  0.0")


def test_lines_that_are_printed_take_the_place_of_progress(log, monkeypatch, capsys):
    monkeypatch.setattr(progress, "_FIRST", 0.2)
    with progress.Progress("train", total=9, unit="step") as bar:
        for number in range(12):
            bar.write(f"epoch {number}")
            time.sleep(0.03)
        with bar.printing():
            print("the end")
    assert log.getvalue() == ""
    assert capsys.readouterr().out.splitlines()[-2:] == ["epoch 11", "the end"]


@pytest.mark.parametrize("total", [0, 3])
def test_a_terminal_has_one_line_that_stays_current(monkeypatch, total):
    monkeypatch.delenv("TQDM_DISABLE", raising=False)
    monkeypatch.setattr(progress, "_LIVE", 0.01)
    terminal = _Terminal()
    monkeypatch.setattr(progress.sys, "stderr", terminal)
    with progress.Progress("compile", "it", total=total, unit="item") as shown:
        for _ in range(3):
            time.sleep(0.12 if total else 0.03)  # tqdm draws ten times a second.
            shown.update()
        shown.annotate("loss 1")
    text = terminal.getvalue()
    assert shown.has_bar == (total > 0) and "\r" in text
    assert ("3/3" in text and "loss 1" in text) if total else "\rcompile   it ...  0.0" in text


def test_an_error_and_a_closed_stderr_end_the_line(log, monkeypatch):
    with pytest.raises(KeyError), progress.Progress("fit", "svm") as shown:
        _wait_for(log, "svm")
        raise KeyError
    assert not shown._thread.is_alive()

    def fail(text):
        raise BrokenPipeError

    monkeypatch.setattr(log, "write", fail)
    with progress.Progress("fit", "svm") as shown:
        shown._thread.join(20)
    assert not shown._thread.is_alive()
