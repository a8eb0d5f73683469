import jax
import jax.numpy as jnp
import numpy as np
import pytest
from canonical_pair import check, check_at_reference, check_same, spread, stats, step

from posttrain_jax.recipes.preference.dpo import DPO
from posttrain_jax.recipes.preference.robust_dpo import RobustDPO


def test_canonical_pair():
    check(RobustDPO(beta=0.1, label_noise=0.1), 0.573139)
    check_at_reference(RobustDPO(), np.log(2))


def test_without_noise_it_is_dpo():
    check_same(RobustDPO(label_noise=0.0), DPO())


def test_flipped_labels_average_to_the_loss_of_the_right_ones():
    recipe, flipped = RobustDPO(label_noise=0.2), (stats(spread(-14, -10)), spread(-13, -11))
    # the two completions differ in length, which sums do not see
    value, gradient = step(recipe)
    wrong_value, wrong_gradient = step(recipe, *flipped)
    right_value, right_gradient = step(DPO())
    np.testing.assert_allclose(0.8 * value + 0.2 * wrong_value, right_value, rtol=1e-5)
    push, wrong_push, right_push = (g[0, 0, 0] for g in (gradient, wrong_gradient, right_gradient))
    np.testing.assert_allclose(0.8 * push - 0.2 * wrong_push, right_push, rtol=1e-5)


def test_it_falls_without_bound():
    values, gradients = jax.vmap(lambda x: step(RobustDPO(), policy=stats(spread(x, -14.0))))(jnp.array([1e3, 1e4]))
    assert values[1] < values[0] < 0
    np.testing.assert_allclose(gradients[:, 0, 0, 0], 0.1 * (1 - 0.9 / 0.8), rtol=1e-4)


@pytest.mark.parametrize("noise", [0.1, 0.3])
@pytest.mark.parametrize("margin", [-2.0, 0.0, 0.2, 3.0])
def test_the_slope_is_that_of_dpo_less_a_constant(noise, margin):
    _, gradient = step(RobustDPO(label_noise=noise), policy=stats(spread(10 * margin - 12, -14.0)))
    slope = 1 / (1 + np.exp(-margin)) - (1 - noise) / (1 - 2 * noise)
    np.testing.assert_allclose(gradient[0, :, 0], [0.1 * slope, -0.1 * slope], rtol=1e-5)


@pytest.mark.parametrize("wrong", [{"beta": 0.0}, {"label_noise": 0.5}])
def test_meaningless_numbers_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        RobustDPO(**wrong)
