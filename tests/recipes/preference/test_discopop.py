import numpy as np
import pytest
from canonical_pair import check, check_at_reference, spread, stats, step

from posttrain_jax.recipes.preference.discopop import DiscoPOP


def test_canonical_pair():
    check(DiscoPOP(beta=0.1, temperature=0.05), 0.814763)
    check_at_reference(DiscoPOP(), (np.log(2) + 1) / 2)


@pytest.mark.parametrize(("margin", "sign"), [(-0.2, -1), (-0.05, 1), (0.05, 1), (0.2, -1)])
def test_between_its_minimum_and_its_maximum_it_pushes_the_chosen_completion_down(margin, sign):
    _, gradient = step(DiscoPOP(beta=0.1), policy=stats(spread(-12.0 + 10 * margin, -14.0)))
    assert np.sign(gradient[0, 0, 0]) == sign


@pytest.mark.parametrize("wrong", [{"beta": 0.0}, {"temperature": 0.0}])
def test_meaningless_numbers_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        DiscoPOP(**wrong)
