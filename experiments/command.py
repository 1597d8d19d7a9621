"""What all commands share: the `--config` flags, and errors that fill one line.

Heavy imports stay inside the commands' functions, so that `--help` and a mistyped flag answer at
once.
"""

import importlib.util
import io
import itertools
import os
import pathlib
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

from absl import app, flags, logging
from ml_collections import config_flags

from experiments import ending, flag_errors
from experiments.ending import Ending, spell
from mgr_jax import config as config_lib
from mgr_jax.errors import UserError
from mgr_jax.escape import printable
from mgr_jax.files import naming_file

# Exit codes beside 0, 1 and `ending.CLOSED_PIPE`, in the convention of shells where there is one.
INTERRUPTED = 130  # 128 + SIGINT
PREEMPTED = 75  # EX_TEMPFAIL: run it again; a cluster would take 0 for done.

# Flags whose values are arguments of the package's functions: their errors name the argument.
_ARGUMENT = re.compile("(workdirs?|protocols|seeds)[ :]")

Main = Callable[[Sequence[str]], Ending | int | None]


def run(main: Main) -> None:
    """Parse the flags and run a command; a user's error ends in one line and exit code 1.

    An `Ending` that `main` returns is printed on stderr; an exit code alone is not.
    """
    program = sys.modules["__main__"]
    program.__doc__ = spell(program.__doc__ or "")  # `--help` prints it.
    with ending.open_pipes():
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


def output_file(flag: str, path: str) -> pathlib.Path:
    """Return `path`, the value of a flag, as a file that can be written; its folder is made.

    Raises:
      UserError: if it cannot.
    """
    file, reason = pathlib.Path(path), "permission denied"
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        writable = os.access(file if file.exists() else file.parent, os.W_OK)
        if writable and path and not file.is_dir():
            return file
        reason = "no name of a file" if writable else reason
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
    raise UserError(
        f"--{flag} {path or '(empty)'}: cannot be written ({reason}); give another file"
    )


def write_output(flag: str, path: str, text: str) -> None:
    """Write `text` to the file `path`, the value of a flag.

    Raises:
      UserError: if it cannot be written.
      OSError: if the disk is full; it names the file.
    """
    file = output_file(flag, path)
    with naming_file(file):
        file.write_text(text, encoding="utf-8")


def run_other(name: str, *arguments: str) -> None:
    """Run `python -m experiments.<name>` on this terminal and wait for it.

    Raises:
      UserError: if it fails; it has printed the reason itself.
    """
    done = subprocess.run(
        [sys.executable, "-m", f"experiments.{name}", *arguments],
        env=os.environ | ending.CHILD,
        check=False,
    )
    if done.returncode:
        raise UserError(f"experiments.{name} {arguments[0]} failed; see above")


def config_arguments() -> list[str]:
    """Return the arguments of this command that give the config, for another command."""
    chosen, is_value = [], False
    for word in sys.argv[1:]:
        is_flag = re.match(r"--?config(?=[.=]|$)", word) is not None
        if is_flag or is_value:
            chosen.append(word)
        is_value = is_flag and "=" not in word
    return chosen


def training(config: config_lib.Config, *overrides: str) -> tuple[str, ...]:
    """Return the command that trains the system of this command, whose config is `config`.

    Its workdir is a new one: another would belong to another training or cross-validation.
    """
    folder = new_folder(f"runs/{config.model.name}")
    return ("train", *config_arguments(), *overrides, f"--workdir={folder}")


def new_folder(path: str) -> str:
    """Return `path`, or with a number after it if there is something."""
    numbered = (f"{path}-{number}" for number in itertools.count(2))
    return next(name for name in itertools.chain([path], numbered) if not os.path.exists(name))


def split_flag(part: str) -> tuple[str, ...]:
    """Return the flag of another command for `part`; none for `test`, its default."""
    return () if part == "test" else (f"--split={part}",)


def page_or_prediction(*flags_of_model: str) -> tuple[str, ...]:
    """Return the command that lets a user hear what a model is worth: the page where it can run."""
    if importlib.util.find_spec("gradio"):
        return ("app", *flags_of_model)
    return ("predict", *flags_of_model, "SONG.mp3")


def define_config() -> flags.FlagHolder:
    """Define the required flag `--config=FILE.py`, with overrides like `--config.data.root=DIR`."""
    text = "Python file with get_config(); --config.SECTION.FIELD=VALUE overrides it."
    try:
        holder = config_flags.DEFINE_config_file("config", None, text)
    except flags.Error as error:  # Of a file of flags, which is read here.
        _fail(flag_errors.describe(error))
    flags.mark_flag_as_required("config")
    _show_in_help("config")
    return holder


def _show_in_help(name: str) -> None:
    """Let `--help` list the flag, which is defined here, as one of the command."""
    flags.FLAGS.register_key_flag_for_module(sys.argv[0], flags.FLAGS[name])


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
            reason = flag_errors.loading_error(error)
            if missing := flag_errors.missing_file(reason):
                raise UserError(missing) from error
        raise UserError(f"--config: {reason}; give a file whose get_config() returns a Config")
    values = config_lib.to_json(value)
    _choose_length(values["data"], override_values(holder))
    return config_lib.validate_for_training(config_lib.from_json(values))


