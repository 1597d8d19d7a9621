"""Published peak rates of accelerators, by the name that JAX gives them."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Chip:
    """Peak rates of one chip, from the Cloud TPU documentation (system architecture by version).

    Attributes:
      name: prefix of a topology such as `v5e:2x4`.
      flops: bfloat16 floating-point operations per second.
      memory: bytes of HBM.
      bandwidth: bytes per second to and from HBM.
      network: bytes per second over all links to other chips (inter-chip interconnect).
    """

    name: str
    flops: float
    memory: float
    bandwidth: float
    network: float


CHIPS = {
    "TPU v5 lite": Chip("v5e", 197e12, 16 * 2**30, 819e9, 1600e9 / 8),
    "TPU v5": Chip("v5p", 459e12, 95 * 2**30, 2765e9, 4800e9 / 8),
    "TPU v6 lite": Chip("v6e", 918e12, 32 * 2**30, 1640e9, 3584e9 / 8),
}
