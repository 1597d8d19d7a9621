"""Published peak rates of accelerators, by the name that JAX gives them."""

import dataclasses
from collections.abc import Sequence
from typing import Any

GPUS_PER_HOST = 8


@dataclasses.dataclass(frozen=True)
class Chip:
    """Peak rates of one chip.

    TPUs: from the Cloud TPU documentation (system architecture by version). GPUs: from NVIDIA's
    data sheets of the SXM modules, without sparsity, and as XLA describes them.

    Attributes:
      name: prefix of a topology such as `v5e:2x4` or `h100:8`.
      flops: bfloat16 floating-point operations per second.
      memory: bytes of HBM for programs: all of a TPU's, and three fourths of a GPU's, which is what
        JAX takes of it by default (`XLA_PYTHON_CLIENT_MEM_FRACTION`).
      bandwidth: bytes per second to and from HBM.
      network: bytes per second over all links to other chips: the interconnect of a TPU, NVLink of
        a GPU in one direction.
      between_hosts: the same between GPUs of several hosts, one network card for each GPU; 0 where
        it is the same network.
    """

    name: str
    flops: float
    memory: float
    bandwidth: float
    network: float
    between_hosts: float = 0.0


CHIPS = {
    "TPU v5 lite": Chip("v5e", 197e12, 16 * 2**30, 819e9, 1600e9 / 8),
    "TPU v5": Chip("v5p", 459e12, 95 * 2**30, 2765e9, 4800e9 / 8),
    "TPU v6 lite": Chip("v6e", 918e12, 32 * 2**30, 1640e9, 3584e9 / 8),
    "NVIDIA H100 80GB HBM3": Chip("h100", 989e12, 0.75 * 84942979072, 3352e9, 450e9, 400e9 / 8),
    "NVIDIA A100-SXM4-80GB": Chip("a100", 312e12, 0.75 * 85100068864, 2039e9, 300e9, 200e9 / 8),
}


def chip_of(devices: Sequence[Any]) -> Chip:
    """Return the chip of these devices, with the network that they share."""
    chip = CHIPS[devices[0].device_kind]
    if chip.between_hosts and len(devices) > GPUS_PER_HOST:
        return dataclasses.replace(chip, network=chip.between_hosts)
    return chip
