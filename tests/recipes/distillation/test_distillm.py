"""DistiLLM's two divergences against their golden numbers, their limits and their bound."""

import numpy as np
import pytest
from whole_vocabulary import golden

from posttrain_jax.losses import generator
from posttrain_jax.recipes.distillation import distillm
from posttrain_jax.recipes.distillation.gkd import GKD


@pytest.mark.parametrize(("recipe", "expected"), [(distillm.skl(), 0.397169), (distillm.srkl(), 0.430559)])
def test_worked_numbers(recipe, expected):
    np.testing.assert_allclose(golden(recipe)[0], expected, atol=1e-6)


@pytest.mark.parametrize(
    ("recipe", "limit"),
    [(distillm.skl(1e-5), generator.ForwardKL()), (distillm.srkl(1e-5), generator.ReverseKL())],
)
def test_without_skew_they_are_the_two_divergences(recipe, limit):
    for got, expected in zip(golden(recipe), golden(GKD(limit)), strict=True):
        np.testing.assert_allclose(got, expected, atol=1e-4)


def test_the_gradient_flows_through_the_mixture():
    teacher, student, a = np.array([0.6, 0.3, 0.1]), np.array([0.2, 0.3, 0.5]), 0.1
    mixture = a * teacher + (1 - a) * student
    by_probability = -teacher * (1 - a) / mixture
    expected = student * (by_probability - student @ by_probability)
    np.testing.assert_allclose(golden(distillm.skl(a))[1], expected, atol=1e-6)
    mixture = (1 - a) * teacher + a * student
    by_probability = np.log(student / mixture) - a * student / mixture
    expected = student * (by_probability - student @ by_probability)
    np.testing.assert_allclose(golden(distillm.srkl(a))[1], expected, atol=1e-6)


def test_a_share_that_mixes_nothing_is_refused():
    with pytest.raises(ValueError, match=r"share=0\.0 mixes nothing"):
        distillm.skl(0.0)
    with pytest.raises(ValueError, match=r"share=1\.0 mixes nothing"):
        distillm.srkl(1.0)
