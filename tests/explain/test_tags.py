"""Explanations of MusiCNN's tags."""

import numpy as np
import pytest

from mgr_jax import tagger as tagger_lib
from mgr_jax.errors import UserError
from mgr_jax.explain.tags import TagExplainer


@pytest.mark.slow
def test_explain_a_tag_is_complete_and_finds_the_music():
    tagger = tagger_lib.load()
    time = np.arange(6 * 16000) / 16000
    notes = np.sin(2 * np.pi * 440 * time) * np.exp(-4 * (time % 0.5)) * 0.3
    song = np.where(time < 3, notes, 1e-4 * notes).astype(np.float32)
    explainer = TagExplainer(tagger)
    explanation = explainer.explain(song, 16000)
    assert explanation.label == next(iter(tagger.tag(song, 16000).mean))
    assert explanation.completeness_error < 0.1 and explanation.baseline == "silence"
    by_time = np.abs(explanation.attributions).sum(axis=1)
    assert by_time[: len(by_time) // 2].sum() > 0.8 * by_time.sum()
    with pytest.raises(UserError, match="tag 'polka': it must be one of"):
        explainer.explain(song, 16000, tag="polka")
    tagger.decoders.close()
