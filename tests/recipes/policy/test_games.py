"""Policy gradients of games: identities with methods that are here already."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import worked_numbers

from posttrain_jax import types
from posttrain_jax.losses import contest, pairwise
from posttrain_jax.recipes.policy import nash_md, nash_mp, p3o, rloo, spo

WINS = jnp.array([[[0.5, 0.9, 0.7, 0.2], [0.1, 0.5, 0.6, 0.3], [0.3, 0.4, 0.5, 0.9], [0.8, 0.7, 0.1, 0.5]]])
REF = types.TokenStats(worked_numbers.REF, jnp.zeros_like(worked_numbers.REF))
OPPONENT = {"wins": WINS, "opponent": jnp.array([[0.0, 0.0, 1.0, 1.0]])}


def gradient(recipe, batch, policy=worked_numbers.POLICY):
    return jax.grad(lambda one: recipe.loss(one, batch)[0])(policy).logps


@pytest.mark.parametrize("surrogate", [pairwise.unclipped, pairwise.Separate(), pairwise.Joint()])
def test_pairs_of_a_group_on_policy_are_rloo(surrogate):
    rollout, rewards = worked_numbers.ROLLOUT, jnp.array([[1.0, 0.2, jnp.nan, -0.5]])
    one, other = p3o.P3O(surrogate, kl_coef=0.3), rloo.RLOO(kl_coef=0.3)
    batches = (x.credit(rollout, rewards, worked_numbers.REF) for x in (one, other))
    got, expected = (gradient(x, batch) for x, batch in zip((one, other), batches, strict=True))
    np.testing.assert_allclose(got, expected, atol=1e-6)
    shifted = one.credit(rollout, rewards + 7, worked_numbers.REF)
    np.testing.assert_allclose(gradient(one, shifted), expected, atol=1e-5)


def test_spo_rewards_the_share_of_the_group_that_is_beaten():
    batch, _ = worked_numbers.informed(spo.SPO(), columns={"wins": WINS})
    shares = np.array([[1.8, 1.0, 1.6, 1.6]]) / 3
    expected = rloo.RLOO(0.0).credit(worked_numbers.ROLLOUT, jnp.asarray(shares, jnp.float32))
    np.testing.assert_allclose(batch.advantages, expected.advantages, atol=1e-6)


def test_an_opponent_is_played_against_and_not_learned_from():
    recipe = nash_md.NashMD(kl_coef=0.0)
    batch, _ = worked_numbers.informed(recipe, columns=OPPONENT)
    np.testing.assert_allclose(batch.extra["win_rate"][0, :2], [0.45, 0.45], atol=1e-6)
    recipe = nash_md.NashMD(kl_coef=0.0, preference=contest.judged)
    wins = WINS.at[0, 0, 2:].set(1.0)
    batch, _ = worked_numbers.informed(recipe, columns=OPPONENT | {"wins": wins})
    np.testing.assert_allclose(batch.advantages[0, :, 0], [0.55, -0.55, 0, 0], atol=1e-6)
    assert not np.any(gradient(recipe, batch)[0, 2:])


def test_a_target_that_is_the_reference_adds_to_its_divergence():
    """NashMP with target = ref is NashMD with kl_coef (1 + 1 / eta)."""
    one, other = nash_mp.NashMP(kl_coef=0.1, eta=0.5), nash_md.NashMD(kl_coef=0.3)
    told = {"fixed": {"target": lambda *_: REF}}
    got, _ = worked_numbers.informed(one, columns=OPPONENT, **told)
    expected, _ = worked_numbers.informed(other, columns=OPPONENT)
    np.testing.assert_allclose(got.advantages, expected.advantages, atol=1e-6)
    with pytest.raises(ValueError, match="stays near a target"):
        worked_numbers.informed(one, columns=OPPONENT)
    with pytest.raises(ValueError, match="no completion is an opponent"):
        worked_numbers.informed(other, columns={"wins": WINS})
