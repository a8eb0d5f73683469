"""DR-IRL's scaled advantages: the worked number, and the recipe itself where all prompts are alike."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import worked_numbers as fx

from posttrain_jax.recipes.policy.dr_irl import DRIRL
from posttrain_jax.recipes.policy.grpo import GRPO

PLAIN = GRPO(kl_coef=0.0, ddof=0, eps=0.0)
REWARDS = jnp.array([[1.0, 0.0, 0.5, 0.25]])
TILED = jax.tree.map(lambda x: jnp.tile(x, (3, *[1] * (x.ndim - 1))), fx.ROLLOUT)
THREE = dataclasses.replace(TILED, groups=dataclasses.replace(TILED.groups, group_ids=jnp.array([7, 8, 9])))


def credit(similarity, gap, rewards):
    columns = {"similarity": similarity, "gap": gap, "category": jnp.zeros_like(gap)}
    recipe = DRIRL(width=4.0, recipe=PLAIN)
    return fx.informed(recipe, rewards, rollout=THREE, columns=columns)[0].advantages[:, :, 0]


def test_the_worked_advantages():
    """alphaD of the third prompt is 1.108465; gaps chosen so that alphaM is .774466 of all: alpha .858469."""
    similarity = jnp.tile(1 - jnp.array([[0.2], [0.5], [0.8]]), (1, 4))
    gap = jnp.tile(jnp.array([[0.8], [0.8], [4.7]]), (1, 4))  # mean 2.1, kept (within 2) 0.8
    got = credit(similarity, gap, jnp.tile(REWARDS, (3, 1)))
    np.testing.assert_allclose(got[2], [1.305969, -1.015754, 0.145108, -0.435323], atol=2e-6)
    np.testing.assert_allclose(got.sum(axis=1), 0, atol=1e-6)


def test_alike_prompts_and_prompts_without_numbers_are_the_recipe():
    rewards = jnp.tile(REWARDS, (3, 1))
    plain = PLAIN.credit(THREE, rewards).advantages[:, :, 0]
    same = jnp.full((3, 4), 0.3)
    np.testing.assert_allclose(credit(same, same, rewards), plain, rtol=1e-6)
    np.testing.assert_allclose(credit(jnp.full((3, 4), jnp.nan), same, rewards), plain, rtol=1e-6)


def test_the_scale_is_held():
    gap = jnp.tile(jnp.array([[-40.0], [-40.0], [-1.0]]), (1, 4))
    rewards = jnp.tile(REWARDS, (3, 1))
    plain = PLAIN.credit(THREE, rewards).advantages[:, :, 0]
    got = credit(jnp.full((3, 4), 0.3), gap, rewards)
    assert (jnp.abs(got) <= 4 * jnp.abs(plain) + 1e-6).all()
    assert jnp.isfinite(got).all()


def test_meaningless_numbers_are_refused():
    with pytest.raises(ValueError, match="width=-1"):
        DRIRL(width=-1.0)
