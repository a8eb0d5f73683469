"""C-MORL's two stages, DR-IRL's alternation, games and spoiled steps: the experiments around several rewards."""

import json
import pathlib
import random
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from posttrain_jax.losses import tilting
from posttrain_jax.recipes.policy import dr_irl, rloo

EXPERIMENTS = pathlib.Path(__file__).parents[2] / "experiments"
MODULES = (
    "c_morl",
    "demonstrated_task",
    "dr_irl",
    "enumerable",
    "front_chart",
    "objective_task",
    "shadow_reward",
    "spoil_steps",
)


@pytest.fixture
def found(monkeypatch):
    """Modules by name."""
    monkeypatch.syspath_prepend(str(EXPERIMENTS))
    with jax.numpy_dtype_promotion("standard"):  # optax mixes dtypes
        yield lambda name: __import__(name)
    for name in MODULES:
        sys.modules.pop(name, None)


def test_the_true_front_by_hand(found):
    """Of (1, 0), (0, 1), (.8, .8) and (.5, .5) in one prompt: straight between the first three; the last is beaten."""
    rewards = jnp.array([[[1.0, 0.0], [0.0, 1.0], [0.8, 0.8], [0.5, 0.5]]])
    points = np.asarray(found("objectives").true_front(rewards, 0.0))
    np.testing.assert_allclose(points[:, 1], np.interp(points[:, 0], [0, 0.8, 1], [1, 0.8, 0]), atol=2e-3)
    held = np.asarray(found("objectives").true_front(rewards, 0.1))
    assert (held[:, 1] < np.interp(held[:, 0], points[:, 0], points[:, 1])).all()


@pytest.mark.slow
def test_c_morl_comes_near_the_true_front(found, tmp_path):
    c_morl = found("c_morl")
    c_morl.main(c_morl.Config(tmp_path, prompts=4, responses=4, weights=2, rounds=1, picked=1, steps=150))
    lines = [line.split(" | ") for line in (tmp_path / "c_morl.md").read_text().splitlines()[2:]]
    first, second, trained, true = (float(line[3]) for line in lines)
    assert [line[1] for line in lines[:2]] == ["2", "4"]
    assert first + 0.01 < second < trained + 0.01 < true + 0.02
    assert (tmp_path / "c_morl.png").stat().st_size > 10_000


def ends(shadow, *, shared):
    """Divergence of the expert from where the alternation starts, and from where it ends."""
    given = shadow.demonstrated_task.task(jax.random.key(0), 16, 4, 48, 0.3)
    sizes = {"shared": shared, "steps": 600, "group": 16}
    end = shadow.alternate(given, dr_irl.DRIRL(width=0.25, recipe=rloo.RLOO(0.3)), jax.random.key(1), **sizes)
    return [
        float(tilting.divergence(given.expert, x).mean()) for x in (shadow.demonstrated_task.even(given.features), end)
    ]


def test_the_alternation_finds_the_expert(found):
    start, end = ends(found("shadow_reward"), shared=False)
    assert end < 0.1 * start


@pytest.mark.slow
def test_one_reward_model_for_two_kinds_of_prompts_does_not_find_it(found):
    start, end = ends(found("shadow_reward"), shared=True)
    assert 0.2 * start < end


def test_the_game_follows_averages_and_draws_its_paths(found, monkeypatch, tmp_path):
    """Nash-MD against the average of its policies, shortly; smoothing by hand."""
    nash = found("nash_game")
    np.testing.assert_allclose(nash.game_chart.smooth(np.array([4.0, 2, 6, 0]), width=2), [4, 3, 4, 3])
    name = "NashMD, average (EMA)"
    monkeypatch.setattr(nash.game_table, "POLICIES", {name: nash.game_table.POLICIES[name]})
    monkeypatch.setattr(nash.game_table, "AVERAGES", {})
    monkeypatch.setattr(nash.game_chart, "draw", lambda *_: nash.game_chart.figure.Figure())
    nash.main(nash.Config(tmp_path, steps=60, rows=64, group=4))
    line = (tmp_path / "nash_game.md").read_text().splitlines()[2].split(" | ")
    assert line[:2] == [f"| {name}", "0.411, 0.207, 0.382"]
    assert float(line[2]) < 0.08  # from 0.111 at the reference


def test_a_spoiled_step_has_its_words_in_another_order(found):
    spoil, draw = found("spoil_steps"), random.Random(0)
    for step in ("She sold 48/2 = $<<48/2=24>>24.", "one two"):
        wrong = spoil.shuffled(step, draw)
        assert wrong != step
        assert sorted(wrong.split()) == sorted(step.split())
    assert spoil.shuffled("alone", draw) == "alone"


def test_half_of_the_labelled_steps_are_right_wherever_they_stand(found, tmp_path):
    rows = [{"question": f"{i}?", "answer": "a <<1+1=2>>2\nb or not\nc <<2+2=4>>4\n#### 4"} for i in range(2000)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    spoil = found("spoil_steps")
    spoil.main(spoil.Config(spoil.source.Source(str(tmp_path / "rows.jsonl")), tmp_path / "steps.jsonl"))
    told = [json.loads(line)["labels"] for line in (tmp_path / "steps.jsonl").read_text().splitlines()]
    assert len(told) == 2000
    for place in range(3):
        known = [labels[place] for labels in told if labels[place] is not None]
        assert np.mean(known) == pytest.approx(0.5, abs=0.06)
        assert all(labels[place + 1 :] == [None] * (2 - place) for labels in told if labels[place] is False)
