import numpy as np
import pytest
from canonical_pair import check, check_at_reference, spread, stats, step

from posttrain_jax.recipes.preference.exo import EXO


def test_canonical_pair():
    check(EXO(beta=0.1, label_noise=1e-3), 2.422015)
    check_at_reference(EXO(label_noise=0.1), -np.log(2) - np.log(0.09) / 2)


def test_it_is_zero_and_rests_at_the_odds_of_the_label():
    best = np.log(0.9 / 0.1) / 0.1
    value, gradient = step(EXO(label_noise=0.1), policy=stats(spread(-12.0 + best, -14.0)))
    np.testing.assert_allclose(value, 0, atol=1e-6)
    np.testing.assert_allclose(gradient, 0, atol=1e-6)


@pytest.mark.parametrize("wrong", [{"beta": 0.0}, {"label_noise": 0.0}, {"label_noise": 0.5}])
def test_meaningless_numbers_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        EXO(**wrong)
