"""The suite of the networks."""

import sys

import numpy as np
import pytest

from experiments.benchmarks import networks
from mgr_jax.errors import UserError

pytestmark = pytest.mark.e2e


@pytest.mark.e2e
@pytest.mark.parametrize("name", ["bbnn", "gru"])
def test_networks_rows_beside_their_peers(name):
    pytest.importorskip("torch")
    title, config = networks.cases()[name]
    config.data.clip_samples, config.data.clip_seconds = 0, 1.0
    config.model.width, config.model.num_modules, config.model.hidden_size = 4, 1, 8
    rows = [networks.beside_torch(title, config, "train", turns=2)]
    if name == "bbnn":
        rows += [
            networks.frontend_share(title, config, turns=2),
            networks.beside_reference(title, config, turns=2),
        ]
        assert rows[2]["max_difference"] < 1e-4 and rows[2]["peer_temporaries_mb"] > 0
    assert rows[0]["max_difference"] < 1e-4 and rows[0]["peer"].startswith("PyTorch, ")
    text = "\n".join(networks.table(rows))
    assert f"| {title}, train | {rows[0]['devices']} | PyTorch, " in text
    if name == "gru":
        assert rows[0]["devices"] in rows[0]["our_trials"] and "ours on 1 device " in text
    else:
        assert "the front end adds" in text and "MB of temporaries" in text


def test_networks_inputs_have_the_shapes_of_the_front_end():
    shapes = [networks.input_shape(config) for _, config in networks.cases().values()]
    image, sequence = (480, 640, 3), (2584, 14)
    assert shapes == [(647, 128), (288, 432, 3), image, image, sequence, sequence, sequence]
    inputs, labels = networks.random_batch((4, 2), 8)
    assert inputs.shape == (8, 4, 2) and inputs.dtype == np.float32 and len(labels) == 8


def test_run_names_an_unknown_case():
    with pytest.raises(UserError, match=r"'nothing'; it may have bbnn, .*, frontend"):
        networks.run(only=["nothing"])


def test_run_without_pytorch_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(UserError, match="pip install"):
        networks.run(only=["bbnn"])
