import dataclasses

import numpy as np
import pytest
import worked_numbers as fx

from posttrain_jax.recipes.policy.grpo import GRPO
from posttrain_jax.recipes.policy.two_sided_grpo import TwoSidedGRPO

PLAIN = GRPO(kl_coef=0.0, ddof=0, eps=0.0)


def loss(recipe, logps=fx.LOGPS):
    batch = dataclasses.replace(recipe.credit(fx.ROLLOUT, fx.REWARDS, fx.REF), old_logps=fx.OLD)
    return recipe.loss(dataclasses.replace(fx.POLICY, logps=logps), batch)[0]


def test_it_is_grpo_while_no_ratio_reaches_the_bound():
    np.testing.assert_allclose(loss(TwoSidedGRPO(PLAIN)), -0.017213402, atol=1e-6)
    penalised = TwoSidedGRPO(GRPO(kl_coef=0.04, ddof=0, eps=0.0))
    np.testing.assert_allclose(loss(penalised), -0.017213402 + 0.04 * 0.050316155, atol=1e-6)


def test_the_loss_of_a_bad_token_is_bounded():
    """The second completion's first token at ratio e^2 = 7.4: GRPO takes it whole, the bound holds it at 4."""
    far = fx.LOGPS.at[0, 1, 0].set(fx.OLD[0, 1, 0] + 2.0)
    np.testing.assert_allclose(loss(PLAIN, far) - loss(TwoSidedGRPO(PLAIN), far), (np.exp(2.0) - 4) / 8, rtol=1e-4)


def test_a_bound_inside_the_range_is_refused():
    with pytest.raises(ValueError, match="delta="):
        TwoSidedGRPO(delta=1.1)


def test_the_reference_is_needed_as_by_grpo():
    assert TwoSidedGRPO().needs_ref
    assert not TwoSidedGRPO(PLAIN).needs_ref
