"""Train and predict steps in PyTorch, on weights copied from ours.

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

# Setting -> (memory format of images, compiled).
SETTINGS = {
    "eager": (torch.contiguous_format, False),
    "eager, channels_last": (torch.channels_last, False),
    "compile": (torch.contiguous_format, True),
    "compile, channels_last": (torch.channels_last, True),
}
ONE_THREAD = "eager, one thread"  # The small products of a recurrent layer can be faster so.


def settings(config: config_lib.Config, *, compile: bool) -> list[str]:
    """Return the settings worth trying for the network of `config`; compiling takes minutes."""
    if config.model.name != "rnn":
        return [name for name, (_, compiled) in SETTINGS.items() if compile or not compiled]
    # Sequences have no memory format, and `torch.compile` leaves recurrent layers as they are.
    return ["eager", ONE_THREAD, *[torch_networks.BUILT_IN_GRU] * (config.model.cell == "gru")]


_NAMES = {"kernel": "weight", "scale": "weight", "mean": "running_mean", "var": "running_var"}
_RECURRENT = {"kernel": "weight_ih_l0", "recurrent_kernel": "weight_hh_l0", "bias": "bias_ih_l0"}


def copy_weights(network: nn.Module, variables: Mapping[str, Any]) -> None:
    """Copy our `params` and `batch_stats`, nested dicts of arrays, into `network`.

    Raises:
      ValueError: a parameter of one side is missing on the other, or the shapes differ.
    """
    state, seen = network.state_dict(), set()
    for path, value in _leaves(variables["params"]) + _leaves(variables["batch_stats"]):
        *layer, name = path
        kind = network.get_submodule(".".join(layer))
        recurrent = isinstance(kind, (nn.RNNBase, torch_networks.GRU))
        value = value.transpose(3, 2, 0, 1) if value.ndim == 4 else value.T
        key = ".".join([*layer, (_RECURRENT if recurrent else _NAMES).get(name, name)])
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
    """One network with its data, ready to take steps.

    With `variables` it has our weights. `bfloat16` computes under autocast.
    """

    def __init__(
        self,
        config: config_lib.Config,
        variables: Mapping[str, Any] | None,
        inputs: np.ndarray,
        labels: np.ndarray,
        *,
        mode: str,
        setting: str,
        device: str = "cpu",
        bfloat16: bool = False,
    ):
        torch.manual_seed(0)
        torch.set_num_threads(1 if setting == ONE_THREAD else cores.count())
        memory_format, compiled = SETTINGS.get(setting, SETTINGS["eager"])
        self.network = torch_networks.make_network(
            config, inputs.shape[1:], num_classes=10, setting=setting
        ).to(device)
        if variables is not None:
            copy_weights(self.network, variables)
        self.inputs = torch.from_numpy(inputs).to(device)
        if config.model.name != "rnn":
            image = self.inputs[:, None] if inputs.ndim == 3 else self.inputs.permute(0, 3, 1, 2)
            self.inputs = image.contiguous(memory_format=memory_format)
            self.network = self.network.to(memory_format=memory_format)
        self.labels = torch.from_numpy(labels).long().to(device)
        self.run = torch.compile(self.network) if compiled else self.network
        trained = [p for p in self.network.parameters() if p.requires_grad]
        rate = config.optim.learning_rate
        self.optimizer = torch.optim.Adam(trained, lr=rate, eps=1e-7, fused=True)
        self.autocast = torch.autocast(device, torch.bfloat16, enabled=bfloat16)
        self.step = {"train": self.train, "infer": self.infer}[mode]

    def parameters(self) -> int:
        """Return the number of trainable parameters."""
        return sum(p.numel() for p in self.network.parameters() if p.requires_grad)

    def log_probabilities(self) -> np.ndarray:
        """Return the output [B, C] in evaluation."""
        return self.infer().numpy()

    def infer(self) -> torch.Tensor:
        """Return the log-probabilities [B, C] of one predict step."""
        self.network.eval()
        with torch.inference_mode(), self.autocast:
            return F.log_softmax(self.run(self.inputs).float(), -1)

    def train(self) -> torch.Tensor:
        """Take one train step and return its loss."""
        self.network.train()
        self.optimizer.zero_grad(set_to_none=True)
        with self.autocast:
            logits = self.run(self.inputs)
        loss = F.cross_entropy(logits.float(), self.labels)
        loss.backward()
        self.optimizer.step()
        return loss.detach()
