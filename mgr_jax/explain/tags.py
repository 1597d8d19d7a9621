"""Which times and which bands of a recording carried one of MusiCNN's tags."""

import dataclasses
import functools
import os
from collections.abc import Callable
from typing import BinaryIO

import jax
import jax.numpy as jnp
import numpy as np

from mgr_jax.data.decoders import Blocks
from mgr_jax.errors import UserError
from mgr_jax.evaluation.reports.explanation import Explanation
from mgr_jax.explain import gradients, path, track
from mgr_jax.explain.integrated import Integrated, integrated_gradients
from mgr_jax.features import musicnn
from mgr_jax.named_configs import musicnn as musicnn_config
from mgr_jax.tagger import Tagger

_SIZE = 8  # Windows of a chunk, about 10 s.


@dataclasses.dataclass(frozen=True)
class TagExplainer:
    """Explains tags by integrated gradients of their mean logit over the windows, from silence."""

    tagger: Tagger

    def explain(
        self,
        source: str | os.PathLike | BinaryIO | np.ndarray,
        sample_rate: float | None = None,
        *,
        tag: str | None = None,
    ) -> Explanation:
        """Return the explanation of a tag of a track.

        Args:
          source, sample_rate: as of `Tagger.tag`.
          tag: None is the tag that is most probable on average.

        Raises:
          audio.AudioError, ValueError: as `Tagger.tag` does.
          UserError: if there is no such tag.
        """
        rate = musicnn.SAMPLE_RATE
        tags = self.tagger.tag(source, sample_rate)
        name = tag or next(iter(tags.mean))
        if name not in tags.labels:
            raise UserError(f"tag {name!r}: it must be one of {', '.join(tags.labels)}")
        sources = self.tagger.decoders.read_source(source, sample_rate, sample_rate=rate)
        ((_, waveform),) = ((path, np.concatenate(list(blocks))) for path, blocks in sources)
        features, parts, start = musicnn_config().features, [], 0.0
        for chunk, count in musicnn.chunks(_blocks(waveform), size=_SIZE):
            result = self._integrate(chunk, count, tags.labels.index(name))
            values = np.asarray(result.attributions)
            cells = path.to_cells(values, features, len(values) * musicnn.HOP_LENGTH / rate)
            change = float(result.score - result.baseline_score)
            parts.append(track.Part(start, gradients.Attribution(cells, change)))
            start += _SIZE * musicnn.WINDOW_HOP * musicnn.HOP_LENGTH / rate
        return track.assemble(
            waveform,
            features,
            parts,
            scale=float(len(tags.probabilities)),
            window=musicnn.MIN_SAMPLES,
            label=name,
            probability=tags.mean[name],
            method="integrated_gradients",
            score=f"logit of {name}",
            baseline=path.describe_baseline(features),
        )

    @functools.cached_property
    def _integrate(self) -> Callable[[np.ndarray, int, int], Integrated]:
        @jax.jit
        def integrate(chunk: jax.Array, count: jax.Array, tag: jax.Array) -> Integrated:
            x = musicnn.log_mel(chunk, center=False)

            def score(x: jax.Array) -> jax.Array:
                logits = self.tagger.logits(musicnn.cut_windows(x))[:, tag]
                return jnp.sum(jnp.where(jnp.arange(_SIZE) < count, logits, 0.0))

            return integrated_gradients(score, x, jnp.zeros_like(x))

        return integrate


def _blocks(waveform: np.ndarray) -> Blocks:
    yield waveform
    return ""
