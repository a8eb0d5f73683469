import jax.numpy as jnp
import numpy as np
import pytest
from canonical_pair import MASK, check, check_at_reference, spread, stats, step

from posttrain_jax.recipes.preference.hinge_dpo import HingeDPO


def test_canonical_pair():
    check(HingeDPO(beta=0.1), 0.8)
    check_at_reference(HingeDPO(), 1.0)


def test_gradient_is_constant_up_to_the_margin_and_zero_beyond():
    _, gradient = step(HingeDPO(beta=0.1))
    np.testing.assert_allclose(gradient, jnp.where(MASK, jnp.array([[[-0.1], [0.1]]]), 0), rtol=1e-6)
    value, gradient = step(HingeDPO(beta=0.1), policy=stats(spread(-1.0, -14.0)))
    assert value == 0
    assert not gradient.any()


def test_meaningless_numbers_are_refused():
    with pytest.raises(ValueError, match="beta"):
        HingeDPO(beta=-0.1)
