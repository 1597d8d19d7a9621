"""The networks in plain PyTorch, as the peers of ours.

Layers carry the names of ours, so that weights can be copied across; padding, epsilon and gates
are those of Keras. Nothing here imports JAX: the memory of the process is PyTorch's own.
"""

import functools

import torch
import torch.nn.functional as F
from torch import nn

from mgr_jax import config as config_lib

# PyTorch's own GRU applies the reset gate after the product, so its outputs differ from ours.
BUILT_IN_GRU = "nn.GRU"
MOMENTUM = 0.99  # `layers.BATCH_NORM_MOMENTUM`


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Return the padding `same` before and after an axis of `size`; an odd value goes after."""
    total = max(0, (-(-size // stride) - 1) * stride + kernel - size)
    return total // 2, total - total // 2


def batch_norm(channels: int, momentum: float) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=1 - momentum)


class Unit(nn.Module):
    def __init__(self, channels: int, features: int, kernel: int, momentum: float):
        super().__init__()
        self.norm = batch_norm(channels, momentum)
        self.conv = nn.Conv2d(channels, features, kernel, padding=kernel // 2)

    def forward(self, x):
        return self.conv(F.relu(self.norm(x)))


class BroadcastModule(nn.Module):
    def __init__(self, channels: int, width: int, momentum: float):
        super().__init__()
        self.unit_1x1 = Unit(channels, width, 1, momentum)
        self.reduce_3x3 = Unit(channels, width, 1, momentum)
        self.unit_3x3 = Unit(width, width, 3, momentum)
        self.reduce_5x5 = Unit(channels, width, 1, momentum)
        self.unit_5x5 = Unit(width, width, 5, momentum)
        self.unit_pool = Unit(channels, width, 1, momentum)

    def forward(self, x):
        pooled = F.max_pool2d(x, 3, stride=1, padding=1)
        middle, wide = self.unit_3x3(self.reduce_3x3(x)), self.unit_5x5(self.reduce_5x5(x))
        return torch.cat((x, self.unit_1x1(x), middle, wide, self.unit_pool(pooled)), 1)


class BBNN(nn.Module):
    def __init__(self, model: config_lib.Model, shape: tuple[int, ...], num_classes: int):
        super().__init__()
        width, momentum = model.width, model.batch_norm_momentum or MOMENTUM
        self.num_modules = model.num_modules
        self.stem_conv = nn.Conv2d(1 if len(shape) == 2 else shape[2], width, 3, padding=1)
        self.stem_norm = batch_norm(width, momentum)
        for i in range(model.num_modules):
            self.add_module(f"broadcast_{i}", BroadcastModule(width * (1 + 4 * i), width, momentum))
        self.transition = Unit(width * (1 + 4 * model.num_modules), width, 1, momentum)
        self.final_norm = batch_norm(width, momentum)
        self.classifier = nn.Linear(width, num_classes)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.stem_norm(self.stem_conv(x))), (4, 1))
        for i in range(self.num_modules):
            x = self.get_submodule(f"broadcast_{i}")(x)
        x = F.relu(self.final_norm(F.avg_pool2d(self.transition(x), 2)))
        return self.classifier(x.mean((2, 3)))


class SameConv(nn.Conv2d):
    """A convolution with the padding `same`, which can differ between the two ends of an axis."""

    def forward(self, x):
        rows, columns = map(same_padding, x.shape[2:], self.kernel_size, self.stride)
        return super().forward(F.pad(x, (*columns, *rows)))


class Convolutions(nn.Module):
    """Pairs of convolutions with average pooling: the first half of CNN and CNN-LSTM."""

    def __init__(self, model: config_lib.Model, channels: int, pairs: tuple):
        super().__init__()
        self.num_pairs, self.dropout = len(pairs), nn.Dropout(model.dropout)
        for i, (features, kernel, stride) in enumerate(pairs):
            features = _scaled(features, model)
            self.add_module(f"conv2d_{2 * i + 1}", SameConv(channels, features, kernel, stride))
            self.add_module(f"conv2d_{2 * i + 2}", nn.Conv2d(features, features, kernel, stride))
            channels = features

    def convolve(self, x):
        for i in range(self.num_pairs):
            for number in (2 * i + 1, 2 * i + 2):
                x = F.relu(self.get_submodule(f"conv2d_{number}")(x))
            x = self.dropout(F.avg_pool2d(x, 2))
        return x

    def size_after(self, shape: tuple[int, ...]) -> torch.Size:
        with torch.inference_mode():
            return self.convolve(torch.zeros(1, shape[2], *shape[:2])).shape[1:]


class CNN(Convolutions):
    def __init__(self, model: config_lib.Model, shape: tuple[int, ...], num_classes: int):
        super().__init__(model, shape[2], ((32, 3, 1), (64, 4, 2), (64, 4, 1)))
        size = self.size_after(shape).numel()
        for i, units in enumerate((1000, 512, 64)):
            self.add_module(f"dense_{i + 1}", nn.Linear(size, _scaled(units, model)))
            size = _scaled(units, model)
        self.dense_4 = nn.Linear(size, num_classes)

    def forward(self, x):
        x = self.convolve(x).permute(0, 2, 3, 1).flatten(1)
        return self.dense_4(F.relu(self.dense_3(F.relu(self.dense_2(F.relu(self.dense_1(x)))))))


class CNNLSTM(Convolutions):
    def __init__(self, model: config_lib.Model, shape: tuple[int, ...], num_classes: int):
        super().__init__(model, shape[2], ((32, 3, 1), (64, 4, 1), (64, 4, 1)))
        channels, _, columns = self.size_after(shape)
        sizes = [channels * columns, *(_scaled(units, model) for units in (1000, 500, 100, 50))]
        self.lstm_1, self.lstm_2 = _built_in("lstm", *sizes[:2]), _built_in("lstm", *sizes[1:3])
        self.dense_1, self.dense_2 = nn.Linear(*sizes[2:4]), nn.Linear(*sizes[3:5])
        self.dense_3 = nn.Linear(sizes[4], num_classes)

    def forward(self, x):
        x = self.convolve(x).permute(0, 2, 3, 1).flatten(2)
        x = self.lstm_2(self.lstm_1(x)[0])[0][:, -1]
        x = self.dropout(F.relu(self.dense_1(x)))
        return self.dense_3(self.dropout(F.relu(self.dense_2(x))))


class GRU(nn.Module):
    """The GRU of Cho et al. 2014, with the reset gate before the product."""

    def __init__(self, channels: int, size: int):
        super().__init__()
        self.size = size
        self.weight_ih_l0 = nn.Parameter(torch.empty(3 * size, channels))
        self.weight_hh_l0 = nn.Parameter(torch.empty(3 * size, size))
        self.bias_ih_l0 = nn.Parameter(torch.zeros(3 * size))

    def forward(self, x):
        inputs = F.linear(x, self.weight_ih_l0, self.bias_ih_l0).unbind(1)
        gates_kernel = self.weight_hh_l0[: 2 * self.size].T
        candidate_kernel = self.weight_hh_l0[2 * self.size :].T
        h = x.new_zeros(len(x), self.size)
        states = []
        for frame in inputs:
            gates, candidate = frame.split((2 * self.size, self.size), 1)
            update, reset = torch.addmm(gates, h, gates_kernel).sigmoid().chunk(2, 1)
            candidate = torch.addmm(candidate, reset * h, candidate_kernel).tanh()
            h = torch.lerp(candidate, h, update)
            states.append(h)
        return torch.stack(states, 1), None


class RNN(nn.Module):
    def __init__(
        self, model: config_lib.Model, shape: tuple[int, ...], num_classes: int, *, built_in: bool
    ):
        super().__init__()
        if model.bidirectional:
            raise ValueError("model.bidirectional is True; the peers read in one direction")
        channels = shape[1]
        momentum = model.batch_norm_momentum or MOMENTUM
        self.input_norm = nn.BatchNorm1d(channels, eps=1e-3, momentum=1 - momentum)
        self.names = [f"{model.cell}_{i + 1}" for i in range(model.num_layers)]
        make = functools.partial(_built_in, model.cell)
        if model.cell == "gru" and not built_in:
            make = GRU
        for name in self.names:
            self.add_module(name, make(channels, model.hidden_size))
            channels = model.hidden_size
        self.dropout = nn.Dropout(model.dropout)
        self.dense_1 = nn.Linear(channels, num_classes)

    def forward(self, x):
        x = self.input_norm(x.flatten(0, 1)).unflatten(0, x.shape[:2])
        for name in self.names[:-1]:
            x = self.dropout(self.get_submodule(name)(x)[0])
        x = self.get_submodule(self.names[-1])(x)[0][:, -1]
        return self.dense_1(self.dropout(x))


def _scaled(units: int, model: config_lib.Model) -> int:
    return max(1, round(units * model.width_multiplier))


def _built_in(cell: str, channels: int, size: int) -> nn.RNNBase:
    """Return PyTorch's layer with one bias vector: the other stays zero and is not trained."""
    kind = {"simple": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}[cell]
    layer = kind(channels, size, batch_first=True)
    layer.bias_hh_l0.requires_grad_(False).zero_()
    return layer


def make_network(
    config: config_lib.Config, shape: tuple[int, ...], *, num_classes: int, setting: str = "eager"
) -> nn.Module:
    """Return the network of `config` for inputs [B, *shape], not compiled."""
    if config.model.name == "rnn":
        built_in = setting == BUILT_IN_GRU
        return RNN(config.model, shape, num_classes, built_in=built_in)
    kind = {"bbnn": BBNN, "cnn": CNN, "cnn_lstm": CNNLSTM}[config.model.name]
    return kind(config.model, shape, num_classes)
