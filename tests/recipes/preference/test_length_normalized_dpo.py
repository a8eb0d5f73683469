import numpy as np
import pytest
from canonical_pair import check, check_at_reference, step

from posttrain_jax.recipes.preference.length_normalized_dpo import LengthNormalizedDPO


def test_canonical_pair():
    check(LengthNormalizedDPO(beta=1.0), 0.536341)
    check_at_reference(LengthNormalizedDPO(), np.log(2))


def test_gradient_is_shared_by_the_tokens_of_a_completion():
    value, gradient = step(LengthNormalizedDPO(beta=1.0))
    push = -np.expm1(-value)
    np.testing.assert_allclose(gradient[0, :, 0], [-push / 5, push / 7], rtol=1e-5)


def test_meaningless_numbers_are_refused():
    with pytest.raises(ValueError, match="beta"):
        LengthNormalizedDPO(beta=0.0)
