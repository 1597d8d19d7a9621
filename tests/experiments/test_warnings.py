"""What would print several lines, or a traceback, fills one: threads, damaged compiled programs."""

import threading
import warnings

import jax
import jax.numpy as jnp
import pytest

from experiments import command, jax_settings


def test_a_thread_that_fails_is_one_line(capsys):
    def main(argv):
        thread = threading.Thread(target=lambda: 1 / 0, name="writer")
        thread.start()
        thread.join()

    before = threading.excepthook
    assert command._run_guarded(main, []) == 0
    assert threading.excepthook is before
    assert (
        capsys.readouterr().err
        == "warning: writer has ended: ZeroDivisionError: division by zero\n"
    )


@pytest.fixture(name="programs")
def _programs(tmp_path):
    """A cache of compiled programs of its own."""
    from jax.experimental.compilation_cache import compilation_cache

    with warnings.catch_warnings():
        before = jax.config.jax_compilation_cache_dir
        jax.config.update("jax_compilation_cache_dir", str(tmp_path))
        compilation_cache.reset_cache()
        jax_settings._remove_damaged_programs(tmp_path)
        yield tmp_path
        jax.config.update("jax_compilation_cache_dir", before)
        compilation_cache.reset_cache()


@pytest.mark.e2e
def test_a_damaged_program_is_removed_once(programs, capsys):
    def damaged_program(x):
        return x * 3 + 1

    warnings.simplefilter("default")
    for damage in (True, False):
        jax.jit(damaged_program)(jnp.zeros(3))
        jax.clear_caches()
        [path] = programs.glob("jit_damaged_program-*-cache")
        if damage:
            path.write_bytes(path.read_bytes()[:50])
            size = path.stat().st_size
            jax.jit(damaged_program)(jnp.zeros(3))
            jax.clear_caches()
            error = capsys.readouterr().err
            assert error.startswith("warning: reading the compiled jit_damaged_program in ")
            assert len(error.splitlines()) == 1
            assert path.stat().st_size > size
    assert capsys.readouterr().err == ""


def test_other_warnings_are_shown_as_ever(tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr(warnings, "showwarning", lambda message, *_: shown.append(str(message)))
    jax_settings._remove_damaged_programs(tmp_path)
    warnings.simplefilter("default")
    warnings.warn("something else", stacklevel=1)
    assert shown == ["something else"]
