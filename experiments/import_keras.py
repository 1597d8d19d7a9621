"""Turn the released Keras weights of the BBNN into a workdir.

    python -m experiments.import_keras FILE.hdf5 --workdir=DIR [--labels=a,b,c]
    python -m experiments.evaluate --workdir=DIR --config.data.name=gtzan --config.data.root=DIR
    python -m experiments.predict --workdir=DIR SONG

The front end is that of the authors' program (log-mel of 661 794 samples at 22 050 Hz). Which
tracks a file was trained on cannot be known, so `evaluate` scores all tracks that it is given,
under the protocol `imported`.
"""

import sys
from collections.abc import Sequence

from absl import flags

from experiments import command, jax_settings

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder to create.", required=True)
_LABELS = flags.DEFINE_list(
    "labels", None, "Labels in the order of the model's outputs; the genres of GTZAN by default."
)


def main(argv: Sequence[str]) -> command.Ending:
    """Read one file and write one workdir; return how it ended."""
    if len(argv) != 2:
        raise command.UserError("give one HDF5 file: python -m experiments.import_keras FILE.hdf5")

    from experiments.configs import bbnn
    from mgr_jax import devices, parallel, progress, workdir
    from mgr_jax.data import splits
    from mgr_jax.data.catalog import Catalog
    from mgr_jax.data.gtzan import GENRES
    from mgr_jax.models import keras_weights as keras_import
    from mgr_jax.training import checkpoint, stopping
    from mgr_jax.training import network as network_lib

    try:
        imported = keras_import.read(argv[1])
    except ValueError as error:
        raise command.UserError(f"{error}; give a file that the BBNN authors released") from error
    labels = tuple(_LABELS.value or GENRES)
    if len(labels) != imported.num_classes or len(set(labels)) != len(labels):
        raise command.UserError(
            f"--labels: {len(labels)} labels for a model of {imported.num_classes} classes; name"
            " each class once, in the order of the outputs"
        )
    config = bbnn.get_config()
    if imported.input_channels != 1:
        raise command.UserError(
            f"{argv[1]}: a network for {imported.input_channels} channels, not for a log-mel"
            " spectrogram of one; its front end is unknown"
        )
    config.model.width, config.model.num_modules = imported.width, imported.num_modules
    jax_settings.set_up()
    print(devices.describe(), file=sys.stderr, flush=True)
    split = splits.Split(splits.IMPORTED, (), (), ())
    with workdir.hold(_WORKDIR.value):
        run = workdir.create(_WORKDIR.value, config, Catalog("imported", (), labels), split)
        network = network_lib.make_network(config, num_classes=len(labels))
        with progress.Progress("compile", "the initial state"):
            state = parallel.jit_init(network.init, network.mesh)
        state = state.replace(**parallel.replicate(imported.variables, network.mesh))
        with checkpoint.open_checkpoints(run.path, print) as manager:
            checkpoint.save(manager, state, dict(stopping.START), None)
        workdir.set_status(run.path, "done")
    print(f"imported  {argv[1]} into {run.path}: {len(labels)} classes ({', '.join(labels)})")
    return command.Ending(0, command.page_or_prediction(f"--workdir={run.path}"))


if __name__ == "__main__":
    command.run(main)
