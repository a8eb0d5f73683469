import jax.numpy as jnp
import numpy as np
import pytest
from canonical_pair import MASK, check, check_at_reference, spread, stats, step

from posttrain_jax.recipes.preference.ipo import IPO


def test_canonical_pair():
    check(IPO(beta=0.1), 9.0)
    check(IPO(beta=0.1, per_token=True), 21.688980)
    check_at_reference(IPO(beta=0.1), 25.0)


def test_gradient_is_linear_in_the_distance_from_the_target():
    _, gradient = step(IPO(beta=0.1))
    np.testing.assert_allclose(gradient, jnp.where(MASK, jnp.array([[[-6.0], [6.0]]]), 0), rtol=1e-5)


def test_it_stops_at_the_target_and_turns_back_beyond():
    assert abs(step(IPO(beta=0.1), policy=stats(spread(-7.0, -14.0)))[0]) < 1e-6
    assert step(IPO(beta=0.1), policy=stats(spread(-5.0, -14.0)))[1][0, 0, 0] > 0


def test_meaningless_numbers_are_refused():
    with pytest.raises(ValueError, match="beta"):
        IPO(beta=0.0)
