import numpy as np
import pytest
from canonical_pair import REF, check, check_at_reference, stats, step

from posttrain_jax.recipes.preference.anchored_po_down import AnchoredPODown


def test_canonical_pair():
    check(AnchoredPODown(beta=0.1), 0.975145)
    check_at_reference(AnchoredPODown(), 1.0)


def test_gradient():
    # sigmoid' is 1 / (4 cosh(x / 2)^2); the two terms on the chosen completion nearly cancel
    _, gradient = step(AnchoredPODown(beta=0.1))
    own, margin = (0.1 * 0.25 / np.cosh(x / 2) ** 2 for x in (0.1, 0.2))
    np.testing.assert_allclose(gradient[0, :, 0], [own - margin, margin], rtol=1e-4)


def test_at_the_reference_only_the_rejected_completion_moves():
    _, gradient = step(AnchoredPODown(beta=0.1), policy=stats(REF))
    np.testing.assert_allclose(gradient[0, :, 0], [0, 0.025], atol=1e-7)


def test_meaningless_numbers_are_refused():
    with pytest.raises(ValueError, match="beta"):
        AnchoredPODown(beta=0.0)
