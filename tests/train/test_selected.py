import dataclasses

import jax
import numpy as np
import pytest
import resuming
import sparing
from test_online import leaves, numbers, parts

from posttrain_jax.losses import difficulty
from posttrain_jax.models import vocabulary
from posttrain_jax.recipes.policy import grpo, mis, opsm, otc, tis
from posttrain_jax.rollout import budget, curriculum, priority, replay, selection
from posttrain_jax.train import online, run, selected

WORDS = vocabulary.characters("abcd=")


@pytest.fixture(scope="module")
def model(tiny):
    return tiny.bigram(data=2, vocab_size=WORDS.vocab_size + WORDS.vocab_size % 2)


@pytest.fixture(scope="module")
def start(model):
    return model.init(jax.random.key(0))


def starts_with_a(one):
    return float(one.completion.startswith("a"))


RECIPE = tis.TIS(grpo.GRPO(kl_coef=0.0))
SPREAD = difficulty.Spread(0.0)
REPLAYING = selection.Refill(
    SPREAD,
    max_rounds=9,
    of=replay.Replay(SPREAD, capacity=8, max_age=2, of=curriculum.Unsolved(rate=1.0)),
)


SELECTIONS = {
    "replay": REPLAYING,
    "variance": selection.Refill(SPREAD, max_rounds=20, of=priority.VarianceAware(every=1)),
}


@pytest.mark.parametrize("chosen", sparing.some(SELECTIONS, "variance"))
def test_a_resumed_run_is_the_same_bit_for_bit(tmp_path, model, start, chosen):
    def made():
        return parts(model, recipe=RECIPE, reward=starts_with_a, selection=chosen)

    plan = run.Plan(tmp_path, steps=4, save_every=2)
    whole = online.run_online(made(), plan, start)
    before = numbers(tmp_path)
    assert resuming.forget(tmp_path) == 2
    again = online.run_online(made(), plan, start)
    for x, y in zip(leaves(whole), leaves(again), strict=True):
        np.testing.assert_array_equal(x, y)
    assert numbers(tmp_path) == before
    assert max(line["rounds"] for line in before) > 1
    assert (max(line["stale_rows"] for line in before) > 0) == (chosen is REPLAYING)


def test_selecting_everything_changes_nothing(tmp_path, model, start):
    plain = online.run_online(parts(model), run.Plan(tmp_path / "plain", steps=2), start)
    chosen = parts(model, selection=selection.Everything())
    other = online.run_online(chosen, run.Plan(tmp_path / "chosen", steps=2), start)
    for x, y in zip(leaves(plain), leaves(other), strict=True):
        np.testing.assert_array_equal(x, y)
    line = numbers(tmp_path / "chosen")[-1]
    assert (line["rounds"], line["stale_rows"]) == (1, 0)
    assert line["reward_of_all"] == pytest.approx(line["reward"], rel=1e-6)


def test_ragged_groups_train(tmp_path, model, start):
    chosen = parts(model, reward=starts_with_a, selection=budget.Knapsack(prompts=2), refuse_equal_rewards=False)
    state = online.run_online(chosen, run.Plan(tmp_path, steps=2), start)
    assert int(state.step) == 2


def test_a_batch_that_never_fills_ends_the_run_saved(tmp_path, model, start):
    calls = []

    def flat_later(one):
        calls.append(one)
        return sum(map(ord, one.completion)) / 600 if len(calls) <= 20 else 0.0

    chosen = parts(model, reward=flat_later, selection=selection.Refill(SPREAD, max_rounds=2))
    with pytest.raises(RuntimeError, match=r"step 2: 2 rounds of 4 prompts gave \d rows .* saved as of step 1"):
        online.run_online(chosen, run.Plan(tmp_path, steps=3), start)


def test_another_selection_is_another_run(tmp_path, model, start):
    plan = run.Plan(tmp_path, steps=1)
    online.run_online(parts(model, selection=selection.Everything()), plan, start)
    with pytest.raises(ValueError, match="selection Everything"):
        online.run_online(parts(model), dataclasses.replace(plan, steps=2), start)


def test_what_cannot_be_chosen_from_is_refused(tmp_path, model, start):
    class Stream:
        def __init__(self, data):
            self.data = data

        def __next__(self):
            return next(self.data)

        def state(self):
            return self.data.state()

        def restore(self, state, /):
            self.data.restore(state)

    given = parts(model, selection=selection.Everything())
    given = dataclasses.replace(given, data=Stream(given.data))
    with pytest.raises(ValueError, match="single rows of Stream"):
        online.run_online(given, run.Plan(tmp_path, steps=1), start)


def test_a_judge_beside_a_selection_is_refused():
    selected.check(None, grpo.GRPO(), (None, 1))
    selected.check(selection.Everything(), grpo.GRPO(), (None, None))
    with pytest.raises(ValueError, match="sees neither a judge"):
        selected.check(selection.Everything(), grpo.GRPO(), (1, None))


def test_stale_completions_want_a_recipe_that_corrects_for_their_age(model):
    for held in (tis.TIS(grpo.GRPO()), mis.MIS(grpo.GRPO()), opsm.OPSM(grpo.GRPO())):
        selected.check(REPLAYING, otc.OTC(16, 4.0, recipe=held), ())
    selected.check(selection.Refill(SPREAD, of=priority.VarianceAware()), grpo.GRPO(), ())
    for recipe in (grpo.GRPO(), otc.OTC(16, 4.0)):
        with pytest.raises(
            ValueError, match=r"Refill\(.* replays .*, which .* would take for the policy's own of today"
        ):
            parts(model, recipe=recipe, selection=REPLAYING)
