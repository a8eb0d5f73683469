"""What the documents show is true: code runs, commands parse, files named exist, every recipe is listed."""

import ast
import importlib.util
import pathlib
import re
import shlex
import sys

import pytest
import tyro

ROOT = pathlib.Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
TABLE = (ROOT / "docs" / "recipes.md").read_text()
RECIPES = sorted(
    str(path.relative_to(ROOT))
    for path in (ROOT / "posttrain_jax" / "recipes").rglob("*.py")
    if path.name != "__init__.py" and "class " in path.read_text()
)
DOCS = [str(path.relative_to(ROOT)) for path in sorted((ROOT / "docs").glob("*.md"))]
COMMANDS = [
    line
    for line in README.replace("\\\n", " ").splitlines()
    if line.startswith("    python experiments/") and "--" in line
]


def test_code_of_the_readme_runs():
    names = {}
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(blocks) >= 4
    for block in blocks:
        exec(compile(block, "README.md", "exec"), names)
    assert float(names["summed"]) == pytest.approx(float(names["grpo_loss"](names["logps"], names["batch"])), abs=1e-6)
    assert names["per_policy"].shape == (2,)
    assert names["gradient"].shape == names["logps"].shape
    assert bool(abs(names["gradient"]).max() > 0)


def test_each_known_defect_has_a_test():
    named = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", (ROOT / "docs" / "known_defects.md").read_text())
    assert len(named) > 40
    missing = [f"{path}::{name}" for path, name in named if f"def {name}(" not in (ROOT / path).read_text()]
    assert not missing


def test_code_for_plain_arrays_runs():
    names = {}
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "plain_arrays.md").read_text(), re.DOTALL)
    assert len(blocks) >= 4
    for block in blocks:
        exec(compile(block, "plain_arrays.md", "exec"), names)
    for name in ("loss", "odpo", "kto", "ppo"):
        assert 0 < abs(float(names[name])) < 100
    assert bool(abs(names["slope"]).max() > 0)
    assert min(names["seen"]) == 0.0  # of OTC: the fewest calls of a prompt that was answered rightly
    assert bool(abs(names["gradient"]).max() > 0)
    assert float(names["memory"].std) != 1


@pytest.mark.parametrize("command", COMMANDS, ids=lambda line: " ".join(line.split()[1:5]))
def test_commands_of_the_readme_parse(command, monkeypatch):
    script, *arguments = shlex.split(command)[1:]
    name = pathlib.Path(script).stem
    spec = importlib.util.spec_from_file_location(f"documented_{name}", ROOT / script)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.syspath_prepend(ROOT / "experiments")  # as where a script is run from
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    tyro.cli(module.Config, args=arguments)


METHODS = (ROOT / "docs" / "preference_methods.md").read_text()
READINGS = re.findall(r"`((?:read|moving):[^`]+|--fixed [^`]+)`", METHODS[METHODS.index("| `dpo.py ...`") :])


@pytest.mark.parametrize("words", READINGS)
def test_kinds_of_data_parse(words, monkeypatch):
    needed = "--model m --data d --folder f --steps 1 --max-prompt 8 --max-completion 8 --learning-rate 1e-3"
    test_commands_of_the_readme_parse(f"python experiments/dpo.py {needed} {words}", monkeypatch)


APART = ("sample", "adapter")
"""The Protocols, and what makes rewards of functions of other libraries."""


def test_rewards_are_shown_and_the_example_runs():
    text, names = (ROOT / "docs" / "rewards.md").read_text(), {}
    exec(compile(re.findall(r"```python\n(.*?)```", text, re.DOTALL)[0], "rewards.md", "exec"), names)
    assert names["scores"].rewards.tolist() == [[pytest.approx(1.1)]]
    trees = {path.stem: ast.parse(path.read_text()) for path in (ROOT / "posttrain_jax" / "rewards").glob("*.py")}
    found = [node for stem, tree in trees.items() if stem not in APART for node in tree.body if is_reward(node)]
    assert len(found) > 30
    assert not [node.name for node in found if not re.search(rf"\b{node.name}`", text)]


def is_reward(node):
    """A class whose instances score a sample, or a group of them."""
    functions = [one for one in getattr(node, "body", []) if isinstance(one, ast.FunctionDef)]
    scoring = [one for one in functions if one.name in ("__call__", "score_group")]
    reads = [argument.annotation for one in scoring for argument in one.args.args[1:] if argument.annotation]
    return isinstance(node, ast.ClassDef) and any("samples.Sample" in ast.unparse(read) for read in reads)


def test_there_are_commands():
    assert len(READINGS) >= 15
    assert len(COMMANDS) >= 5


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_is_in_the_table(recipe):
    assert f"(../{recipe})" in TABLE, f"add a row for {recipe} to docs/recipes.md."


def test_every_method_of_preferences_is_on_the_map():
    families = [path for path in RECIPES if "/preference/" in path or "/likelihood/" in path]
    names = [re.findall(r"^@dataclasses.*\nclass (\w+)", (ROOT / path).read_text(), re.MULTILINE) for path in families]
    shown = (ROOT / "docs" / "preference_methods.md").read_text()
    assert sum(map(len, names)) > 50
    assert not [name for own in names for name in own if f"`{name}" not in shown]


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_cites_its_source_and_explains_its_fields(recipe):
    tree = ast.parse((ROOT / recipe).read_text())
    assert re.search(r"\b(19|20)\d\d\b|arXiv:\d|textbook", ast.get_docstring(tree)), "name the authors and the year."
    for node in tree.body:
        if not isinstance(node, ast.ClassDef):
            continue
        for field, behind in zip(node.body, node.body[1:], strict=False):
            if isinstance(field, ast.AnnAssign):
                documented = isinstance(behind, ast.Expr) and isinstance(behind.value, ast.Constant)
                assert documented, f"{node.name}.{field.target.id} needs a docstring with the paper's symbol."


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md", *DOCS])
def test_files_that_documents_name_exist(document):
    text = (ROOT / document).read_text()
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if not link.startswith("http")]
    paths = re.findall(r"`((?:posttrain_jax|experiments|tests|tpu|docs)/[\w/.]+)`", text)
    folder = (ROOT / document).parent
    missing = [x for x in links if not (folder / x).exists()] + [x for x in paths if not (ROOT / x).exists()]
    assert not missing
