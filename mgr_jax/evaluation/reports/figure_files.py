"""Figures as files: PNG for pages, SVG and PDF for papers, the same bytes at every run."""

import io
import pathlib
import warnings
from typing import Any, BinaryIO

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from mgr_jax.files import write_whole

VECTOR = ("svg", "pdf")
# Width in inches of a column of a paper, 8.4 cm, and the size of its text in points.
COLUMN, FONT = 8.4 / 2.54, 7.0

# Publishers refuse fonts of type 3, and SVG files do not hold fonts, so that letters are outlines.
_SETTINGS: Any = {"pdf.fonttype": 42, "svg.fonttype": "path", "svg.hashsalt": "mgr_jax"}
# No date, program or path.
_METADATA = {
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}


def save(figure: Figure, path: pathlib.Path | BinaryIO) -> None:
    """Write `figure` in the format of the ending of `path`; PNG to a file object.

    A figure of the width of a column has 240 dots an inch, wider ones 120.
    """
    kind = path.suffix[1:] if isinstance(path, pathlib.Path) else "png"
    dpi = 240 if figure.get_size_inches()[0] <= COLUMN else 120
    # The canvas is used directly, since pyplot keeps global state and looks for a display.
    with warnings.catch_warnings(), matplotlib.rc_context(_SETTINGS):
        # Labels in a script that the font lacks are drawn as boxes.
        warnings.filterwarnings(
            "ignore", message="Glyph .* missing from font", category=UserWarning
        )
        FigureCanvasAgg(figure).print_figure(
            content := io.BytesIO(), format=kind, dpi=dpi, metadata=_METADATA[kind]
        )
    if isinstance(path, pathlib.Path):
        write_whole(path, content.getvalue())
    else:
        path.write(content.getvalue())
