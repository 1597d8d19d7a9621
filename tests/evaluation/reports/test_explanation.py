"""An explanation is shown in one line, as a picture and as JSON."""

import dataclasses
import io
import json

import numpy as np
from matplotlib import image

from mgr_jax.evaluation.reports.explanation import Explanation


def _explanation(**fields):
    """One red cell at 2 to 3 s and 500 to 1000 Hz, and a blue one."""
    values = np.zeros((8, 4))
    values[2, 1], values[5, 3] = 2.0, -0.5
    explanation = Explanation(
        label="jazz $x$",
        probability=0.874,
        method="integrated_gradients",
        score="logit of jazz minus the mean logit of the other labels",
        baseline="silence",
        attributions=values,
        seconds=np.arange(9.0),
        hz=np.array([0.0, 500, 1000, 2000, 4000]),
        change=1.5,
        completeness_error=0.0123,
        features={},
        decibels=np.full((20, 6), -30.0),
        decibel_hz=np.linspace(0, 4000, 7),
    )
    return dataclasses.replace(explanation, **fields)


def test_explanation_names_its_strongest_time_and_band():
    assert repr(_explanation()) == (
        "Explanation(87 % jazz $x$: most at 2.0 to 3.0 s and at 500 to 1000 Hz, by integrated"
        " gradients, completeness error 1.2 %)"
    )
    assert "error" not in repr(_explanation(completeness_error=None, method="occlusion"))


def test_explanation_warns_of_a_large_completeness_error():
    text = _explanation(completeness_error=8.816).describe()
    assert text.endswith("by integrated gradients, completeness error 882 % (do not rely on it)")
    assert _explanation(completeness_error=0.12).describe().endswith("completeness error 12 %")
    occluded = _explanation(completeness_error=None, method="occlusion", remark="for a reason")
    assert occluded.describe().endswith("by occlusion (for a reason)")


def test_coarse_keeps_the_sum_and_the_ends():
    values, seconds, hz = _explanation().coarse(3, 2)
    np.testing.assert_allclose(values.sum(axis=1), [2.0, -0.5, 0])
    np.testing.assert_allclose(values.sum(axis=0), [2.0, -0.5])
    assert (seconds[0], seconds[-1], hz.tolist()) == (0, 8, [0, 1000, 4000])
    np.testing.assert_array_equal(_explanation().coarse(40, 16)[0], _explanation().attributions)


def test_coarse_cells_are_of_one_size():
    """Else the wider ones would have more of everything, and lead the deletion curve."""
    values = _explanation(
        attributions=np.ones((60, 24)), seconds=np.arange(61.0), hz=np.arange(25.0)
    )
    summed, seconds, hz = values.coarse(40, 16)
    assert summed.shape == (30, 12) and {*np.diff(seconds)} == {*np.diff(hz)} == {2.0}
    np.testing.assert_array_equal(summed, 4)
    assert values.coarse(7, 24)[1].tolist() == [0, 9, 18, 27, 36, 45, 54, 60]


def test_to_json_has_four_digits_and_both_axes():
    values = json.loads(json.dumps(_explanation(seconds=np.arange(9) / 3).to_json()))
    assert values["seconds"][1] == 0.3333 and values["hz"][-1] == 4000
    assert values["attributions"][2] == [0, 2, 0, 0] and values["change"] == 1.5
    assert (values["method"], values["completeness_error"]) == ("integrated_gradients", 0.0123)


def test_to_png_takes_long_titles_and_scripts_that_the_font_lacks():
    picture = _explanation().to_png("\u3042" * 300)  # A warning would be an error.
    height, width, _ = image.imread(io.BytesIO(picture)).shape
    assert (height, width) == image.imread(io.BytesIO(_explanation().to_png("x"))).shape[:2]


def test_to_png_is_red_for_the_label_and_blue_against_it():
    text = _explanation()._repr_html_()
    assert text.startswith("<img alt=") and "jazz $x$" in text
    pixels = image.imread(io.BytesIO(_explanation().to_png("a song")))[..., :3]
    red, green, blue = np.moveaxis(pixels, -1, 0)
    for color, other in ((red, blue), (blue, red)):
        assert ((color > other + 0.3) & (color > green + 0.1)).sum() > 500
