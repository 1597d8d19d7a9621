"""Commands start themselves again with huge pages; whoever imports the package is left alone."""

import os
import pathlib
import subprocess
import sys

import pytest

import experiments


@pytest.fixture
def madvise(monkeypatch):
    """A kernel that gives huge pages to those who ask, below a recent glibc."""
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    monkeypatch.setattr(sys, "argv", ["-m", "--help"])
    monkeypatch.setattr(os, "confstr", lambda name: "glibc 2.36")
    monkeypatch.setattr(pathlib.Path, "read_text", lambda path: "always [madvise] never")


def test_commands_want_huge_pages(madvise):
    assert experiments._wants_tunables()


@pytest.mark.parametrize("set_by_user", ["glibc.malloc.hugetlb=0", "a=1:glibc.malloc.hugetlb=1"])
def test_what_the_user_has_set_stands(madvise, monkeypatch, set_by_user):
    monkeypatch.setenv("GLIBC_TUNABLES", set_by_user)
    assert not experiments._wants_tunables()


@pytest.mark.parametrize("libc", ["glibc 2.31", "musl 1.2", "", None])
def test_other_libraries_are_left_alone(madvise, monkeypatch, libc):
    monkeypatch.setattr(os, "confstr", lambda name: libc)
    assert not experiments._wants_tunables()


@pytest.mark.parametrize("modes", ["[always] madvise never", "always madvise [never]"])
def test_kernels_that_do_not_ask_are_left_alone(madvise, monkeypatch, modes):
    monkeypatch.setattr(pathlib.Path, "read_text", lambda path: modes)
    assert not experiments._wants_tunables()


def test_an_import_is_left_alone(madvise, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["program.py"])
    assert not experiments._wants_tunables()


def test_a_command_keeps_its_arguments_and_other_tunables():
    tunables = "glibc.malloc.arena_max=4:glibc.malloc.top_pad=0"
    environment = os.environ | {"GLIBC_TUNABLES": tunables}
    command = [sys.executable, "-m", "experiments.train", "--nonsense"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert "nonsense" in done.stderr