def _choose_length(data: dict[str, Any], overrides: Mapping[str, Any]) -> None:
    """Let `data.clip_seconds` of the command line replace the `clip_samples` of a config file.

    Raises:
      UserError: if both are given.
    """
    seconds, samples = (f"data.{name}" in overrides for name in ("clip_seconds", "clip_samples"))
    if seconds and not samples:
        data["clip_samples"] = 0
    elif data["clip_samples"] and data["clip_seconds"] != config_lib.Data.clip_seconds:
        raise UserError(
            f"data.clip_seconds is {data['clip_seconds']}, and data.clip_samples"
            f" {data['clip_samples']}; give the length of a clip by one of them"
        )


def define_overrides() -> flags.FlagHolder:
    """Define the flags `--config.data.FIELD=VALUE`, which override the config of a workdir."""
    try:
        text = "--config.data.FIELD=VALUE: other data than in training; all else is the model's."
        holder = config_flags.DEFINE_config_dataclass("config", config_lib.Config(), text)
        _show_in_help("config")
        return holder
    except Exception as error:  # The overrides are parsed here.
        _fail(flag_errors.misnamed(sys.argv[1:]) or flag_errors.describe(error))


def override_values(holder: flags.FlagHolder) -> dict[str, Any]:
    """Return the overrides given for `define_overrides`: dotted field -> value."""
    return config_flags.get_override_values(flags.FLAGS[holder.name])


def apply_overrides(config: config_lib.Config, overrides: Mapping[str, Any]) -> config_lib.Config:
    """Return `config` with `overrides`, the `override_values` of `define_overrides`.

    Raises:
      UserError: for a field outside `data`: the rest belongs to the trained model.
    """
    values = config_lib.to_json(config)
    for name, value in overrides.items():
        section, _, field = name.partition(".")
        if section != "data" or not field:
            raise UserError(
                f"--config.{name}: belongs to the trained model and cannot be changed here; only"
                " --config.data.* can"
            )
        values["data"][field] = value
    if {"data.clip_seconds", "data.clip_samples"} & overrides.keys():
        _choose_length(values["data"], overrides)
    validate = config_lib.validate
    if "data.root" in overrides:
        validate = config_lib.validate_for_training
    return validate(config_lib.from_json(values))


def _report_thread(args: threading.ExceptHookArgs) -> None:
    """Print the failure of a background thread as one line; the command goes on without it."""
    if args.exc_type is not SystemExit:
        name = args.thread.name if args.thread else "a thread"
        reason = " ".join(f"{args.exc_type.__name__}: {args.exc_value}".split())[:200]
        print(f"warning: {name} has ended: {reason}", file=sys.stderr)


def packaged_config(value: str) -> str:
    """Return the file of a config of `experiments/configs` that is given by its name alone.

    `bbnn:image` becomes `.../experiments/configs/bbnn.py:image`, so that an installed package needs
    no clone; a file, and what is no such name, stays as it is. A folder does not count: it may be
    the workdir of the same name.
    """
    name, _, variant = value.partition(":")
    file = pathlib.Path(__file__).parent / "configs" / f"{name}.py"
    if not name.isidentifier() or os.path.isfile(value) or not file.exists():
        return value
    return f"{file}:{variant}" if variant else str(file)


def _with_packaged_config(argv: Sequence[str]) -> list[str]:
    argv = list(argv)
    for i, argument in enumerate(argv):
        flag, equals, value = argument.partition("=")
        if flag not in ("--config", "-config"):
            continue
        if equals:
            argv[i] = f"{flag}={packaged_config(value)}"
        elif argv[i + 1 :]:
            argv[i + 1] = packaged_config(argv[i + 1])
    return argv


def _parse(argv: Sequence[str]) -> list[str]:
    argv = ["--help" if word == "-h" else word for word in _with_packaged_config(argv)]
    if problem := flag_errors.misnamed(argv[1:]):
        _fail(problem)
    try:
        return flags.FLAGS(argv)
    except BrokenPipeError:  # Of `--help | head`.
        raise
    except SystemExit:
        if any(re.fullmatch(r"--?help\w*", word) for word in argv):  # absl's code is 1.
            sys.exit(0)
        raise
    except Exception as error:  # The user's config file may raise anything.
        _fail(flag_errors.describe(error))


def _run_guarded(main: Main, argv: Sequence[str]) -> int:
    began = time.monotonic()
    logging.set_verbosity(logging.WARNING)  # JAX reports every backend that it does not find.
    for stream in (sys.stdout, sys.stderr):  # A terminal may lack a character.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    report_thread, threading.excepthook = threading.excepthook, _report_thread
    try:
        result = main(argv) or 0
        if isinstance(result, int):
            return result
        ending.show(result, time.monotonic() - began)
        return result.code
    except UserError as error:
        _fail(_with_flags(str(error)))
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from here", file=sys.stderr, flush=True)
        sys.stdout.flush()
        os._exit(INTERRUPTED)  # A regular exit crashes while XLA compiles in a thread.
    except BrokenPipeError:
        raise
    except OSError as error:
        _fail(f"{error.filename or 'file'}: {error.strerror or error}; free the path or the disk")
    finally:
        threading.excepthook = report_thread


def _with_flags(message: str) -> str:
    """Return an error of a function of the package with flags in place of its arguments."""
    if "checkpoint" in flags.FLAGS:
        message = message.replace("checkpoint_name", "--checkpoint")
    if "explain_method" in flags.FLAGS:
        message = re.sub(r"^method (?=\S+: )", "--explain_method ", message)
    match = _ARGUMENT.match(message)
    is_given = match and match[1] in flags.FLAGS and flags.FLAGS[match[1]].present
    return f"--{message}" if is_given else message


def _fail(message: str) -> NoReturn:
    print("error: " + printable(spell(" ".join(message.split()))), file=sys.stderr)
    sys.exit(1)
