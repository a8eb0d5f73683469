"""The shape of the code: which part may import which, and how long files and functions may be."""

import ast
import functools
import pathlib
import re

ROOT = pathlib.Path(__file__).parents[1]
PACKAGE = ROOT / "posttrain_jax"
SOURCES = sorted(PACKAGE.rglob("*.py"))
EXPERIMENTS = sorted((ROOT / "experiments").rglob("*.py"))
TREES = {path: ast.parse(path.read_text(), str(path)) for path in SOURCES + EXPERIMENTS}

MAY_IMPORT = {
    "pytree": set(),
    "types": {"pytree"},
    "masked": set(),
    "comparison": {"pytree", "types"},
    "arrangement": set(),
    "plain": {"types"},
    "scoring": {"pytree"},
    "job": set(),
    "crew": {"job"},
    "losses": {"pytree", "types", "masked", "comparison", "losses"},
    "recipes": {"pytree", "types", "scoring", "masked", "comparison", "arrangement", "losses", "recipes"},
    "models": {"pytree", "types", "scoring", "masked", "comparison", "models"},
    "rollout": {
        "pytree",
        "types",
        "masked",
        "comparison",
        "arrangement",
        "models",
        "environment",
        "rewards.sample",
        "rollout",
    },
    "rewards": {"types", "masked", "job", "crew", "rewards", "models.tokenizer"},
    "environment": {"job", "crew", "rewards", "environment"},
    "data": {"pytree", "types", "masked", "data", "models.tokenizer"},
    "train": {
        "pytree",
        "types",
        "scoring",
        "masked",
        "comparison",
        "arrangement",
        "models",
        "rollout",
        "rewards",
        "environment",
        "data",
        "train",
    },
}
PURE = {"jax", "jaxtyping", "numpy", "math", "dataclasses", "collections", "typing", "functools"}
"""All that losses and recipes need from outside."""
VAGUE = {"utils", "util", "common", "helpers", "helper", "misc", "tools"}

INSIDE = [path for path in SOURCES if path != PACKAGE / "__init__.py"]
"""All but the file that names the public API."""


def each(paths):
    """The test of a file becomes one of all of them: thousands of tests cost more than what they look at."""

    def decorate(check):
        def test():
            found = []
            for path in paths:
                try:
                    check(path)
                except AssertionError as error:
                    found.append(f"{path.relative_to(ROOT)}: {error}")
            assert not found, "\n".join(found)

        return test

    return decorate


def imports(path):
    """Dotted names of everything imported, `from a import b` as `a.b`."""
    for node in ast.walk(TREES[path]):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: import by the full name."
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def inside(path):
    """Imports from the package, without its name."""
    return [name.removeprefix("posttrain_jax.") for name in imports(path) if name.startswith("posttrain_jax.")]


def layer(path):
    """`losses` for posttrain_jax/losses/weight.py, `types` for posttrain_jax/types.py."""
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def below(name, allowed):
    """Whether the dotted name is, or lies in, one of the allowed modules."""
    return any(name == part or name.startswith(part + ".") for part in allowed)


@each(INSIDE)
def test_imports_go_one_way(path):
    wrong = [name for name in inside(path) if not below(name, MAY_IMPORT[layer(path)])]
    assert not wrong, f"{layer(path)} may import {sorted(MAY_IMPORT[layer(path)])}, not {wrong}."


@each(INSIDE)
def test_losses_and_recipes_are_pure(path):
    if layer(path) not in ("pytree", "types", "masked", "comparison", "arrangement", "scoring", "losses", "recipes"):
        return
    wrong = {name.split(".")[0] for name in imports(path)} - PURE - {"posttrain_jax"}
    assert not wrong, f"{path.name} imports {wrong}."


@each(INSIDE)
def test_modules_are_imported_and_not_names(path):
    def is_module(name):
        target = PACKAGE / name.replace(".", "/")
        return target.is_dir() or target.with_suffix(".py").exists()

    wrong = [name for name in inside(path) if not is_module(name) and not name.split(".")[-1].isupper()]
    assert not wrong, f"Import the module instead of {wrong}; only constants may be imported by name."


@each(INSIDE)
def test_nothing_imports_experiments_or_tests(path):
    wrong = [name for name in imports(path) if name.split(".")[0] in ("experiments", "tests")]
    assert not wrong


@functools.cache
def recipe_names():
    """Names of the recipe classes."""
    trees = (tree for path, tree in TREES.items() if path.is_relative_to(PACKAGE / "recipes"))
    return {node.name for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}


