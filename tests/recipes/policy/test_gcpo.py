import jax.numpy as jnp
import numpy as np
import pytest
import worked_numbers as fx

from posttrain_jax.losses import group
from posttrain_jax.recipes.policy.gcpo import GCPO
from posttrain_jax.recipes.policy.reinforce import REINFORCE

AUX = jnp.asarray([[1.0, 1.0, 0.0, 0.0]])


def earned(correct, aux=AUX, **settings):
    recipe = GCPO("aux", "correct", recipe=REINFORCE(), **settings)
    columns = {"aux": aux, "correct": jnp.asarray(correct), "asked": AUX[:, ::-1]}
    batch, _ = fx.informed(recipe, jnp.asarray(correct), columns=columns)
    return np.asarray(batch.advantages)[0, :, 0]


@pytest.mark.parametrize(
    ("with_it", "without", "sign"), [(0.75, 0.25, 1), (0.5, 0.5, 0), (0.25, 0.75, -1), (0.55, 0.5, 0)]
)
def test_the_sign_is_that_of_the_gap(with_it, without, sign):
    rewards = jnp.asarray([[with_it, with_it, without, without]])
    assert float(group.contrast(rewards, AUX, fx.GROUP_IDS, margin=0.1)[0]) == sign


def test_a_behaviour_is_paid_where_it_helps_and_punished_where_it_harms():
    np.testing.assert_allclose(earned([[1.0, 1.0, 0.0, 1.0]]), [1.5, 1.5, 0, 1])
    np.testing.assert_allclose(earned([[1.0, 0.0, 1.0, 1.0]]), [0.5, -0.5, 1, 1])
    np.testing.assert_allclose(earned([[1.0, 0.0, 1.0, 0.0]]), [1, 0, 1, 0])


def test_sub_groups_may_be_those_that_were_asked():
    """The last two were asked and do worse, so showing it is punished."""
    np.testing.assert_allclose(earned([[1.0, 1.0, 0.0, 0.0]], asked="asked"), [0.5, 0.5, 0, 0])


def test_a_wide_margin_or_one_side_alone_is_the_held_recipe():
    rewards = [[1.0, 1.0, 0.0, 0.0]]
    np.testing.assert_array_equal(earned(rewards, margin=1.0), rewards[0])
    np.testing.assert_array_equal(earned(rewards, aux=jnp.ones((1, 4))), rewards[0])


def test_completions_without_a_score_are_on_no_side():
    rewards = jnp.asarray([[1.0, jnp.nan, 0.0, jnp.nan]])
    assert float(group.contrast(rewards, AUX, fx.GROUP_IDS, margin=0.1)[0]) == 1


def test_missing_columns_are_named():
    with pytest.raises(ValueError, match="GCPO reads aux"):
        fx.informed(GCPO("aux", "correct"), columns={"correct": fx.REWARDS})
