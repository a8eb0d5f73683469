import jax
import jax.numpy as jnp
import numpy as np
import pytest
from canonical_pair import RANDOM_LOGPS, RANDOM_MASK, check, groups, random_step, spread, stats, step

from posttrain_jax.recipes.preference.cpo import CPO
from posttrain_jax.recipes.preference.dpo import DPO


def test_canonical_pair():
    check(CPO(beta=0.1, nll_coef=1.0), 2.513015)


def test_without_likelihood_it_is_dpo_from_a_uniform_reference():
    policy, ref = stats(spread(-10.0, -14.0)), spread(0.0, 0.0)
    for got, expected in zip(step(CPO(nll_coef=0.0), policy), step(DPO(), policy, ref), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_likelihood_is_the_mean_over_all_chosen_tokens_of_the_batch():
    (value, gradient), (alone, push) = random_step(CPO(nll_coef=2.0)), random_step(CPO(nll_coef=0.0))
    chosen = np.asarray(RANDOM_MASK[:, 0])
    np.testing.assert_allclose(value - alone, -2 * RANDOM_LOGPS[:, 0].sum() / 7, rtol=1e-5)
    np.testing.assert_allclose((gradient - push)[:, 0], -2 / 7 * chosen, atol=1e-6)
    np.testing.assert_allclose((gradient - push)[:, 1], 0, atol=1e-7)


def test_pairs_with_an_empty_completion_are_not_learned_by_heart():
    mask = RANDOM_MASK.at[0, 1].set(False)
    batch = CPO().credit(groups(mask))
    gradient = jax.grad(lambda logps: CPO().loss(stats(logps), batch)[0])(jnp.where(mask, RANDOM_LOGPS, 0))
    assert not gradient[0].any()
    np.testing.assert_allclose(batch.token_weights.sum(), 1, rtol=1e-6)


@pytest.mark.parametrize("wrong", [{"beta": 0.0}, {"nll_coef": -1.0}])
def test_meaningless_numbers_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        CPO(**wrong)
