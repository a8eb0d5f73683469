import numpy as np
import pytest
from canonical_pair import check, check_at_reference, step

from posttrain_jax.recipes.preference.bco_pair import BCOPair


def test_canonical_pair():
    check(BCOPair(beta=0.1), 1.288793)
    check_at_reference(BCOPair(), 2 * np.log(2))


def test_gradient_looks_at_each_completion_alone():
    push = 0.1 / (1 + np.exp(0.1))
    np.testing.assert_allclose(step(BCOPair(beta=0.1))[1][0, :, 0], [-push, push], rtol=1e-5)


def test_meaningless_numbers_are_refused():
    with pytest.raises(ValueError, match="beta"):
        BCOPair(beta=0.0)
