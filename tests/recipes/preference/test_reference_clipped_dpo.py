import numpy as np
import pytest
from canonical_pair import POLICY, check, spread, step

from posttrain_jax.recipes.preference.dpo import DPO
from posttrain_jax.recipes.preference.reference_clipped_dpo import ReferenceClippedDPO

WRONG_REF = spread(-13.0, -11.0)


def test_canonical_pair():
    check(ReferenceClippedDPO(), 0.598139)
    check(ReferenceClippedDPO(), 0.513015, ref=WRONG_REF)
    check(DPO(), 0.437488, ref=WRONG_REF)


def test_where_the_reference_agrees_with_the_label_it_is_dpo():
    for got, expected in zip(step(ReferenceClippedDPO()), step(DPO()), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_where_it_does_not_it_is_dpo_from_a_uniform_reference():
    got = step(ReferenceClippedDPO(), ref=WRONG_REF)
    for a, b in zip(got, step(DPO(), POLICY, spread(0.0, 0.0)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)


def test_meaningless_numbers_are_refused():
    with pytest.raises(ValueError, match="beta"):
        ReferenceClippedDPO(beta=0.0)
