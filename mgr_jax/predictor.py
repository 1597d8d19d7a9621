"""From a trained workdir to probabilities: the one way in for every use of a model.

Front end, labels, sample rate and weights come from the workdir and never from flags, so that a
wrong rate or a wrong order of labels cannot happen.
"""

import dataclasses

import jax
import numpy as np

from mgr_jax import config as config_lib
from mgr_jax import workdir
from mgr_jax.classical import fitting
from mgr_jax.data import audio, batches
from mgr_jax.errors import UserError
from mgr_jax.evaluation import judge
from mgr_jax.training import checkpoint, loop, parallel


@dataclasses.dataclass(frozen=True)
class Predictor:
    """A trained system.

    Attributes:
      run: its workdir: config, labels, split.
      step: step of the checkpoint; 0 for a system that is fitted in one call.
      predict_windows: batch of windows -> log-probabilities `[B, C]`.
      batch_size: B.
    """

    run: workdir.Run
    step: int
    predict_windows: judge.Predict
    batch_size: int

    def judge(self, part: batches.Part) -> np.ndarray:
        """Log-probabilities of the tracks of a part, `[N, C]`."""
        window = config_lib.window_length(self.run.config)
        return judge.judge(self.predict_windows, part, batch_size=self.batch_size, window=window)

    def predict(self, path: str) -> tuple[dict[str, float], str]:
        """Probability of each label for an audio file, best first, and a note on the file.

        All of the file is heard, window by window, and not only the length of a clip.

        Raises:
          audio.AudioError: if the file gives no waveform.
        """
        waveform, note = audio.decode(path, sample_rate=self.run.config.features.sample_rate)
        probabilities = np.exp(self.predict_waveform(waveform))
        if not np.isfinite(probabilities).all():
            raise audio.AudioError("gives probabilities that are not finite")
        order = np.argsort(-probabilities, kind="stable")
        return {self.run.labels[i]: float(probabilities[i]) for i in order}, note

    def predict_waveform(self, waveform: np.ndarray) -> np.ndarray:
        """Log-probabilities `[C]` of a mono waveform `[T]` at the sample rate of the model."""
        window, batch_size = config_lib.window_length(self.run.config), self.batch_size
        starts = batches.window_starts(len(waveform), window)
        scores = []
        for first in range(0, len(starts), batch_size):
            chosen = starts[first : first + batch_size]
            pieces = np.zeros((batch_size, window), np.float32)
            num_samples = np.zeros(batch_size, np.int32)
            for row, start in enumerate(chosen):
                pieces[row] = audio.fit(waveform[start : start + window], window)
                num_samples[row] = min(window, len(waveform) - start)
            batch = {"waveform": pieces, "num_samples": num_samples}
            scores.append(self.predict_windows(batch)[: len(chosen)])
        return judge.normalize(np.concatenate(scores).astype(np.float64).mean(axis=0))


def load(path: str, *, checkpoint_name: str = "best") -> Predictor:
    """Loads what `experiments.train` left in a workdir.

    Args:
      path: the workdir.
      checkpoint_name: `best` (on the validation part), `latest` or a step.

    Raises:
      UserError: if it is not a workdir, or nothing in it is trained or can be read.
    """
    run = workdir.load(path)
    mesh = parallel.make_mesh()
    batch_size = parallel.padded_batch_size(run.config.train.batch_size, mesh)
    if run.config.model.name not in config_lib.NETWORKS:
        if checkpoint_name not in ("best", "latest"):
            raise UserError(
                f"--checkpoint {checkpoint_name}: {run.config.model.name} has one model only; leave"
                " the flag out"
            )
        return Predictor(run, 0, fitting.load(run), batch_size)
    network = loop.make_network(run.config, num_classes=len(run.labels))
    abstract = parallel.abstract(jax.eval_shape(network.init), mesh)
    step, state = checkpoint.restore(run.path, checkpoint_name, abstract)
    return Predictor(run, step, loop.predictor(network, state), batch_size)
