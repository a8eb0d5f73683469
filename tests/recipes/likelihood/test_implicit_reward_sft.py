import jax
import jax.numpy as jnp
import numpy as np
import pytest
import worked_numbers as fx

from posttrain_jax import types
from posttrain_jax.losses import imitation
from posttrain_jax.recipes.likelihood.implicit_reward_sft import ImplicitRewardSFT

GROUPS = types.Groups(
    prompts=jnp.zeros((1, 1), int),
    prompt_lengths=jnp.ones(1, int),
    completions=jnp.zeros((1, 1, 3), int),
    completion_lengths=jnp.array([[2]]),
    completion_mask=jnp.array([[[True, True, False]]]),
    group_ids=jnp.zeros(1, int),
)
REF = jnp.array([[[-1.0, -2.0, 0.0]]])
POLICY = types.TokenStats(logps=REF + jnp.array([[[0.5, -0.3, 9.0]]]), entropy=jnp.zeros(REF.shape))


def step(recipe, policy=POLICY, ref=REF, groups=GROUPS):
    batch = recipe.credit(groups, ref)
    value, gradient = jax.value_and_grad(lambda policy: recipe.loss(policy, batch)[0])(policy)
    return value, gradient.logps


@pytest.mark.parametrize(
    ("phi", "expected"),
    [
        (imitation.TotalVariation(), -0.2),
        (imitation.ChiSquared(), -0.115),
        (imitation.SquaredHellinger(), 0.095238),
    ],
)
def test_two_tokens(phi, expected):
    np.testing.assert_allclose(step(ImplicitRewardSFT(phi))[0], expected, atol=1e-6)


def test_whole_completions():
    value, gradient = step(ImplicitRewardSFT(imitation.ChiSquared(), per_token=False))
    np.testing.assert_allclose(value, -(0.2 - 0.01), rtol=1e-5)
    np.testing.assert_allclose(gradient, [[[-0.9, -0.9, 0]]], rtol=1e-5)


def test_pushing_fades_with_the_log_ratio():
    _, gradient = step(ImplicitRewardSFT(imitation.ChiSquared()))
    np.testing.assert_allclose(gradient, [[[-0.75, -1.15, 0]]], rtol=1e-5)
    _, gradient = step(ImplicitRewardSFT(imitation.ChiSquared(), beta=4.0))
    np.testing.assert_allclose(gradient, [[[0, -4 * 1.6, 0]]], atol=1e-5)


@pytest.mark.parametrize("per_token", [True, False])
@pytest.mark.parametrize("ref", [fx.REF, fx.OLD - 3])
def test_total_variation_is_sft_whatever_the_reference(per_token, ref):
    recipe = ImplicitRewardSFT(imitation.TotalVariation(), beta=0.3, per_token=per_token)
    _, gradient = step(recipe, fx.POLICY, ref, fx.ROLLOUT.groups)
    np.testing.assert_allclose(gradient, jnp.where(fx.MASK, -0.3 / 4, 0), rtol=1e-6)


def test_what_is_missing_or_meaningless_is_refused():
    with pytest.raises(ValueError, match="ref_logps"):
        step(ImplicitRewardSFT(), ref=None)
    with pytest.raises(ValueError, match="beta"):
        ImplicitRewardSFT(beta=0.0)
