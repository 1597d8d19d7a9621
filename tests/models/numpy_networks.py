"""The networks in plain NumPy, float64, one loop per definition: what the tests hold ours to."""

import numpy as np

UNITS = ("unit_1x1", "reduce_3x3", "unit_3x3", "reduce_5x5", "unit_5x5", "unit_pool")


def double(tree):
    """Every array of nested dicts in float64."""
    if isinstance(tree, dict):
        return {name: double(value) for name, value in tree.items()}
    return np.asarray(tree, np.float64)


def relu(x):
    return np.maximum(x, 0)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def _margins(length, window, stride):
    """Zeros that `same` puts before and after, in TensorFlow's convention."""
    total = max((-(-length // stride) - 1) * stride + window - length, 0)
    return total // 2, total - total // 2


def _windows(x, window, strides, padding, fill):
    """The value at each place of the window, as [B, H', W', C] arrays in row-major order."""
    if padding == "SAME":
        pads = [_margins(x.shape[i + 1], window[i], strides[i]) for i in (0, 1)]
        x = np.pad(x, [(0, 0), *pads, (0, 0)], constant_values=fill)
    rows = (x.shape[1] - window[0]) // strides[0] + 1
    columns = (x.shape[2] - window[1]) // strides[1] + 1
    for i in range(window[0]):
        for j in range(window[1]):
            yield x[:, i :: strides[0], j :: strides[1]][:, :rows, :columns]


def conv(x, params, strides=(1, 1), padding="SAME"):
    kernel = params["kernel"]
    places = kernel.reshape(-1, *kernel.shape[2:])
    pieces = _windows(x, kernel.shape[:2], strides, padding, 0.0)
    return sum(piece @ k for piece, k in zip(pieces, places, strict=True)) + params["bias"]


def max_pool(x, window, strides, padding="VALID"):
    return np.max(list(_windows(x, window, strides, padding, -np.inf)), axis=0)


def average_pool(x):
    return np.mean(list(_windows(x, (2, 2), (2, 2), "VALID", 0.0)), axis=0)


def dense(x, params):
    return x @ params["kernel"] + params["bias"]


def batch_norm(x, params, stats, momentum):
    """Output and new statistics; `momentum` None means evaluation."""
    mean, var = stats["mean"], stats["var"]
    if momentum is not None:
        axes = tuple(range(x.ndim - 1))
        mean, var = x.mean(axes), x.var(axes)
        stats = {
            "mean": momentum * stats["mean"] + (1 - momentum) * mean,
            "var": momentum * stats["var"] + (1 - momentum) * var,
        }
    return (x - mean) / np.sqrt(var + 1e-3) * params["scale"] + params["bias"], stats


def bbnn(x, params, stats, num_modules, momentum=None):
    """Logits and new statistics."""
    new = {}

    def norm(x, *path):
        p, s, target = params, stats, new
        for part in path:
            p, s, target = p[part], s[part], target.setdefault(part, {})
        y, moved = batch_norm(x, p, s, momentum)
        target.update(moved)
        return relu(y)

    def unit(x, *path):
        p = params
        for part in path:
            p = p[part]
        return conv(norm(x, *path, "norm"), p["conv"])

    x = max_pool(norm(conv(x, params["stem_conv"]), "stem_norm"), (4, 1), (4, 1))
    for i in range(num_modules):
        m = f"broadcast_{i}"
        branches = [
            unit(x, m, "unit_1x1"),
            unit(unit(x, m, "reduce_3x3"), m, "unit_3x3"),
            unit(unit(x, m, "reduce_5x5"), m, "unit_5x5"),
            unit(max_pool(x, (3, 3), (1, 1), "SAME"), m, "unit_pool"),
        ]
        x = np.concatenate([x, *branches], axis=-1)
    x = average_pool(unit(x, "transition"))
    x = norm(x, "final_norm").mean((1, 2))
    return dense(x, params["classifier"]), new


def cnn(x, params):
    for i, stride in enumerate((1, 2, 1)):
        x = relu(conv(x, params[f"conv2d_{2 * i + 1}"], (stride, stride)))
        x = relu(conv(x, params[f"conv2d_{2 * i + 2}"], (stride, stride), "VALID"))
        x = average_pool(x)
    x = x.reshape(len(x), -1)
    for i in (1, 2, 3):
        x = relu(dense(x, params[f"dense_{i}"]))
    return dense(x, params["dense_4"])


def cnn_lstm(x, params, scan_axis):
    for i in range(3):
        x = relu(conv(x, params[f"conv2d_{2 * i + 1}"]))
        x = relu(conv(x, params[f"conv2d_{2 * i + 2}"], padding="VALID"))
        x = average_pool(x)
    steps = [x[:, i] for i in range(x.shape[1])]
    if scan_axis == "time":
        steps = [x[:, :, i] for i in range(x.shape[2])]
    x = np.stack([step.reshape(len(step), -1) for step in steps], 1)
    x = recurrent(x, params["lstm_1"], "lstm")
    x = recurrent(x, params["lstm_2"], "lstm")[:, -1]
    for i in (1, 2):
        x = relu(dense(x, params[f"dense_{i}"]))
    return dense(x, params["dense_3"])


def recurrent(x, params, cell):
    """All states [B, F, H]."""
    size = params["recurrent_kernel"].shape[0]
    gates = params["kernel"].shape[1] // size
    w, u, b = (np.split(params[k], gates, -1) for k in ("kernel", "recurrent_kernel", "bias"))
    h, c = np.zeros((len(x), size)), np.zeros((len(x), size))
    states = []
    for frame in x.swapaxes(0, 1):
        if cell == "simple":
            h = np.tanh(frame @ w[0] + h @ u[0] + b[0])
        elif cell == "gru":
            z = sigmoid(frame @ w[0] + h @ u[0] + b[0])
            r = sigmoid(frame @ w[1] + h @ u[1] + b[1])
            h = z * h + (1 - z) * np.tanh(frame @ w[2] + (r * h) @ u[2] + b[2])
        else:
            i, f, g, o = (frame @ w[k] + h @ u[k] + b[k] for k in range(4))
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
            h = sigmoid(o) * np.tanh(c)
        states.append(h)
    return np.stack(states, 1)
