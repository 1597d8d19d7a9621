"""JAX's settings that the commands need beyond its defaults: memory and compiled programs."""

import contextlib
import ctypes
import glob
import os
import pathlib
import platform
import re
import sys
import warnings
from typing import Any

_CACHE_WARNING = re.compile(
    r"Error (reading|writing) persistent compilation cache entry for '([^']+)': (.*)", re.DOTALL
)

# Environment variable -> parameter of `mallopt` with the same effect, and our value. A BBNN train
# step of the quickstart takes 0.11 s and no page faults with both (2 cores, median of two turns).
_MALLOPT = {
    # Blocks are not mapped, and unmapped, one by one: without this 0.17 s, 55 000 page faults.
    "MALLOC_MMAP_MAX_": (-4, 0),
    # The heap never shrinks: without this 0.16 s, 39 000 page faults.
    "MALLOC_TRIM_THRESHOLD_": (-1, -1),
}


def set_up(*, deterministic: bool = False) -> None:
    """Set what the commands need beyond JAX's defaults; call it before JAX starts a backend.

    `deterministic` lets XLA choose kernels for GPUs that add in the same order at every run.
    """
    keep_freed_memory()
    keep_compiled_programs()
    if deterministic:
        given = os.environ.get("XLA_FLAGS", "")
        os.environ["XLA_FLAGS"] = f"{given} --xla_gpu_deterministic_ops=true".strip()


def keep_freed_memory() -> None:
    """Keep the memory that one CPU step frees for the next one, instead of returning it.

    XLA allocates the temporaries of a step anew every time. By default glibc maps blocks of that
    size from the system and unmaps them again, and every step takes page faults for all of them.
    A variable that is set in the environment takes precedence over the setting here.
    """
    import jax

    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        for variable, (parameter, value) in _MALLOPT.items():
            if variable not in os.environ:
                libc.mallopt(parameter, value)
    # glibc keeps memory for the main thread alone, and asynchronous dispatch computes in another:
    # with it the same step takes 55 000 page faults again, and 0.15 s.
    if "JAX_CPU_ENABLE_ASYNC_DISPATCH" not in os.environ:
        jax.config.update("jax_cpu_enable_async_dispatch", False)


def keep_compiled_programs() -> None:
    """Let JAX keep what it compiles in the user's cache folder, so that a second start is fast.

    JAX's own variables take precedence: `JAX_COMPILATION_CACHE_DIR` names another folder, and
    `JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS` the compile time from which a program is kept.
    """
    import jax

    from mgr_jax.data.clips import cache_folder

    folder = jax.config.values["jax_compilation_cache_dir"]
    if not folder:
        folder = str(cache_folder("") / "xla")
        jax.config.update("jax_compilation_cache_dir", folder)
    if "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ:
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
    _remove_damaged_programs(pathlib.Path(folder))


def _remove_damaged_programs(folder: pathlib.Path) -> None:
    """Let JAX's warnings of damaged programs in its cache remove them, and fill one line each.

    JAX never replaces an entry, so that it would compile and warn at every start.
    """
    show = warnings.showwarning

    def show_or_remove(message: Warning | str, *args: Any, **kwargs: Any) -> None:
        match = _CACHE_WARNING.match(str(message))
        if not match:
            show(message, *args, **kwargs)
            return
        verb, name, reason = match.groups()
        for path in folder.glob(f"{glob.escape(name)}-*") if verb == "reading" else ():
            with contextlib.suppress(OSError):
                path.unlink()
        reason = " ".join(reason.split())[:200]
        print(f"warning: {verb} the compiled {name} in {folder}: {reason}", file=sys.stderr)

    warnings.showwarning = show_or_remove
