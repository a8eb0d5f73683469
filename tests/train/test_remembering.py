"""What recipes remember of earlier steps is saved, and a resumed run ends bit for bit as one that never stopped."""

import dataclasses

import jax
import numpy as np
import pytest
import resuming
import sparing
from test_online import leaves, numbers, parts

from posttrain_jax.models import vocabulary
from posttrain_jax.recipes.policy import ares, dcpo, grpo, otc, tis
from posttrain_jax.rewards import combine, pool
from posttrain_jax.train import online, reference, run

WORDS = vocabulary.characters("abcd=")
ROWS = 16
"""Of the data: four steps see each of them once."""


@pytest.fixture(scope="module")
def model(tiny):
    return tiny.bigram(data=2, vocab_size=WORDS.vocab_size + WORDS.vocab_size % 2)


def begins_with_a(one):
    return float(one.completion.startswith("a"))


def calls(one):
    return float(one.completion.count("b"))


RECIPES = {
    "DCPO": dcpo.DCPO(prompts=ROWS),
    "OTC": otc.OTC(prompts=ROWS, limit=4.0),
    "ARES beside a moving reference": ares.ARES(width=1),
}


# memory by prompt; memory beside a moving reference is resumed in `test_credit.py`
@pytest.mark.parametrize("recipe", sparing.some(RECIPES, "DCPO"))
def test_a_resumed_run_is_the_same_bit_for_bit(tmp_path, model, recipe):
    moving = reference.Moving(0.5, every=2) if isinstance(recipe, ares.ARES) else None

    def made():
        terms = {"right": (1.0, begins_with_a), "calls": (0.0, calls)}
        rewards = pool.RewardPool(combine.WeightedRewards(terms), workers=0, timeout_s=1.0)
        return parts(model, recipe=recipe, rewards=rewards, refuse_equal_rewards=False, moving=moving)

    start, plan = model.init(jax.random.key(0)), run.Plan(tmp_path, steps=6, save_every=3)
    whole, lines = online.run_online(made(), plan, start), numbers(tmp_path)
    assert resuming.forget(tmp_path) == 3
    again = online.run_online(made(), plan, start)
    for x, y in zip(leaves(whole), leaves(again), strict=True):
        np.testing.assert_array_equal(x, y)
    remembered = [
        [np.asarray(x) for x in jax.tree.leaves(x)] for x in (whole.memory, again.memory, recipe.init_memory())
    ]
    for x, y in zip(*remembered[:2], strict=True):
        np.testing.assert_array_equal(x, y)
    assert any(np.any(x != y) for x, y in zip(remembered[0], remembered[2], strict=True))
    assert numbers(tmp_path) == lines


@pytest.mark.parametrize("recipe", [dcpo.DCPO(prompts=8), otc.OTC(prompts=8, limit=4.0)], ids=["DCPO", "OTC"])
def test_too_little_room_is_refused_through_what_holds_it(tmp_path, model, recipe):
    class Around:
        """Any recipe that holds another."""

        def __init__(self, recipe):
            self.recipe = recipe
            self.needs_ref = recipe.needs_ref
            self.init_memory, self.credit, self.loss = recipe.init_memory, recipe.credit, recipe.loss

    given = parts(model, recipe=Around(Around(recipe)))
    with pytest.raises(ValueError, match=f"{type(recipe).__name__} remembers 8 prompts and the data hold row"):
        online.run_online(given, run.Plan(tmp_path, steps=4), model.init(jax.random.key(0)))


def test_other_reward_weights_are_told_and_another_tokenizer_is_refused(tmp_path, model, capsys):
    start = model.init(jax.random.key(0))

    def made(weight, **changes):
        rewards = pool.RewardPool(combine.WeightedRewards({"calls": (weight, calls)}), workers=0, timeout_s=1.0)
        return parts(model, recipe=tis.TIS(grpo.GRPO(kl_coef=0.0)), rewards=rewards, **changes)

    plan = run.Plan(tmp_path, steps=1)
    online.run_online(made(1.0), plan, start)
    assert "other rewards" not in capsys.readouterr().err
    online.run_online(made(0.5), dataclasses.replace(plan, steps=2), start)
    said = capsys.readouterr().err
    assert "was trained until step 1 with other rewards and goes on with calls=0.5 of calls" in said
    assert "(until now 1 of calls" in said
    with pytest.raises(ValueError, match=r"a run with tokenizer 8 tokens .* and this one has 8 tokens"):
        online.run_online(
            made(0.5, tokenizer=vocabulary.characters("abc=d")), dataclasses.replace(plan, steps=3), start
        )
