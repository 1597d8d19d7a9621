"""Compile the training step for accelerators that are not here, and report its costs.

    python -m experiments.compile_for --config=experiments/configs/bbnn.py --topology=v5e:2x4
    python -m experiments.compile_for --config=experiments/configs/bbnn.py --topology=h100:8

Needs no TPU and no GPU, but their compilers: `libtpu` (`pip install -e '.[tpu]'`) or JAX's plugin
for CUDA (`pip install -e '.[cuda]'`). Up to some minutes per network, topology and batch. A GPU's
compiler cannot time its kernels without one, and takes the first that fits. `--topology=cuda` needs
neither compiler: it only lowers the step, and reports the program before it is optimised.
"""

import dataclasses
import functools
import json
import math
import re
import time
from collections.abc import Sequence
from typing import Any

from absl import flags

from experiments import command
from mgr_jax import config as config_lib
from mgr_jax.plural import plural

_CONFIG = command.define_config()
_GRIDS = "TPUs and their grid, v5e:2x4, v5p:2x2x2, ...; GPUs and their number, h100:8; or cuda."
_TOPOLOGY = flags.DEFINE_list("topology", None, _GRIDS, required=True)
_CLIPS = flags.DEFINE_list("clips_per_device", ["8"], "Rows of the batch on each device.")
_CLASSES = flags.DEFINE_integer("num_classes", 10, "Genres to tell apart.", lower_bound=2)
_JSON = flags.DEFINE_string("json", None, "File for the table as JSON.")

# The error of a compilation that does not fit has `Used 22.90G of 15.75G hbm.`
_USED = re.compile(r"[Uu]sed ([\d.]+)([KMG]?) of ([\d.]+)([KMG]?) hbm")
_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30}


def main(argv: Sequence[str]) -> command.Ending:
    """Compile for every topology and batch; return how it ended."""
    from mgr_jax import progress
    from mgr_jax.compile_report import devices as devices_lib

    command.refuse_arguments(argv)
    config = command.read_config(_CONFIG)
    _check(config)
    records = []
    for name in _TOPOLOGY.value:
        devices = [] if name == "cuda" else devices_lib.describe(name)
        for clips in sorted(map(int, _CLIPS.value)):
            what = f"{config.model.name} for {name}, {plural(clips, 'clip')} a device"
            with progress.Progress("compile", what):
                if name == "cuda":
                    records.append(_lower_for_cuda(config, clips))
                else:
                    records.append(_compile_or_search(config, name, devices, clips))
            _show(records[-1])
    if _JSON.value:
        text = json.dumps(records, indent=1)
        command.write_output("json", _JSON.value, text)
    for record in records:
        if "error" in record:
            raise command.UserError(
                f"{record['topology']}: {record['clips_per_device']} clips per device do not fit in"
                f" {_binary(record['memory'])} of HBM; the largest that does is {record['largest']}"
            )
    batch_size = f"--config.train.batch_size={records[-1]['batch_size']}"
    return command.Ending(0, command.training(config, batch_size), on_host=True)


def _check(config: config_lib.Config) -> None:
    """Raise `UserError` for a config that cannot be compiled ahead of time, or wrong flags."""
    if config.model.name not in config_lib.NETWORKS:
        raise command.UserError(
            f"model.name {config.model.name!r} is no network; nothing to compile"
        )
    if config.train.parallelism != "jit":
        raise command.UserError("train.parallelism: only 'jit' is compiled ahead of time; set it")
    for value in _CLIPS.value:
        if not value.isdecimal() or int(value) < 1:
            raise command.UserError(f"--clips_per_device {value!r}: give whole numbers from 1")


def _arguments(config: config_lib.Config, devices: Sequence[Any], clips: int) -> tuple:
    """Return the network on these devices, and the shapes of its state and of a global batch."""
    import jax
    import numpy as np

    from mgr_jax import parallel
    from mgr_jax.training import network as network_lib

    network = network_lib.make_network(config, num_classes=_CLASSES.value, devices=devices)
    state = parallel.abstract(jax.eval_shape(network.init), network.mesh)
    rows = clips * len(devices)
    shapes = {
        "waveform": ((rows, config_lib.window_length(config)), np.int16),
        "scale": ((rows,), np.float32),
    }
    shapes |= dict.fromkeys(("num_samples", "label", "row"), ((rows,), np.int32))
    batch = {name: jax.ShapeDtypeStruct(*value) for name, value in shapes.items()}
    return network, state, batch


def _compile_or_search(
    config: config_lib.Config, name: str, devices: Sequence[Any], clips: int
) -> dict:
    """Return the record of the step; where it does not fit, with that of the largest batch."""
    from mgr_jax.compile_report import program

    record = _compile(config, name, devices, clips)
    if "error" not in record:
        return record
    compile_clips = functools.partial(_compile, config, name, devices)
    largest = program.largest_batch(compile_clips, clips, record)
    facts = {"facts_of_largest": largest} if largest else {}
    return record | {"largest": largest["clips_per_device"] if largest else 0} | facts


