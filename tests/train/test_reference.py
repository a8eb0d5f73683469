"""References that are made of several models."""

import jax.numpy as jnp
import numpy as np
import pytest

from posttrain_jax.train import reference


def test_a_soup_is_the_weighted_mean_of_weights():
    several = {"w": jnp.array([1.0, 3.0])}, {"w": jnp.array([3.0, 5.0])}
    np.testing.assert_allclose(reference.soup(several, [0.5, 0.5])["w"], [2, 4])
    np.testing.assert_array_equal(reference.soup(several, [1.0, 0.0])["w"], several[0]["w"])
    half = [{"w": x["w"].astype(jnp.bfloat16)} for x in several]
    assert reference.soup(half, [0.25, 0.75])["w"].dtype == jnp.bfloat16
    for shares in ([1.0], [0.5, 0.6]):
        with pytest.raises(ValueError, match="give one for each"):
            reference.soup(several, shares)


def test_a_hard_replacement_is_exact():
    old, new = {"w": jnp.array([0.1, 1e8])}, {"w": jnp.array([0.3, 0.7])}
    moving = reference.Moving(1.0, every=2)
    np.testing.assert_array_equal(moving.follow(old, new, 1)["w"], old["w"])
    np.testing.assert_array_equal(moving.follow(old, new, 2)["w"], new["w"])


@pytest.mark.parametrize(("fixed", "versions"), [(["ref"], []), ([], ["policy"]), (["past"], ["past"])])
def test_a_role_belongs_to_one_model(fixed, versions):
    reference.check_roles(["teacher"], ["past"])
    with pytest.raises(ValueError, match="the roles of two models"):
        reference.check_roles(fixed, versions)
