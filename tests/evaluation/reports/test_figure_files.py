"""Figures as files: the same bytes at every run, fonts embedded, nothing of this machine."""

import io
import re

import pytest
from matplotlib.figure import Figure

from mgr_jax.evaluation.reports import figure_files


def _draw(path):
    figure = Figure(figsize=(2, 1))
    figure.add_subplot().set_title("Jazz é")
    figure_files.save(figure, path)
    return path.read_bytes()


@pytest.mark.parametrize("kind", ["png", "svg", "pdf"])
def test_save_writes_the_same_bytes_without_date_or_program(tmp_path, kind):
    one, two = (_draw(tmp_path / f"{name}.{kind}") for name in "ab")
    assert one == two
    assert not re.search(rb"matplotlib\.org|Matplotlib|/home|/tmp|Date|20\d\d-\d\d|D:20", one)


def test_save_embeds_fonts(tmp_path):
    pdf = _draw(tmp_path / "a.pdf")
    assert b"/FontFile2" in pdf and b"/Type3" not in pdf
    svg = _draw(tmp_path / "a.svg")
    assert b"<text" not in svg and b"font-family" not in svg


def test_save_writes_png_to_a_file_object():
    figure_files.save(Figure(figsize=(1, 1)), content := io.BytesIO())
    assert content.getvalue().startswith(b"\x89PNG")
