import jax.numpy as jnp
import numpy as np
import pytest
from canonical_pair import GROUPS, check_same, groups, stats

from posttrain_jax.recipes.preference.dpo import DPO
from posttrain_jax.recipes.preference.plackett_luce_dpo import PlackettLuceDPO


def ranked(log_ratios, mask):
    batch = PlackettLuceDPO().credit(groups(mask), jnp.zeros(mask.shape))
    return PlackettLuceDPO().loss(stats(jnp.where(mask, log_ratios, 0)), batch)[0], batch


def test_three_completions():
    value, _ = ranked(jnp.array([[[1.0], [0.0], [-1.0]]]), jnp.ones((1, 3, 1), bool))
    np.testing.assert_allclose(value, 1.646340, rtol=1e-6)


def test_of_two_it_is_dpo():
    check_same(PlackettLuceDPO(), DPO())


def test_rows_may_rank_fewer():
    mask = jnp.array([[[True], [True], [False]], [[True], [False], [True]], [[False], [True], [False]]])
    log_ratios = jnp.array([[[1.0], [-1.0], [9.0]], [[1.0], [9.0], [-1.0]], [[9.0], [1.0], [9.0]]])
    value, batch = ranked(log_ratios, mask)
    np.testing.assert_array_equal(batch.pair_weights, [0.5, 0.5, 0])
    np.testing.assert_allclose(value, 0.598139, rtol=1e-6)


def test_a_missing_reference_is_refused_in_words():
    with pytest.raises(ValueError, match="ref_logps"):
        PlackettLuceDPO().credit(GROUPS)


def test_meaningless_numbers_are_refused():
    with pytest.raises(ValueError, match="beta"):
        PlackettLuceDPO(beta=0.0)
