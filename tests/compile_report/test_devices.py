"""Topologies of GPUs: their names, their network, and what is said without the compiler."""

import importlib.util

import pytest

from mgr_jax.compile_report import chips, devices
from mgr_jax.errors import UserError


class Device:
    def __init__(self, kind, platform="cuda"):
        self.device_kind, self.platform = kind, platform


@pytest.fixture(name="described")
def _described(monkeypatch):
    """Options that JAX is given, where the compiler for GPUs is installed."""
    described = []
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name == "jax_cuda13_plugin")

    def topology(name, **options):
        described.append(options)
        return [Device("NVIDIA H100 80GB HBM3")]

    monkeypatch.setattr(devices, "_topology", topology)
    return described


@pytest.mark.parametrize(
    ("name", "shape", "kind"),
    [
        ("h100:1", "1x1x1", "NVIDIA H100 80GB HBM3"),
        ("h100:8", "1x1x8", "NVIDIA H100 80GB HBM3"),
        ("a100:4", "1x1x4", "NVIDIA A100-SXM4-80GB"),
        ("h100:32", "1x4x8", "NVIDIA H100 80GB HBM3"),
    ],
)
def test_describe_gpus_has_hosts_of_eight(described, name, shape, kind):
    devices.describe(name)
    (options,) = described
    assert options["platform"] == "cuda" and options["topology"] == shape
    assert f'name: "{kind}"' in options["target_config"] and kind in chips.CHIPS


@pytest.mark.parametrize("name", ["h100", "h100:0", "h100:2x4", "a100:12", "a100:-1"])
def test_describe_refuses_what_is_no_number_of_gpus(described, name):
    with pytest.raises(UserError, match=f"--topology {name}: give 1 to 8 GPUs .* such as h100:8"):
        devices.describe(name)
    assert not described


def test_describe_names_the_missing_compiler(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"compiler for GPUs is not installed; run: pip install"):
        devices.describe("h100:8")


def test_chip_of_more_gpus_than_a_host_has_the_network_between_hosts():
    one, two = (chips.chip_of([Device("NVIDIA A100-SXM4-80GB")] * n) for n in (8, 16))
    assert one.network == 300e9 and two.network == one.between_hosts == 25e9
    tpu = chips.chip_of([Device("TPU v5 lite", "tpu")] * 256)
    assert tpu == chips.CHIPS["TPU v5 lite"]


def test_compiler_options_forbid_a_gpu_to_time_kernels():
    assert devices.compiler_options([Device("", "tpu")]) == {}
    assert devices.compiler_options([Device("")]) == {"xla_gpu_autotune_level": "0"}
