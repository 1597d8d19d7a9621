"""Chips that are not here, described by their compilers: TPUs by libtpu, GPUs by JAX's plugin."""

import importlib.util
import os
import re
from collections.abc import Sequence
from typing import Any

from mgr_jax.compile_report.chips import CHIPS, GPUS_PER_HOST
from mgr_jax.errors import UserError

_GPU_NAME = re.compile(r"(h100|a100):(\d+)")
PLUGINS = ("jax_cuda13_plugin", "jax_cuda12_plugin")

# What XLA's GPU compiler has to know of the device, in the terms of its `GpuTargetConfigProto`.
_TARGET = """
gpu_device_info {{
  threads_per_block_limit: 1024
  threads_per_warp: 32
  shared_memory_per_block: 49152
  shared_memory_per_core: {shared_memory_per_core}
  shared_memory_per_block_optin: {shared_memory_per_block}
  threads_per_core_limit: 2048
  core_count: {cores}
  fpus_per_core: {fpus}
  block_dim_limit_x: 2147483647
  block_dim_limit_y: 65535
  block_dim_limit_z: 65535
  thread_dim_limit_x: 1024
  thread_dim_limit_y: 1024
  thread_dim_limit_z: 64
  registers_per_core_limit: 65536
  registers_per_block_limit: 65536
  memory_bandwidth: {bandwidth}
  l2_cache_size: {cache}
  clock_rate_ghz: {clock}
  device_memory_size: {memory}
  cuda_compute_capability {{ major: {major} }}
  device_vendor: "NVIDIA Corporation"
  device_address_bits: 64
  ecc_enabled: true
  name: "{kind}"
  driver_version: "13.0.0"
  runtime_version: "12.8.0"
  compile_time_toolkit_version: "12.8.0"
  dnn_version: "9.10.0"
}}
platform_name: "CUDA"
dnn_version_info {{ major: 9 minor: 10 patch: 0 }}
device_description_str: "{kind}"
"""
_GPUS: dict[str, dict[str, Any]] = {
    "h100": {
        "kind": "NVIDIA H100 80GB HBM3",
        "major": 9,
        "cores": 132,
        "fpus": 128,
        "clock": 1.98,
        "cache": 52428800,
        "memory": 84942979072,
        "bandwidth": 3352320000000,
        "shared_memory_per_core": 233472,
        "shared_memory_per_block": 232448,
    },
    "a100": {
        "kind": "NVIDIA A100-SXM4-80GB",
        "major": 8,
        "cores": 108,
        "fpus": 64,
        "clock": 1.41,
        "cache": 41943040,
        "memory": 85100068864,
        "bandwidth": 2039040000000,
        "shared_memory_per_core": 167936,
        "shared_memory_per_block": 166912,
    },
}


def is_gpu(name: str) -> bool:
    """Return whether a topology is one of GPUs."""
    return name.partition(":")[0] in _GPUS


def describe(name: str) -> list[Any]:
    """Return the devices of a topology: `v5e:2x4`, `h100:8`, ...

    Raises:
      UserError: if the compiler is not installed, or does not know the topology.
    """
    import jax

    jax.config.update("jax_platforms", "cpu")
    return _gpus(name) if is_gpu(name) else _tpus(name)


def compiler_options(devices: Sequence[Any]) -> dict[str, str]:
    """Return XLA's options for a compilation without the devices: a GPU cannot time kernels."""
    return {} if devices[0].platform == "tpu" else {"xla_gpu_autotune_level": "0"}


def _gpus(name: str) -> list[Any]:
    match = _GPU_NAME.fullmatch(name)
    count = int(match[2]) if match else 0
    hosts, rest = divmod(count, GPUS_PER_HOST)
    if count == 0 or (hosts and rest):
        raise UserError(
            f"--topology {name}: give 1 to {GPUS_PER_HOST} GPUs of one host, or a multiple of"
            f" {GPUS_PER_HOST}, such as h100:8"
        )
    if not any(map(importlib.util.find_spec, PLUGINS)):
        raise UserError(
            f"--topology {name}: XLA's compiler for GPUs is not installed; run:"
            " pip install -e '.[cuda]' (no GPU is needed)"
        )
    assert match is not None
    target = _TARGET.format(**_GPUS[match[1]])
    shape = f"1x{max(hosts, 1)}x{GPUS_PER_HOST if hosts else count}"
    return _topology(name, platform="cuda", target_config=target, topology=shape)


def _tpus(name: str) -> list[Any]:
    # Without these, libtpu queries the network for the TPU of this machine.
    os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")
    os.environ.setdefault("TPU_WORKER_HOSTNAMES", "localhost")
    os.environ.setdefault("TPU_ACCELERATOR_TYPE", "v5litepod-8")
    # libtpu locks the chips that it expects; without chips, two compilations may run at once.
    os.environ.setdefault("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")
    if importlib.util.find_spec("libtpu") is None:
        raise UserError("libtpu is not installed; run: pip install -e '.[tpu]'")
    devices = _topology(name, platform="tpu", topology_name=name)
    if devices[0].device_kind not in CHIPS:
        known = ", ".join(chip.name for chip in CHIPS.values())
        raise UserError(
            f"--topology {name}: no published peaks of {devices[0].device_kind!r} in"
            f" mgr_jax/compile_report/chips.py, which has {known}; add them"
        )
    return devices


def _topology(name: str, **options: Any) -> list[Any]:
    from jax.experimental import topologies

    try:
        return list(topologies.get_topology_desc(**options).devices)
    except (RuntimeError, ValueError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"--topology {name}: {reason}; give one such as v5e:2x4") from error
