import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from posttrain_jax.train import extragradient


@jax.numpy_dtype_promotion("standard")  # as the update does around optax
def test_both_changes_start_from_the_same_parameters_and_moments():
    adam, start = optax.adam(0.1), {"w": jnp.array([1.0, -2.0])}
    twice = extragradient.make_extragradient(adam)
    first, second = {"w": jnp.array([1.0, 3.0])}, {"w": jnp.array([-2.0, 0.5])}
    state, moments, params = twice.init(start), adam.init(start), start
    np.testing.assert_array_equal(extragradient.opponent(state, start)["w"], start["w"])
    for _ in range(3):
        change, state = twice.update(first, state, params)
        np.testing.assert_array_equal(change["w"], 0)
        shown = optax.apply_updates(params, adam.update(first, moments, params)[0])
        np.testing.assert_array_equal(extragradient.opponent(state, params)["w"], shown["w"])
        jax.tree.map(np.testing.assert_array_equal, state.inner, moments)
        change, state = twice.update(second, state, params)
        expected, moments = adam.update(second, moments, params)
        jax.tree.map(np.testing.assert_array_equal, (change, state.inner), (expected, moments))
        params = optax.apply_updates(params, change)
        np.testing.assert_array_equal(extragradient.opponent(state, params)["w"], params["w"])


def test_another_optimizer_is_refused():
    with pytest.raises(ValueError, match="needs an optimizer of"):
        extragradient.opponent(optax.sgd(0.1).init({}), {})
