"""The layers of the package: imports run downwards and in no circle, kernels stay in `ops`."""

import ast
import graphlib
import pathlib

import pytest

PACKAGE = pathlib.Path(__file__).parents[1] / "mgr_jax"

# From the bottom to the top; modules of one layer do not import each other. Kernels know no config.
LAYERS = (
    ("errors", "version", "escape", "plural", "cores", "tensors", "array_file"),
    ("files", "gpus", "progress"),
    ("ops",),
    ("schema", "devices"),
    ("config_sections",),
    ("config",),
    ("named_configs",),
    ("data", "features"),
    ("models",),
    ("pretrained",),
    ("workdir",),
    ("parallel", "compile_report"),
    ("evaluation",),
    ("classical", "training"),
    ("snapshot", "tagger", "hearing"),
    ("heard",),
    ("system",),
    ("export", "shipped", "explain"),
    ("predictor",),
    ("genre_classifier", "runs"),
    ("fold_runs", "scored"),
    ("robustness", "subsets"),
    ("mgr_jax",),
)
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}

# Identifiers that belong in a few modules only.
RESERVED = {
    "custom_vjp": ("mgr_jax.ops",),
    "ffi_call": ("mgr_jax.ops",),
    "platform_dependent": ("mgr_jax.ops",),
    "mock": (),
}
PLATFORMS = {"cpu", "gpu", "tpu", "cuda", "rocm", "platform", "default_backend", "devices"}


def _trees(package):
    """The syntax tree of each module, by its dotted name."""
    trees = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package.parent).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        trees[name] = ast.parse(path.read_text(encoding="utf-8"))
    return trees


TREES = _trees(PACKAGE)


def _imports(trees):
    """The modules that each module imports anywhere in its text, also within functions."""
    graph = {}
    for module, tree in trees.items():
        graph[module] = set()
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                graph[module] |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                assert not node.level, f"{module} has a relative import"
                names = {f"{node.module}.{alias.name}" for alias in node.names}
                graph[module] |= {name if name in trees else node.module for name in names}
    return graph


def _unit(module):
    """The module or package right below the top: `mgr_jax.data.band` -> `data`."""
    return module.split(".")[1] if "." in module else module


def _upward(graph):
    return sorted(
        f"{module} imports {imported}"
        for module, targets in graph.items()
        for imported in targets & graph.keys()
        if _unit(module) != _unit(imported) and LEVEL[_unit(imported)] >= LEVEL[_unit(module)]
    )


def _cycle(graph):
    """The modules of one import cycle, or None."""
    own = {module: targets & graph.keys() - {module} for module, targets in graph.items()}
    try:
        graphlib.TopologicalSorter(own).prepare()
    except graphlib.CycleError as error:
        return error.args[1]


def _identifiers(tree):
    """Names, attributes, keywords, imported names and whole strings of a module."""
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.keyword(arg=name):
                yield name
            case ast.alias(name=name):
                yield from name.split(".")
            case ast.Constant(value=str(name)):
                yield name


def test_every_module_has_a_layer():
    assert {_unit(module) for module in TREES} == LEVEL.keys()


def test_imports_run_downwards():
    assert not _upward(_imports(TREES))


def test_imports_have_no_cycle():
    assert _cycle(_imports(TREES)) is None


def test_the_package_imports_neither_commands_nor_tests():
    for module, targets in _imports(TREES).items():
        assert not {target.split(".")[0] for target in targets} & {"experiments", "tests"}, module


@pytest.mark.parametrize("word", RESERVED)
def test_kernels_and_platforms_are_chosen_in_ops_alone(word):
    users = [module for module, tree in TREES.items() if word in _identifiers(tree)]
    assert not [module for module in users if not module.startswith(RESERVED[word])]


def test_models_name_no_platform():
    for module, tree in TREES.items():
        if _unit(module) == "models":
            assert not PLATFORMS & set(_identifiers(tree)), module


def _write(tmp_path, **texts):
    """A package with these modules; returns its import graph."""
    for name, text in texts.items():
        path = tmp_path / "mgr_jax" / f"{name}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return _imports(_trees(tmp_path / "mgr_jax"))


def test_upward_import_within_a_function_is_reported(tmp_path):
    lazy = "def f():\n    from mgr_jax import predictor\n"
    graph = _write(tmp_path, files=lazy, predictor="import mgr_jax.files\n", config="import os\n")
    assert _upward(graph) == ["mgr_jax.files imports mgr_jax.predictor"]


def test_import_within_a_layer_is_reported(tmp_path):
    graph = _write(tmp_path, tensors="import mgr_jax.cores\n", cores="")
    assert _upward(graph) == ["mgr_jax.tensors imports mgr_jax.cores"]


def test_cycle_is_reported(tmp_path):
    lazy = "def f():\n    from mgr_jax import a\n"
    assert _cycle(_write(tmp_path, a="import mgr_jax.b\n", b="import os\n", c=lazy)) is None
    graph = _write(tmp_path, b="from mgr_jax.c import x\n")
    assert set(_cycle(graph)) == {"mgr_jax.a", "mgr_jax.b", "mgr_jax.c"}