def _compile(config: config_lib.Config, name: str, devices: Sequence[Any], clips: int) -> dict:
    """Return the record of the compiled step, or `error` and the memory that it would need."""
    import jax

    from mgr_jax.compile_report import devices as devices_lib
    from mgr_jax.compile_report import program as program_lib
    from mgr_jax.compile_report.chips import chip_of

    chip = chip_of(devices)
    record = {
        "topology": name,
        "chip": chip.name,
        "devices": len(devices),
        "clips_per_device": clips,
        "batch_size": clips * len(devices),
        "memory": chip.memory,
    }
    network, state, batch = _arguments(config, devices, clips)
    began = time.monotonic()
    try:
        compiled = network.train_step.lower(state, batch).compile(
            compiler_options=devices_lib.compiler_options(devices)
        )
    except jax.errors.JaxRuntimeError as error:
        match = _USED.search(str(error))
        if not match:
            raise
        used, unit, limit, limit_unit = match.groups()
        return record | {
            "error": "does not fit",
            "peak_memory": int(float(used) * _UNITS[unit]),
            "memory": int(float(limit) * _UNITS[limit_unit]),
        }
    is_gpu = devices_lib.is_gpu(name)
    flops = _lower_for_cuda(config, clips)["flops"] if is_gpu else math.nan
    program = program_lib.describe(compiled, flops=flops)
    if program.peak_memory > chip.memory:  # A GPU's compiler does not refuse it.
        return record | {"error": "does not fit", "peak_memory": program.peak_memory}
    seconds, bound = program_lib.lower_bound(program, chip, len(devices))
    counts = dataclasses.asdict(program)
    counts["loops_counted_once"] = counts.pop("num_loops")
    rates = {
        "compile_seconds": round(time.monotonic() - began, 1),
        "hbm_bytes_per_clip": program.hbm_bytes / clips,
        "lower_bound_seconds": seconds,
        "bound": bound,
        "scaling_efficiency": program_lib.scaling_efficiency(program, chip, len(devices)),
        "clips_per_second_at_most": clips * len(devices) / seconds,
    }
    return record | counts | rates


def _lower_for_cuda(config: config_lib.Config, clips: int) -> dict:
    """Return counts of the lowered step, before a GPU compiler fuses its operations."""
    import collections

    import jax

    jax.config.update("jax_platforms", "cpu")
    network, state, batch = _arguments(config, jax.devices()[:1], clips)
    exported = jax.export.export(network.train_step, platforms=["cuda"])(state, batch)
    operations = collections.Counter(re.findall(r"stablehlo\.(\w+)", exported.mlir_module()))
    traced = network.train_step.trace(state, batch)
    costs = traced.lower(lowering_platforms=("cuda",)).cost_analysis()
    heavy = ("convolution", "dot_general", "fft", "while", "custom_call", "reduce_window")
    return {
        "topology": "cuda",
        "devices": 1,
        "clips_per_device": clips,
        "batch_size": clips,
        "flops": costs["flops"],
        "bytes_before_fusion": costs["bytes accessed"],
        "operations": {name: operations[name] for name in heavy if operations[name]},
        "loops_counted_once": operations["while"],
    }


def _show(record: dict) -> None:
    head = f"{record['topology']}  {record['devices']} device(s), batch {record['batch_size']}"
    lines = [f"{head}, {record['clips_per_device']} clip(s) a device"]
    if "error" in record:
        lines.append(
            f"  memory       {_binary(record['peak_memory'])} needed of"
            f" {_binary(record['memory'])}: does not fit; {record['largest']} clip(s) do"
        )
    else:
        lines.append(f"  work         {record['flops'] / 1e9:.1f} GFLOP a device and step")
    if "bytes_before_fusion" in record:
        counts = ", ".join(f"{n} {name}" for name, n in record["operations"].items())
        lines += [
            f"  traffic      {record['bytes_before_fusion'] / 1e9:.2f} GB before fusion",
            f"  operations   {counts}",
        ]
    if "hbm_bytes" in record:
        kinds = ", ".join(f"{n} {kind}" for kind, n in record["collectives"].items()) or "none"
        lines += [
            f"  HBM traffic  {record['hbm_bytes'] / 1e9:.2f} GB a step,"
            f" {record['hbm_bytes_per_clip'] / 1e9:.2f} GB a clip",
            f"  memory       {_binary(record['peak_memory'])} of {_binary(record['memory'])}",
            f"  kernels      {record['num_kernels']} in a step, of loops as often as they run",
            f"  collectives  {kinds}; {record['collective_bytes'] / 1e6:.3f} MB",
            f"  step         at least {1e3 * record['lower_bound_seconds']:.2f} ms, bound by"
            f" {record['bound']}; at most {record['clips_per_second_at_most']:.0f} clips/s",
            f"  scaling      {100 * record['scaling_efficiency']:.2f} % of one device, by the"
            " peaks, without latency",
            f"  compiled in  {record['compile_seconds']} s",
        ]
    if record.get("loops_counted_once"):
        loops = record["loops_counted_once"]
        lines.append(f"  note         {loops} loop(s): other counts take their bodies once")
    print("\n".join(lines), flush=True)


def _binary(count: float) -> str:
    return f"{count / 2**30:.2f} GiB"


if __name__ == "__main__":
    command.run(main)
