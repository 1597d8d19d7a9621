"""Mistakes in flags and `--config.*` overrides, in one plain line each."""

import dataclasses
import difflib
import pathlib
import re
from collections.abc import Iterable

from absl import flags

from mgr_jax import config as config_lib
from mgr_jax import schema
from mgr_jax.errors import UserError

_NOT_LOADED = "Configuration is not available because of an earlier failure to load:"
_MISSING = re.compile(r"flag --([\w.]+)=None: Flag --\S+ must have a value other than None")
_NO_VALUE = re.compile(r"(?:.*: )?Missing value for flag (--\S+)")
_NO_FILE = re.compile(r"Attempted \[[^]]*\]: (.*?) \[Errno 2\]")
_ORDER = re.compile(r"Found (--\S+) in argv before a value for --config was specified")
_VALUE = re.compile(r"flag --([\w.]+)=(.*?): (.*)", re.DOTALL)
_FIELD = re.compile(r"Field |lookup: ")
_NO_VARIANT = "get_config() takes 0 positional arguments"
_KINDS = {
    "invalid literal for int()": "it must be a whole number",
    "could not convert string to float": "it must be a number",
    "Non-boolean argument": "it must be true or false",
}


# A name that is empty, ends in a dot, or has more than a section and a field.
_NO_NAME = re.compile(r"--?config\.([^=]*\.)?(=|$)|--?config\.[^.=\[]*\.[^.=\[]*\.")


def misnamed(arguments: Iterable[str]) -> str:
    """Return what is wrong with the first `--config.*` that names no section and field, or ""."""
    for argument in arguments:
        name = argument.partition("=")[0]
        if _NO_NAME.match(argument):
            return f"{name}: is no field; write --config.SECTION.FIELD=VALUE; see --help"
        section = name.lstrip("-").partition("config.")[2]
        if name.startswith("-") and section in vars(config_lib.Config()):
            return f"{name}: is a section; write --config.{section}.FIELD=VALUE; see --help"
    return ""


def describe(error: Exception) -> str:
    """Return what is wrong with the flags, from what absl, ml_collections or a config raised."""
    if isinstance(error, flags.UnrecognizedFlagError):
        return _unknown_flag(error.flagname)
    if isinstance(error, KeyError) and _FIELD.search(str(error.args[:1])):
        return unknown_field(error)
    if isinstance(error, UserError):
        return f"--config: {error}"
    if _NO_VARIANT in str(error):
        return "--config: this file has no variants; leave out the colon and what follows it"
    # A config file that cannot be loaded raises OSError, with the reason at the end.
    reason = loading_error(error).rstrip(".")
    if no_value := _NO_VALUE.fullmatch(reason):
        return f"{no_value[1]} has no value; write {no_value[1]}=VALUE; see --help"
    if "Overriding config is not allowed" in reason:
        return "--config: the workdir has the config; give --config.data.FIELD=VALUE alone"
    if missing_config := missing_file(reason):
        return missing_config
    if missing := _MISSING.findall(reason):
        names = (f"--{name} is missing ({flags.FLAGS[name].help.rstrip('.')})" for name in missing)
        return f"{'; '.join(names)}; see --help"
    if order := _ORDER.match(reason):
        return f"--config=FILE is missing before {order[1].partition('=')[0]}; give it first"
    if value := _VALUE.fullmatch(reason):
        name, given, why = value.groups()
        why = next((text for start, text in _KINDS.items() if start in why), why)
        return f"--{name} is {given!r}; {why}; see --help"
    is_flag = isinstance(error, flags.Error) or "does not take an argument" in reason
    if is_flag and _NOT_LOADED not in str(error):
        return f"{reason.removeprefix('ValueError: ').removeprefix('ERROR:: ')}; see --help"
    return f"--config: {reason}; give a file whose get_config() returns a Config"


def missing_file(reason: str) -> str:
    """Return what to do about a `--config` that is no file, or "" if `reason` is another."""
    match = _NO_FILE.search(reason)
    if not match:
        return ""
    names = [path.stem for path in (pathlib.Path(__file__).parent / "configs").glob("[a-z]*.py")]
    tip = schema.did_you_mean(match[1], names)
    return f"--config: {match[1]}: no such file{tip}; give a Python file with get_config()"


def loading_error(error: Exception) -> str:
    """Return why a config file cannot be loaded: the last line of a traceback, if it is one."""
    text = str(error).removeprefix(_NOT_LOADED).strip()
    if "Traceback (most recent call last)" in text:
        text = text.splitlines()[-1]
    elif not isinstance(error, flags.Error | OSError):
        text = f"{type(error).__name__}: {text}"
    return " ".join(text.split()).rstrip(".")


def unknown_field(error: KeyError) -> str:
    """Name the field of the bare KeyError that ml_collections raises for one it does not know."""
    text = str(error.args[0])
    words = text.replace("'", " ").split()
    if text.startswith("Field "):
        section, name = text.rpartition(".")[2].rstrip("'>").lower(), words[1]
        names = vars(getattr(config_lib.Config(), section, config_lib.Config()))
        problem = f"{section} has no field {name!r}"
        tip = schema.did_you_mean(name, names) or _like(name)
    else:
        name = text.rpartition("lookup: ")[2]
        sections = vars(config_lib.Config())
        problem = f"no config field {name!r}"
        tip = schema.did_you_mean(name.split(".")[0], sections)
        tip = (_like(name) or tip) if "." not in name else tip
    return f"a flag --config...: {problem}{tip}; see mgr_jax/config_sections.py for the fields"


def _unknown_flag(name: str) -> str:
    if name.split(".")[0] == "config":
        if "config" not in flags.FLAGS:
            return f"--{name} is unknown here: this command takes no config; see --help"
        return f"--config=FILE is missing before --{name}; give it first"
    tip = ""
    if "config" in flags.FLAGS and name in _fields():
        tip = _like(name, prefix="--config.")
    if not tip:
        names = [flag for flag in flags.FLAGS if len(flag) > 1]
        tip = schema.did_you_mean(name, names).replace("'", "--", 1).replace("'", "")
    if not tip and "config" in flags.FLAGS:
        tip = _like(name, prefix="--config.")
    return f"--{name} is unknown{tip}; see --help"


def _like(name: str, *, prefix: str = "") -> str:
    """Return a tip that names the config field that is called `name`, or nearly so."""
    fields = _fields()
    matches = difflib.get_close_matches(name, fields, n=1)
    return f" (did you mean {prefix}{fields[matches[0]]}?)" if matches else ""


def _fields() -> dict[str, str]:
    """Return name -> dotted name of all fields of a config."""
    return {
        field.name: f"{section}.{field.name}"
        for section, values in vars(config_lib.Config()).items()
        for field in dataclasses.fields(values)
    }