@each([path for path in SOURCES if path.parent.name == "train"])
def test_training_names_no_recipe(path):
    names = {node.id for node in ast.walk(TREES[path]) if isinstance(node, ast.Name)}
    names |= {node.attr for node in ast.walk(TREES[path]) if isinstance(node, ast.Attribute)}
    assert not names & recipe_names()
    assert {"SFT", "DPO", "GRPO"} <= recipe_names()


@each(TREES)
def test_files_have_names_that_say_something(path):
    assert path.stem not in VAGUE
    assert not path.stem.startswith("base_")


@each(TREES)
def test_files_are_short(path):
    lines = path.read_text().splitlines()
    limit = 250
    if path == PACKAGE / "__init__.py":
        limit = 500  # a table: two lines a public name
    elif path.is_relative_to(PACKAGE / "recipes"):
        limit = 80
    elif path in EXPERIMENTS:
        # An experiment's docstring says as much as it must: claim, commands, device, time, result.
        lines, limit = [line for line in lines[TREES[path].body[0].end_lineno :] if line.strip()], 60
    assert len(lines) <= limit, f"{len(lines)} lines, of {limit}."


@each(TREES)
def test_functions_are_short_and_take_few_arguments(path):
    for node in ast.walk(TREES[path]):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = node.end_lineno - node.lineno + 1
            assert lines <= 60, f"{node.name} has {lines} lines, of 60."
            count = len(node.args.posonlyargs) + len(node.args.args) + len(node.args.kwonlyargs)
            assert count <= 9, f"{node.name} takes {count} arguments."  # eight and self


@each(TREES)
def test_no_shortcuts(path):
    for node in ast.walk(TREES[path]):
        where = f"{path.name}:{node.lineno}" if isinstance(node, ast.stmt | ast.expr) else path.name
        if isinstance(node, ast.ImportFrom):
            assert node.module != "__future__", f"{where}: postponed annotations switch the shape checks off."
        if isinstance(node, ast.Name):
            assert node.id not in ("NotImplementedError", "hasattr"), f"{where}: {node.id}"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "getattr":
            assert len(node.args) == 2, f"{where}: getattr with a default hides a missing attribute."
        if isinstance(node, ast.ExceptHandler):
            assert node.type is not None, f"{where}: a bare except."


@each(INSIDE)
def test_host_arrays_enter_by_the_rows_that_each_process_holds(path):
    """To devices of several processes `device_put` first gathers the whole array on each, to compare them."""
    # `move` asks before whether one process holds all, and dialogues run in one
    if path.relative_to(PACKAGE).as_posix() not in ("train/move.py", "rollout/turn.py"):
        called = [node for node in ast.walk(TREES[path]) if isinstance(node, ast.Attribute)]
        assert "device_put" not in {node.attr for node in called}, "use rows.to_devices, or make_array_from_callback."


@each(TREES)
def test_inheritance_is_for_protocols_and_modules(path):
    # "Mask" is splash attention's and "TrainerCallback" the trainer's of a peer: they take nothing else.
    others = {"Mask", "TrainerCallback"}
    allowed = {"Protocol", "Module", "NamedTuple", "Generic", "Exception", "ValueError", "RuntimeError"} | others
    for node in classes(TREES[path]):
        assert set(map(last_name, node.bases)) <= allowed | protocols(), f"{node.name} inherits."


def classes(tree):
    return [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]


@functools.cache
def protocols():
    """Names of all Protocols, wherever they are."""
    return {node.name for tree in TREES.values() for node in classes(tree) if "Protocol" in map(last_name, node.bases)}


def last_name(base):
    """`Protocol` for `typing.Protocol[T]`."""
    return ast.unparse(base).split("[")[0].split(".")[-1]


@each(sorted(PACKAGE.glob("*/**/__init__.py")))
def test_packages_have_empty_init_files(path):
    assert path.read_text() == ""


def test_every_test_is_in_a_file_that_is_collected():
    """pytest passes over files of other names, and the tests in them, without a word."""
    others = [path for path in (ROOT / "tests").rglob("*.py") if not path.name.startswith("test_")]
    assert len(others) > 20
    assert not [path.name for path in others if re.search(r"^(async )?def test_", path.read_text(), re.MULTILINE)]


def test_test_files_have_names_of_their_own():
    """Two of one name cannot be collected together: pytest imports them by their name alone."""
    names = [path.name for path in (ROOT / "tests").rglob("*.py") if path.name != "conftest.py"]
    assert sorted(set(names)) == sorted(names)
