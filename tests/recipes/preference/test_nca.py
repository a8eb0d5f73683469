import numpy as np
import pytest
from canonical_pair import check, check_at_reference, step

from posttrain_jax.recipes.preference.nca import NCA


def test_canonical_pair():
    check(NCA(beta=0.1), 1.338793)
    check_at_reference(NCA(), 2 * np.log(2))


def test_gradient():
    _, gradient = step(NCA(beta=0.1))
    up = -1 / (1 + np.exp(0.1)) + 0.5 / (1 + np.exp(-0.1))
    down = 0.5 / (1 + np.exp(0.1))
    np.testing.assert_allclose(gradient[0, :, 0], [0.1 * up, 0.1 * down], rtol=1e-5)


def test_meaningless_numbers_are_refused():
    with pytest.raises(ValueError, match="beta"):
        NCA(beta=0.0)
