import numpy as np
import pytest
from canonical_pair import check, check_same, spread, stats, step

from posttrain_jax.recipes.preference.alpha_po import AlphaPO
from posttrain_jax.recipes.preference.simpo import SimPO

# means -1 and -3
POLICY = stats(spread(-5.0, -21.0))


def test_worked_pair():
    # (1 - exp(0.5)) / 0.5 = -1.297443 and (1 - exp(1.5)) / 0.5 = -6.963378
    recipe = AlphaPO(alpha=0.5, beta=0.1, target_margin=0.5)
    check(recipe, np.log1p(np.exp(0.5 - 0.1 * 5.665936)), policy=POLICY)


def test_gradient_is_that_of_simpo_times_the_slope_of_the_score():
    value, gradient = step(AlphaPO(alpha=0.5, beta=0.1, target_margin=0.5), policy=POLICY)
    push = 0.1 * -np.expm1(-value)
    np.testing.assert_allclose(gradient[0, :, 0], [-push * np.exp(0.5) / 5, push * np.exp(1.5) / 7], rtol=1e-5)


def test_alpha_zero_is_simpo():
    simpo = SimPO(beta=2.0, target_margin=1.0)
    check_same(AlphaPO(alpha=0.0, beta=2.0, target_margin=1.0), simpo)
    check_same(AlphaPO(alpha=-1e-4, beta=2.0, target_margin=1.0), simpo, rtol=1e-3)


@pytest.mark.parametrize("wrong", [{"beta": 0.0}, {"target_margin": -0.1}, {"alpha": float("nan")}])
def test_meaningless_numbers_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        AlphaPO(**wrong)
