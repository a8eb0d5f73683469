import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
import worked_numbers as fx

from posttrain_jax.recipes.policy.dapo import DAPO
from posttrain_jax.recipes.policy.forking_tokens import ForkingTokens

ENTROPY = jnp.array([[[0.1, 2.0, 0.3], [0.4, 0.5, 9.0], [0.6, 3.0, 0.7], [0.2, 9.0, 9.0]]])
ROLLOUT = dataclasses.replace(fx.ROLLOUT, sampler=dataclasses.replace(fx.ROLLOUT.sampler, entropy=ENTROPY))


def test_only_forks_weigh_and_the_others_stay_in_the_denominator():
    """Of nine tokens' entropies the quantile 0.8 is 0.7 + 0.4 (2 - 0.7): two tokens are above. Padding is not seen."""
    batch = ForkingTokens().credit(ROLLOUT, fx.REWARDS)
    expected = jnp.zeros_like(ENTROPY).at[0, 0, 1].set(1 / 9).at[0, 2, 1].set(1 / 9)
    np.testing.assert_allclose(batch.token_weights, expected, rtol=1e-6)


def test_all_tokens_make_dapo_of_it():
    for recipe in (ForkingTokens(share=1.0), DAPO()):
        batch = dataclasses.replace(recipe.credit(ROLLOUT, fx.REWARDS), old_logps=fx.OLD)
        np.testing.assert_allclose(recipe.loss(fx.POLICY, batch)[0], 0.100676785 * np.sqrt(3) / 2, atol=1e-6)


def test_truncated_completions_do_not_move_the_quantile():
    rollout = dataclasses.replace(ROLLOUT, truncated=jnp.array([[False, False, True, False]]))
    weights = ForkingTokens(share=0.2).credit(rollout, fx.REWARDS).token_weights
    np.testing.assert_array_equal(np.argwhere(weights[0]), [[0, 1], [1, 1]])  # six tokens: 0.5 is the quantile


@pytest.mark.parametrize("wrong", [{"share": 0.0}, {"share": 1.5}])
def test_meaningless_numbers_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        ForkingTokens(**wrong)
