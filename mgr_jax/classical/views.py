"""Views: functions from a log spectrogram [F, K] to one vector.

Some views have parameters, which are fitted to the spectrograms of the training part, without
their labels. Linear bins are pooled to bands first.
"""

import dataclasses
import functools
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.cluster import MiniBatchKMeans

from mgr_jax.config import Features
from mgr_jax.features import bands, descriptors, patches, spectral, summary, texture

Params = Mapping[str, np.ndarray]

_BLOCK = 32  # tracks of one compiled call
_NUM_PATCHES = 40_000  # drawn from the training part to fit components and codebooks


@dataclasses.dataclass(frozen=True)
class View:
    """The settings of a view.

    Attributes:
      kind: a key of `STATISTICS`, `texture`, or a view with parameters: `covariance` (mean and
        matrix logarithm of the covariance of whitened patches) or `words` (deviation over time of
        the activations of a codebook of whitened patches).
      scale, n_bands, fmin, fmax: the bands, see `bands.pool_bands`.
      n_mfcc: number of cepstral coefficients that replace the bands; 0 keeps the bands.
      width: frames of a patch. num_components: components of a whitened patch.
      num_words: size of the codebook. seed: seed of the patches and of the codebook.
    """

    kind: str
    scale: str = "mel"
    n_bands: int = 40
    fmin: float = 60.0
    fmax: float = 10500.0
    n_mfcc: int = 0
    width: int = 1
    num_components: int = 0
    num_words: int = 0
    seed: int = 0


_slopes = functools.partial(descriptors.delta, width=5)
_percentiles = functools.partial(summary.percentiles, q=(5, 25, 50, 75, 95))


def _moments(frames: jax.Array) -> jax.Array:
    moments = summary.summarize(frames, statistics=("mean", "std", "skew", "kurtosis"))
    return jnp.concatenate([moments, summary.std(_slopes(frames))], axis=-1)


def _log_covariance(frames: jax.Array) -> jax.Array:
    return jnp.concatenate([summary.mean(frames), patches.log_covariance(frames)], axis=-1)


# Views without parameters: frames of bands or cepstral coefficients [F, K] -> a vector [D].
STATISTICS = {
    "moments": _moments,
    "percentiles": _percentiles,
    "mean_covariance": summary.mean_covariance,
    "log_covariance": _log_covariance,
    "slope_percentiles": lambda frames: _percentiles(_slopes(frames)),
    "slope_covariance": lambda frames: patches.log_covariance(_slopes(frames)),
    "modulation": texture.modulation_spectrum,
    "onsets": texture.onset_autocorrelation,
    "energy": lambda frames: _moments(texture.cepstral_energy(frames)),
}


def fit(view: View, spectrograms: np.ndarray, features: Features) -> dict[str, np.ndarray]:
    """Return the parameters of `view`, fitted to spectrograms [N, F, K] of the training part."""
    if view.kind == "texture" or view.kind in STATISTICS:
        return {}
    sample = jnp.asarray(_draw_patches(view, spectrograms, features))
    whitening = patches.fit_whitening(sample, num_components=view.num_components)
    params = {name: np.asarray(value) for name, value in whitening.items()}
    if view.kind == "words":
        components = np.asarray(patches.whiten(whitening, sample))
        model = MiniBatchKMeans(
            view.num_words,
            batch_size=2048,
            n_init=1,  # pyright: ignore[reportArgumentType]
            max_iter=30,
            random_state=view.seed,
        )
        params["words"] = np.asarray(model.fit(components).cluster_centers_, np.float32)
    return params


def transform(
    view: View, params: Params, spectrograms: np.ndarray, features: Features
) -> np.ndarray:
    """Return the vectors [N, D] of spectrograms [N, F, K]."""
    view = dataclasses.replace(view, seed=0)  # One compiled program serves all seeds.
    vectors = []
    for start in range(0, len(spectrograms), _BLOCK):
        # Blocks have one size, so that one compiled program serves any number of tracks.
        block = np.asarray(spectrograms[start : start + _BLOCK], np.float32)
        count = len(block)
        block = np.pad(block, ((0, _BLOCK - count), (0, 0), (0, 0)), mode="edge")
        vectors.append(np.asarray(_transform(view, _rate(features), dict(params), block))[:count])
    return np.concatenate(vectors)


def _draw_patches(view: View, spectrograms: np.ndarray, features: Features) -> np.ndarray:
    random = np.random.default_rng(view.seed)
    tracks = random.integers(len(spectrograms), size=_NUM_PATCHES)
    starts = random.integers(spectrograms.shape[1] - view.width + 1, size=_NUM_PATCHES)
    pooled = np.asarray(_pool(view, jnp.asarray(spectrograms), _rate(features)))
    rows = starts[:, None] + np.arange(view.width)[None]
    return pooled[tracks[:, None], rows].reshape(_NUM_PATCHES, -1)


def _rate(features: Features) -> tuple[float, int]:
    """Return sample rate and FFT size, which are hashable unlike `features`."""
    return features.sample_rate, features.n_fft


def _pool(view: View, spectrograms: jax.Array, rate: tuple[float, int]) -> jax.Array:
    pooled = bands.pool_bands(
        spectrograms,
        scale=view.scale,
        n_bands=view.n_bands,
        sample_rate=rate[0],
        n_fft=rate[1],
        fmin=view.fmin,
        fmax=view.fmax,
    )
    return spectral.cepstrum(pooled, n_mfcc=view.n_mfcc) if view.n_mfcc else pooled


@functools.partial(jax.jit, static_argnums=(0, 1))
def _transform(view, rate, params, spectrograms):
    def one(spectrogram):
        pooled = _pool(view, spectrogram, rate)
        if view.kind == "texture":
            return texture.texture(pooled, spectrogram)
        if view.kind in STATISTICS:
            return STATISTICS[view.kind](pooled)
        components = patches.whiten(params, patches.extract(pooled, width=view.width))
        if view.kind == "words":
            return jnp.std(patches.word_activations(components, params["words"]), axis=0)
        logarithm = patches.log_covariance(components)
        return jnp.concatenate([components.mean(axis=0), logarithm])

    return jax.lax.map(one, spectrograms)
