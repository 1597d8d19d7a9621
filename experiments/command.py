"""What all commands share: the `--config` flags, JAX's settings, and errors that fill one line.

Heavy imports stay inside the commands' functions, so that `--help` and a mistyped flag answer at
once.
"""

import ctypes
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from absl import app, flags, logging
from ml_collections import config_flags

from mgr_jax import config as config_lib
from mgr_jax import schema
from mgr_jax.errors import UserError

# Exit codes beside 0 and 1, in the convention of shells where there is one.
INTERRUPTED = 130  # 128 + SIGINT
CLOSED_PIPE = 141  # 128 + SIGPIPE
PREEMPTED = 75  # EX_TEMPFAIL: run it again; a cluster would take 0 for done.

_NOT_LOADED = "Configuration is not available because of an earlier failure to load:"

# Environment variable -> parameter of `mallopt` with the same effect, and our value. A BBNN train
# step of the quickstart takes 0.11 s and no page faults with both (2 cores, median of two turns).
_MALLOPT = {
    # Blocks are not mapped, and unmapped, one by one: without this 0.17 s, 55 000 page faults.
    "MALLOC_MMAP_MAX_": (-4, 0),
    # The heap never shrinks: without this 0.16 s, 39 000 page faults.
    "MALLOC_TRIM_THRESHOLD_": (-1, -1),
}


def run(main: Callable[[Sequence[str]], int | None]) -> None:
    """Parse the flags and run a command; a user's error ends in one line and exit code 1."""
    app.run(lambda argv: sys.exit(_run_guarded(main, argv)), flags_parser=_parse)


def refuse_arguments(argv: Sequence[str]) -> None:
    """Raise `UserError` for an argument that is not a flag, in commands that take none."""
    if argv[1:]:
        raise UserError(f"unexpected argument {argv[1]!r}; see --help")


def model_path(workdir: str | None, model: str, packaged: Sequence[str]) -> str:
    """Return the model of the flags `--workdir` and `--model`, of which one at most is given.

    Args:
      workdir, model: values of the flags.
      packaged: names of `--model` that come with the package; others are paths.

    Raises:
      UserError: if both are given, or `--model` is no such name and no path.
    """
    if workdir is not None:
        if flags.FLAGS["model"].present:
            raise UserError("--model and --workdir: give one of them")
        return workdir
    if model not in packaged and not os.path.exists(model):
        raise UserError(
            f"--model {model or '(empty)'}: no such folder or file; give {', '.join(packaged)}, the"
            " folder of a run or a bundle"
        )
    return model


def run_other(name: str, *arguments: str) -> None:
    """Run `python -m experiments.<name>` on this terminal and wait for it.

    Raises:
      UserError: if it fails; it has printed the reason itself.
    """
    done = subprocess.run([sys.executable, "-m", f"experiments.{name}", *arguments], check=False)
    if done.returncode:
        raise UserError(f"experiments.{name} {arguments[0]} failed; see above")


def define_config() -> flags.FlagHolder:
    """Define the required flag `--config=FILE.py`, with overrides like `--config.data.root=DIR`."""
    holder = config_flags.DEFINE_config_file("config", None, "Config file with get_config().")
    flags.mark_flag_as_required("config")
    return holder


def read_config(holder: flags.FlagHolder) -> config_lib.Config:
    """Return the validated config of the flag.

    Raises:
      UserError: if the file gives no `Config`, or a field is unknown, of a wrong type or value.
    """
    value = holder.value
    if not isinstance(value, config_lib.Config):
        try:
            reason = f"get_config() returned {type(value.data).__name__}"
        except Exception as error:  # The user's file may raise anything.
            reason = " ".join(str(error).split()).removeprefix(_NOT_LOADED).strip()
        raise UserError(f"--config: {reason}; give a file whose get_config() returns a Config")
    return config_lib.validate(config_lib.from_json(config_lib.to_json(value)))


def define_overrides() -> flags.FlagHolder:
    """Define the flags `--config.data.FIELD=VALUE`, which override the config of a workdir."""
    try:
        return config_flags.DEFINE_config_dataclass("config", config_lib.Config())
    except KeyError as error:
        _fail(f"a flag --config...: {_unknown_field(error)}")


def override_values(holder: flags.FlagHolder) -> dict[str, Any]:
    """Return the overrides given for `define_overrides`: dotted field -> value."""
    return config_flags.get_override_values(flags.FLAGS[holder.name])


def apply_overrides(config: config_lib.Config, holder: flags.FlagHolder) -> config_lib.Config:
    """Return `config` with the overrides given for `define_overrides`.

    Raises:
      UserError: for a field outside `data`: the rest belongs to the trained model.
    """
    values = config_lib.to_json(config)
    for name, value in override_values(holder).items():
        section, _, field = name.partition(".")
        if section != "data" or not field:
            raise UserError(
                f"--config.{name}: belongs to the trained model and cannot be changed here; only"
                " --config.data.* can"
            )
        values["data"][field] = value
    return config_lib.validate(config_lib.from_json(values))


def set_up_jax() -> None:
    """Set what the commands need beyond JAX's defaults; call it before JAX starts a backend."""
    keep_freed_memory()
    keep_compiled_programs()


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

    if not jax.config.values["jax_compilation_cache_dir"]:
        jax.config.update("jax_compilation_cache_dir", str(cache_folder("") / "xla"))
    if "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ:
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)


def _parse(argv: Sequence[str]) -> list[str]:
    try:
        return flags.FLAGS(argv)
    except KeyError as error:
        _fail(f"a flag --config...: {_unknown_field(error)}")
    except (flags.Error, ValueError, TypeError, OSError) as error:
        # A config file that cannot be loaded raises OSError, with the reason at the end.
        reason = " ".join(str(error).split()).removeprefix(_NOT_LOADED).strip()
        _fail(reason.rstrip(".") + "; see --help")


def _unknown_field(error: KeyError) -> str:
    """Name the field of the bare KeyError that ml_collections raises for one it does not know."""
    text = str(error.args[0])
    words = text.replace("'", " ").split()
    if text.startswith("Field "):
        section, name = text.rpartition(".")[2].rstrip("'>").lower(), words[1]
        names = vars(getattr(config_lib.Config(), section, config_lib.Config()))
        problem = f"{section} has no field {name!r}{schema.did_you_mean(name, names)}"
    else:
        name = text.rpartition("lookup: ")[2]
        sections = vars(config_lib.Config())
        problem = f"no config field {name!r}{schema.did_you_mean(name.split('.')[0], sections)}"
    return f"{problem}; see mgr_jax/config_sections.py for the fields"


def _run_guarded(main: Callable[[Sequence[str]], int | None], argv: Sequence[str]) -> int:
    logging.set_verbosity(logging.WARNING)  # JAX reports every backend that it does not find.
    try:
        return main(argv) or 0
    except UserError as error:
        _fail(str(error))
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from here", file=sys.stderr, flush=True)
        sys.stdout.flush()
        os._exit(INTERRUPTED)  # A regular exit crashes while XLA compiles in a thread.
    except BrokenPipeError:  # The reader of a pipe has closed it: `predict ... | head`.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return CLOSED_PIPE
    except OSError as error:
        _fail(f"{error.filename or 'file'}: {error.strerror or error}; free the path or the disk")


def _fail(message: str) -> NoReturn:
    print("error: " + " ".join(message.split()), file=sys.stderr)
    sys.exit(1)
