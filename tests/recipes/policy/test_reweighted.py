import jax.numpy as jnp
import numpy as np
import pytest
import worked_numbers as fx

from posttrain_jax.losses import schedule
from posttrain_jax.recipes.policy.handover import Handover
from posttrain_jax.recipes.policy.otc import OTC
from posttrain_jax.recipes.policy.reinforce import REINFORCE
from posttrain_jax.recipes.policy.reweighted import Reweighted

FORM, RIGHT = jnp.asarray([[1.0, 0.0, 1.0, 0.0]]), jnp.asarray([[0.0, 0.0, 1.0, 1.0]])
RECIPE = Reweighted((("right", 1.0), ("form", schedule.Linear(0.5, 0.0, 10))), REINFORCE())


def credit(recipe, step=0, **columns):
    memory = jnp.float32(step), recipe.init_memory()[1]
    return fx.informed(recipe, columns={"form": FORM, "right": RIGHT} | columns, memory=memory)


@pytest.mark.parametrize(("step", "weight"), [(0, 0.5), (4, 0.3), (10, 0.0), (20, 0.0)])
def test_a_weight_falls_and_the_other_stays(step, weight):
    batch, (steps, _) = credit(RECIPE, step)
    np.testing.assert_allclose(batch.advantages[0, :, 0], [weight, 0, 1 + weight, 1], atol=1e-6)
    assert float(steps) == step + 1


def test_what_does_not_apply_adds_nothing_and_what_has_no_reward_does_not_count():
    batch, _ = credit(RECIPE, right=RIGHT.at[0, :2].set(jnp.nan), form=FORM.at[0, 1].set(jnp.nan))
    np.testing.assert_allclose(batch.advantages[0, :, 0], [0.5, 0, 1.5, 1], atol=1e-6)
    np.testing.assert_array_equal(batch.token_weights[0, 1], 0)


def test_two_that_add_up_to_one_are_a_handover():
    shares = schedule.Linear(0.9, 0.1, 10), schedule.Linear(0.1, 0.9, 10)
    two = Reweighted((("form", shares[0]), ("right", shares[1])), REINFORCE())
    got, _ = credit(two, 3)
    columns = {"form": FORM, "right": RIGHT}
    other = Handover("form", "right", shares[0], REINFORCE())
    expected, _ = fx.informed(other, columns=columns, memory=jnp.float32(3))
    np.testing.assert_allclose(got.advantages, expected.advantages, atol=1e-6)


def test_what_the_recipe_remembers_goes_on():
    recipe = Reweighted((("right", 1.0),), OTC(prompts=8, limit=4.0, recipe=REINFORCE()))
    _, (steps, seen) = credit(recipe, calls=jnp.asarray([[3.0, 1.0, 2.0, 4.0]]))
    assert float(steps) == 1
    assert not np.array_equal(seen, recipe.init_memory()[1])


def test_no_reward_and_an_unknown_one_are_refused():
    with pytest.raises(ValueError, match="at least one reward"):
        Reweighted(())
    with pytest.raises(ValueError, match="the recipe reads cost; the rewards are form, right"):
        credit(Reweighted((("cost", 1.0),), REINFORCE()))
