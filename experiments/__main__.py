"""All commands by one name: `mgr-jax train ...` is `python -m experiments.train ...`."""

import difflib
import pathlib
import runpy
import sys

from experiments import ending

# In the order in which a user needs them.
COMMANDS = {
    "predict": "name the genre of songs",
    "app": "show a page that names the genre of songs",
    "tags": "show 50 tags of a song over time",
    "train": "train one system",
    "evaluate": "score a trained system on a part of its data",
    "cross_validate": "train and score every fold of a protocol",
    "compare": "test whether one system is better than another",
    "report": "write one page about several runs, or tables and figures for a paper",
    "plant_tone": "write a data set in which a tone gives one class away",
    "explain": "test whether the explanations of a system can be trusted",
    "audit": "show what leaks between the parts of a split",
    "prepare": "decode and check the data ahead of time",
    "export": "write a trained system as files that need no training code",
    "systems": "train and evaluate all six systems",
    "arrays": "cross-validate all systems on a file of spectrograms",
    "layer_scales": "show what each layer of an untrained network reads",
    "fit_gtzan": "fit the model that comes with the package",
    "compile_for": "compile a training step for a TPU or GPU that is not here",
    "scaling": "compile all networks for several TPUs and GPUs",
    "import_keras": "make a workdir of the BBNN authors' weights",
    "import_musicnn": "make the model of MusiCNN of its authors' files",
}


def main() -> None:
    """Run the command that the first argument names, with the rest as its flags."""
    with ending.open_pipes():
        _run()


def _run() -> None:
    if sys.argv[1:2] == ["help"] and sys.argv[2:]:
        sys.argv[1:] = [sys.argv[2], "--help"]
    name = sys.argv[1] if sys.argv[1:] else "--help"
    if name in ("--help", "-h", "help", "--version"):
        print(_version() if name == "--version" else _usage())
        return
    name = name.replace("-", "_")
    if name not in COMMANDS:
        near = difflib.get_close_matches(name, COMMANDS, n=1)
        tip = f" (did you mean {near[0]}?)" if near else ""
        print(f"error: {name!r} is no command{tip}; see {_program()} --help", file=sys.stderr)
        sys.exit(1)
    ending.prefix = f"{_program()} "
    del sys.argv[1]
    runpy.run_module(f"experiments.{name}", run_name="__main__", alter_sys=True)


def _usage() -> str:
    lines = [f"  {name:<15} {text}" for name, text in COMMANDS.items()]
    program = _program()
    return "\n".join([f"usage: {program} COMMAND [FLAGS]; {program} COMMAND --help", "", *lines])


def _program() -> str:
    """Return what the user has typed: the console script exists in an installed package alone."""
    is_module = pathlib.Path(sys.argv[0]).name == "__main__.py"
    return "python -m experiments" if is_module else "mgr-jax"


def _version() -> str:
    from mgr_jax import version

    return f"mgr-jax {version.VERSION}"


if __name__ == "__main__":
    main()
