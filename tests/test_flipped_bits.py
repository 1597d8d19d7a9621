"""200 flipped bits, one at a time, in each kind of file that holds numbers: none is used changed.

Those of checkpoints and their copies are in `tests.training` and `tests.test_snapshot`.
"""

import json
import random
import zipfile

import numpy as np
import pytest

from mgr_jax import array_file
from mgr_jax.errors import UserError
from mgr_jax.export import bundle
from tests.data.clip_files import open_store, write_tracks
from tests.export import trained
from tests.training.test_checksums import flip

pytestmark = pytest.mark.e2e


def flips(paths):
    """Yield 200 times with one bit flipped; afterwards the files are as before."""
    contents, generator = {path: path.read_bytes() for path in paths}, random.Random(0)
    for _ in range(200):
        path = generator.choices(paths, [len(content) for content in contents.values()])[0]
        flip(path, generator.randrange(8 * len(contents[path])))
        yield
        for path, content in contents.items():  # A damaged file may have been made anew.
            path.write_bytes(content)


def as_text(system):
    values = [system.config, system.labels, system.step, system.temperature, system.report]
    return repr(values) + json.dumps(system.variables, default=np.ndarray.tolist)


@pytest.mark.parametrize("name", ["logistic", "rnn"])
def test_bundles(tmp_path, name):
    path, refused = tmp_path / "model", 0
    bundle.write(path, trained.make_system(name))
    expected = as_text(bundle.read(path))
    for _ in flips([path]):
        try:
            assert as_text(bundle.read(path)) == expected
        except UserError:
            refused += 1
    assert refused > 190


def test_parameters_of_classical_systems(tmp_path):
    """The headers of a ZIP file have bits that mean nothing, such as times."""
    path, refused = tmp_path / "params.npz", 0
    expected = trained.make_system("logistic").variables
    np.savez(path, **expected)
    for _ in flips([path]):
        try:
            arrays = array_file.read(path)
            assert arrays.keys() == expected.keys()
            for array_name, array in arrays.items():
                np.testing.assert_array_equal(array, expected[array_name], strict=True)
        except ValueError:
            refused += 1
    assert refused > 100
    assert zipfile.is_zipfile(path)


def test_clip_stores(tmp_path):
    catalog = write_tracks(tmp_path / "tracks", 3)
    store = open_store(catalog, tmp_path / "cache")
    expected = [store.waveform(row).tobytes() for row in range(3)]
    refused = 0
    for _ in flips([store.folder / name for name in ("clips.int16", "store.json")]):
        store = open_store(catalog, tmp_path / "cache")
        for row in range(3):
            try:
                assert store.waveform(row).tobytes() == expected[row]
            except UserError:
                refused += 1
    assert refused > 150
