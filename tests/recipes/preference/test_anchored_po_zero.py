import numpy as np
import pytest
from canonical_pair import check, check_at_reference, step

from posttrain_jax.recipes.preference.anchored_po_zero import AnchoredPOZero


def test_canonical_pair():
    check(AnchoredPOZero(beta=0.1), 0.950042)
    check_at_reference(AnchoredPOZero(), 1.0)


def test_gradient_pushes_each_by_its_own_distance_from_the_reference():
    _, gradient = step(AnchoredPOZero(beta=0.1))
    slope = 0.1 * 0.25 / np.cosh(0.05) ** 2
    np.testing.assert_allclose(gradient[0, :, 0], [-slope, slope], rtol=1e-5)


def test_meaningless_numbers_are_refused():
    with pytest.raises(ValueError, match="beta"):
        AnchoredPOZero(beta=0.0)
