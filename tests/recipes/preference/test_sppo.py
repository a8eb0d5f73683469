import jax
import jax.numpy as jnp
import numpy as np
import pytest
from canonical_pair import GROUPS, POLICY, RANDOM_MASK, RANDOM_REF, REF, check, credit, groups, step

from posttrain_jax import types
from posttrain_jax.recipes.preference.sppo import SPPO


def test_canonical_pair():
    check(SPPO(beta=0.1), 32.0)
    batch = credit(SPPO(beta=0.1), GROUPS, POLICY.logps, REF, {"win_rates": jnp.array([[0.9, 0.2]])})
    np.testing.assert_allclose(SPPO(beta=0.1).loss(POLICY, batch)[0], 13.0, rtol=1e-5)


def test_gradient_is_twice_the_distance_from_the_target():
    # targets 5 and -5, log-ratios 1 and -1
    np.testing.assert_allclose(step(SPPO(beta=0.1))[1][0, :, 0], [-8, 8], rtol=1e-5)


def test_unknown_win_rates_do_not_count():
    rates = jnp.array([[1.0, jnp.nan], [0.9, 0.2], [0.7, 0.3]])
    batch = credit(SPPO(), groups(RANDOM_MASK), RANDOM_REF, RANDOM_REF, {"win_rates": rates})
    np.testing.assert_array_equal(batch.pair_weights, [0, 0.5, 0.5])
    gradient = jax.grad(lambda logps: SPPO().loss(types.TokenStats(logps, logps), batch)[0])(RANDOM_REF)
    assert np.isfinite(gradient).all()
    assert not gradient[0].any()


def test_a_batch_without_win_rates_is_refused_in_words():
    with pytest.raises(ValueError, match="win_rates"):
        SPPO().loss(POLICY, types.PreferenceBatch(GROUPS.completion_mask, jnp.ones(1), REF))


def test_meaningless_numbers_are_refused():
    with pytest.raises(ValueError, match="beta"):
        SPPO(beta=0.0)
