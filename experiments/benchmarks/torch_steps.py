"""Steps of the peers in PyTorch: weights copied from ours, forward, backward, Adam.

Nothing here imports JAX: the memory of the process is PyTorch's own.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from experiments.benchmarks import torch_networks
from mgr_jax import config as config_lib
from mgr_jax import cores

# How a network can be run: name -> (memory format of images, compiled).
SETTINGS = {
    "eager": (torch.contiguous_format, False),
    "eager, channels_last": (torch.channels_last, False),
    "compile": (torch.contiguous_format, True),
    "compile, channels_last": (torch.channels_last, True),
}
ONE_THREAD = "eager, one thread"  # of which the small products of a recurrent layer can profit


def settings(config: config_lib.Config) -> list[str]:
    """The settings worth trying for the network of `config`."""
    if config.model.name != "rnn":
        return list(SETTINGS)
    # Sequences have no memory format; `compile` leaves recurrent layers as they are.
    built_in = [torch_networks.BUILT_IN_GRU] if config.model.cell == "gru" else ["compile"]
    return ["eager", ONE_THREAD, *built_in]


_NAMES = {
    "scale": "weight",
    "mean": "running_mean",
    "var": "running_var",
}


def copy_weights(network: nn.Module, variables: Mapping[str, Any]) -> None:
    """Puts `params` and `batch_stats` of ours, nested dicts of arrays, into `network`.

    Raises:
      ValueError: a parameter of one side is missing on the other, or the shapes differ.
    """
    state, seen = network.state_dict(), set()
    for path, value in _leaves(variables["params"]) + _leaves(variables["batch_stats"]):
        *layer, name = path
        if network.get_submodule(".".join(layer)).__class__.__name__ in ("RNN", "LSTM", "GRU"):
            name = {"kernel": "weight_ih_l0", "recurrent_kernel": "weight_hh_l0"}.get(
                name, "bias_ih_l0"
            )
        elif name == "kernel":
            name = "weight"
        value = value.transpose(3, 2, 0, 1) if value.ndim == 4 else value.T
        key = ".".join([*layer, _NAMES.get(name, name)])
        if key not in state or state[key].shape != value.shape:
            raise ValueError(f"{'/'.join(path)} {value.shape} has no counterpart in the peer")
        state[key].copy_(torch.from_numpy(np.array(value)))
        seen.add(key)
    extra = [n for n, p in network.named_parameters() if p.requires_grad and n not in seen]
    if extra:
        raise ValueError(f"{extra} of the peer have no counterpart")


def _leaves(tree: Any, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], np.ndarray]]:
    if not isinstance(tree, Mapping):
        return [(path, np.asarray(tree))]
    return [leaf for name, value in tree.items() for leaf in _leaves(value, (*path, name))]


class Steps:
    """One network with its data, ready to take steps; made in a process of its own."""

    def __init__(
        self,
        config: config_lib.Config,
        variables: Mapping[str, Any],
        inputs: np.ndarray,
        labels: np.ndarray,
        *,
        mode: str,
        setting: str,
    ):
        torch.manual_seed(0)
        torch.set_num_threads(1 if setting == ONE_THREAD else cores.count())
        memory_format, compiled = SETTINGS.get(setting, SETTINGS["eager"])
        self.network = torch_networks.make_network(
            config, inputs.shape[1:], num_classes=10, setting=setting
        )
        copy_weights(self.network, variables)
        self.inputs = torch.from_numpy(inputs)
        if config.model.name != "rnn":
            image = self.inputs[:, None] if inputs.ndim == 3 else self.inputs.permute(0, 3, 1, 2)
            self.inputs = image.contiguous(memory_format=memory_format)
            self.network = self.network.to(memory_format=memory_format)
        self.labels = torch.from_numpy(labels).long()
        self.run = torch.compile(self.network) if compiled else self.network
        trained = [p for p in self.network.parameters() if p.requires_grad]
        rate = config.optim.learning_rate
        self.optimizer = torch.optim.Adam(trained, lr=rate, eps=1e-7, fused=True)
        self.step = {"train": self.train, "infer": self.infer}[mode]

    def parameters(self) -> int:
        return sum(p.numel() for p in self.network.parameters() if p.requires_grad)

    def log_probabilities(self) -> np.ndarray:
        return self.infer().numpy()

    def infer(self) -> torch.Tensor:
        self.network.eval()
        with torch.inference_mode():
            return F.log_softmax(self.run(self.inputs), -1)

    def train(self) -> float:
        self.network.train()
        self.optimizer.zero_grad(set_to_none=True)
        loss = F.cross_entropy(self.run(self.inputs), self.labels)
        loss.backward()
        self.optimizer.step()
        return float(loss.detach())
