"""Every public module, class and function says what it is, for the API reference."""

import ast
import pathlib

import pytest

PACKAGE = pathlib.Path(__file__).parents[1] / "mgr_jax"
# Methods whose meaning the base class gives.
INHERITED = {"readinto", "seek", "setup", "tell"}


def _undocumented(node, name):
    if not ast.get_docstring(node) and node.body:
        yield name
    for child in node.body:
        public = isinstance(child, ast.FunctionDef | ast.ClassDef) and child.name[0] != "_"
        if public and isinstance(child, ast.ClassDef):
            yield from _undocumented(child, f"{name}.{child.name}")
        elif public and child.name not in INHERITED and not ast.get_docstring(child):
            yield f"{name}.{child.name}"


@pytest.mark.parametrize("package", sorted(p.name for p in PACKAGE.iterdir() if p.name[0] != "_"))
def test_public_names_have_docstrings(package):
    files = [PACKAGE / package, *(PACKAGE / package).rglob("*.py")]
    missing = [
        name
        for file in files
        if file.suffix == ".py"
        for name in _undocumented(ast.parse(file.read_text("utf-8")), file.stem)
    ]
    assert not missing
