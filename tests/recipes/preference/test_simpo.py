import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from canonical_pair import GROUPS, MASK, POLICY, check, random_step, step

from posttrain_jax.losses import link
from posttrain_jax.recipes.preference.cpo import CPO
from posttrain_jax.recipes.preference.simpo import SimPO


def test_canonical_pair():
    check(SimPO(beta=2.0, target_margin=1.0), 1.313262)
    check(SimPO(beta=2.0, target_margin=1.0, shape=link.hinge), 2.0)  # 1 - (0 - 1)


def test_tokens_of_short_completions_weigh_more():
    push = 2 / (1 + np.exp(-1.0))
    _, gradient = step(SimPO(beta=2.0, target_margin=1.0))
    np.testing.assert_allclose(gradient, jnp.where(MASK, jnp.array([[[-push / 5], [push / 7]]]), 0), rtol=1e-5)


def test_with_likelihood_it_is_simpo_and_the_likelihood_of_cpo():
    both, alone = random_step(SimPO(nll_coef=0.3)), random_step(SimPO())
    cpo, preference = random_step(CPO(nll_coef=0.3)), random_step(CPO(nll_coef=0.0))
    for a, b, c, d in zip(both, alone, cpo, preference, strict=True):
        np.testing.assert_allclose(a - b, c - d, atol=1e-6)


def test_the_reference_is_not_looked_at():
    assert SimPO().credit(GROUPS, POLICY.logps).ref_logps is None


def test_a_batch_without_token_weights_is_refused_in_words():
    batch = dataclasses.replace(SimPO().credit(GROUPS), token_weights=None)
    with pytest.raises(ValueError, match="token_weights"):
        SimPO().loss(POLICY, batch)


@pytest.mark.parametrize("wrong", [{"beta": 0.0}, {"target_margin": -1.0}, {"nll_coef": float("inf")}])
def test_meaningless_numbers_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        SimPO(**wrong)
