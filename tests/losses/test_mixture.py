import jax.numpy as jnp
import numpy as np

from posttrain_jax.losses import mixture

MARGINS = jnp.array([[1.2, -0.3], [0.5, 0.9], [-0.8, 0.4]])
PEOPLE = jnp.array([0, 1, 0])


def test_the_worked_numbers():
    found = mixture.evidence(MARGINS, PEOPLE, jnp.ones(3, bool), size=3)
    np.testing.assert_allclose(found[:2], [[-1.434383, -1.367370], [-0.474077, -0.341154]], atol=1e-6)
    np.testing.assert_array_equal(mixture.hard(found[:2], jnp.full(2, 0.5)), [[0, 1], [0, 1]])
    np.testing.assert_allclose(mixture.soft(found, jnp.full(2, 0.5))[0], [0.483253, 0.516747], atol=1e-6)
    # choice by choice the first person would be torn
    alone = mixture.evidence(MARGINS, jnp.arange(3), jnp.ones(3, bool), size=3)
    np.testing.assert_array_equal(jnp.argmax(mixture.hard(alone, jnp.full(2, 0.5)), axis=1), [0, 1, 1])


def test_choices_that_do_not_count_and_shares():
    found = mixture.evidence(MARGINS, PEOPLE, jnp.array([True, True, False]), size=2)
    assert int(jnp.argmax(found[0])) == 0
    only = mixture.soft(found, jnp.array([0.0, 1.0]))
    np.testing.assert_allclose(only, [[0, 1], [0, 1]], atol=1e-6)
    np.testing.assert_allclose(jnp.sum(mixture.soft(found, jnp.array([0.9, 0.1])), axis=1), 1, rtol=1e-6)


def test_people_are_dealt_out_in_turn():
    np.testing.assert_array_equal(jnp.argmax(mixture.dealt(5, 2), axis=1), [0, 1, 0, 1, 0])
