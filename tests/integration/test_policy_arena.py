"""The tasks, the policy and the run of `experiments/policy_arena.py`."""

import ast
import dataclasses
import pathlib
import re
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import posttrain_jax
from posttrain_jax.rollout import selection

EXPERIMENTS = pathlib.Path(__file__).parents[2] / "experiments"
MODULES = ("ask", "chart", "preference", "recipe", "rollout", "selection", "start", "train")


@pytest.fixture
def arena(monkeypatch):
    """The run's module; those that it imports are its attributes, or theirs."""
    monkeypatch.syspath_prepend(str(EXPERIMENTS))
    import policy_arena

    promotion = jax.config.jax_numpy_dtype_promotion
    jax.config.update("jax_numpy_dtype_promotion", "standard")  # optax mixes dtypes, and recipes train in threads
    yield policy_arena
    jax.config.update("jax_numpy_dtype_promotion", promotion)
    for name in ("policy_arena", "arena", "digit_policy", "digit_task", *(f"arena_{name}" for name in MODULES)):
        sys.modules.pop(name, None)


def test_answers_are_judged_word_by_word(arena):
    task = arena.arena_start.digit_task
    backward = jnp.array([1000 * list(task.RULES).index("backward") + 123])
    words = np.array([[[3, 2, 1, 10, 0], [1, 2, 3, 10, 0], [3, 2, 1, 0, 0]]])
    columns, steps = jax.jit(lambda words: task.judged(task.groups_of(backward, words)))(words)
    np.testing.assert_array_equal(columns["right"], [[1, 0, 0]])
    np.testing.assert_allclose(columns["tokens right"], [[1, 0.5, 0.6]], rtol=1e-6)
    np.testing.assert_array_equal(columns["ended"], [[1, 1, 0]])
    np.testing.assert_array_equal(steps.rewards[0, 1], [0, 1, 0, 1, np.nan])
    assert not set(task.TRAIN % 1000) & set(task.HELD_OUT % 1000)


def test_a_policy_that_knows_what_is_meant_is_right_on_digits_never_seen(arena):
    start = arena.arena_start
    params = start.digit_policy.init(jax.random.key(0))
    tasks = start.digit_task.TASKS
    eye, words = jnp.eye(tasks), params["words"] - 20
    params |= {"instructions": eye, "rules": 20 * eye, "worth": eye, "words": words}
    right = jax.jit(lambda params: start.success(params, start.digit_task.HELD_OUT[::20]))(params)
    np.testing.assert_allclose(right, 1, atol=1e-5)


def within(x):
    """The names of a value's class, and of all that it holds."""
    if dataclasses.is_dataclass(x):
        yield type(x).__name__
        for field in dataclasses.fields(x):
            yield from within(getattr(x, field.name))
    elif isinstance(x, tuple):
        for one in x:
            yield from within(one)


def test_every_recipe_and_selection_is_there_or_left_out_with_a_reason(arena):
    entries = arena.arena_recipe.ENTRIES
    there = {name for one in entries for name in (*within(one.recipe), *within(one.selection))}
    there |= {"ValuePretraining"} if any(one.critic for one in entries) else set()
    page = (EXPERIMENTS.parent / "docs" / "policy_arena.md").read_text().partition("## What was left out")[2]
    rows = re.findall(r"^\| (`.*?) \| (.+) \|$", page, re.MULTILINE)
    assert all(len(reason) > 10 for _, reason in rows)
    left = {name for names, _ in rows for name in re.findall(r"`(\w+)`", names)}
    package = pathlib.Path(posttrain_jax.__file__).parent
    files = [*(package / "recipes" / "policy").glob("*.py"), *(package / "rollout").glob("*.py")]
    nodes = [node for path in files for node in ast.parse(path.read_text()).body if isinstance(node, ast.ClassDef)]
    selections = {x.name for x in nodes if {"collect", "init_memory"} <= {getattr(y, "name", "") for y in x.body}}
    every = ({x.name for x in nodes} & {*posttrain_jax.__all__} | selections) - {"Selection", "Everything"}
    assert len(every) > 85
    assert every - there == left & every
    assert not left & there


def test_a_selection_decides_what_is_asked(arena, monkeypatch):
    """The first group in the data alone is asked, until nothing is to be chosen from any more."""
    more = lambda entry, adam, known, state, *_: (jax.tree.map(lambda x: x + 1, state[0]), *state[1:])  # noqa: E731
    monkeypatch.setattr(arena.arena_selection.arena, "QUICK", {"xla_backend_optimization_level": 0})
    monkeypatch.setattr(arena.arena_selection.arena, "learn", more)
    task, seen = arena.arena_start.digit_task, []

    @dataclasses.dataclass(frozen=True)
    class First:
        def init_memory(self, prompts):
            assert prompts == len(task.TRAIN)
            return {"asked": 0}

        def collect(self, memory, ask):
            if memory["asked"] == 10:
                raise selection.ExhaustedError("enough")
            found = ask(np.zeros(ask.rows, int))
            seen.append((ask.step, found.rollout.groups.group_ids))
            return found, {"asked": memory["asked"] + 1}

    start = arena.arena_start.digit_policy.init(jax.random.key(0))
    entry = arena.arena_recipe.arena_rollout.Entry(arena.arena_recipe.HELD, 1, First())
    keys = jax.random.split(jax.random.key(1), 2)
    params, tokens = arena.arena_selection.train(entry, {"ref": start, "dpo": start}, keys, (0.1,), (20, 2, 4))
    assert all((ids == task.TRAIN[0]).all() for _, ids in seen)
    assert [step for step, _ in seen] == [step for step in range(1, 11) for _ in keys]
    words = np.asarray(params["words"])
    assert words.shape[:3] == (1, 2, 2)
    # ten steps, and nothing more was learned
    np.testing.assert_allclose(words, np.broadcast_to(start["words"] + 10, words.shape), rtol=1e-6)
    assert (np.asarray(tokens)[..., 0] >= 10 * 2 * 4).all()
    assert not np.asarray(tokens)[..., 1].any()


def test_a_critic_learns_before_the_policy(arena):
    start = arena.arena_start.digit_policy.init(jax.random.key(0))
    entry = arena.arena_recipe.arena_rollout.Entry(posttrain_jax.PPO(kl_coef=0.0), 1, critic=10)
    params, tokens = jax.jit(lambda key: arena.arena_train.with_critic(entry, {"ref": start}, (2, 4), 0.1, key))(
        jax.random.key(1)
    )
    moved = {name for name in start if np.any(params[name] != start[name])}
    assert moved == {"worth", "places"}
    assert 10 * 2 * 4 <= tokens <= 10 * 2 * 4 * 5


def test_a_run_writes_table_and_picture(arena, tmp_path, monkeypatch):
    monkeypatch.setattr(arena.arena_train.arena, "QUICK", {"xla_backend_optimization_level": 0})
    sizes = {"seeds": 2, "steps": 10, "prompts": 2, "group_size": 4, "pretraining": 20}
    arena.main(arena.Config(tmp_path, ("OPO",), rates=(0.03,), **sizes))
    line = (tmp_path / "policy_arena.md").read_text().splitlines()[3].split(" | ")
    assert line[1:4] == ["OPO", "1", "0.03"]
    assert 0 < float(line[4].split(" ± ")[0]) < 0.5
    assert 10 * 2 * 4 < float(line[-1].rstrip(" |")) < 10 * 2 * 4 * 5
    assert (tmp_path / "policy_arena.png").stat().st_size > 10_000
