import jax
import jax.numpy as jnp
import numpy as np

from posttrain_jax.losses import influence

ONE = jnp.array([0])
KEYS = jax.random.split(jax.random.key(0), 3)
HEAD = jax.random.normal(KEYS[0], (5, 4))
HIDDEN = jax.random.normal(KEYS[1], (1, 3, 2, 4))
WORDS = jax.random.randint(KEYS[2], (1, 3, 2), 0, 5)
MASK = jnp.array([[[True, True], [True, False], [True, True]]])
ERRORS = influence.prediction_errors(
    jax.nn.log_softmax(jnp.einsum("vd,pgtd->pgtv", HEAD, HIDDEN, precision="highest")), jnp.arange(5)[None], WORDS
)
CORRECT = jnp.array([[True, True, False]])
SOURCES = jnp.where(MASK & CORRECT[:, :, None], 1.0, 0)


def log_likelihoods(head):
    log_probs = jax.nn.log_softmax(jnp.einsum("vd,pgtd->pgtv", head, HIDDEN, precision="highest"))
    return jnp.take_along_axis(log_probs, WORDS[..., None], axis=-1)[..., 0]


def test_it_is_the_inner_product_of_gradients_of_the_output_layer():
    each = jax.jacobian(log_likelihoods)(HEAD)
    together = jax.grad(lambda head: jnp.sum(SOURCES * log_likelihoods(head)))(HEAD)
    got = influence.of_tokens(HIDDEN, ERRORS, SOURCES, ONE)
    np.testing.assert_allclose(got, jnp.einsum("pgtvd,vd->pgt", each, together, precision="highest"), atol=1e-5)


def test_worked_influences():
    """Two completions of one token, probabilities 1/2 and hidden states of one number: e = +-1/2."""
    hidden = jnp.array([[[[2.0]], [[3.0]]]])
    log_probs = jnp.log(jnp.full((1, 2, 1, 2), 0.5))
    for second, sign in ((0, 1), (1, -1)):
        errors = influence.prediction_errors(log_probs, jnp.array([[0, 1]]), jnp.array([[[0], [second]]]))
        got = influence.of_tokens(hidden, errors, jnp.array([[[1.0], [0.0]]]), ONE)
        np.testing.assert_allclose(got[0, :, 0], [0.5 * 4, sign * 0.5 * 6], rtol=1e-6)


def test_what_comes_from_itself_and_from_others():
    alone = influence.of_own_tokens(HIDDEN, ERRORS, SOURCES)
    for member in range(3):
        others = SOURCES.at[0, member].set(0)
        expected = influence.of_tokens(HIDDEN, ERRORS, SOURCES - others, ONE)[0, member]
        np.testing.assert_allclose(alone[0, member], expected, atol=1e-5)


def test_a_group_may_span_rows_and_groups_are_told_apart():
    rows = [x.reshape(3, 1, *x.shape[2:]) for x in (HIDDEN, ERRORS, SOURCES)]
    whole = influence.of_tokens(HIDDEN, ERRORS, SOURCES, ONE).reshape(3, 1, 2)
    np.testing.assert_allclose(influence.of_tokens(*rows, jnp.array([4, 4, 4])), whole, atol=1e-5)
    apart = influence.of_tokens(*rows, jnp.array([4, 4, 7]))
    np.testing.assert_array_equal(apart[2], 0)


def test_ids_that_fill_up_are_no_tokens():
    log_probs, kept = jnp.log(jnp.full((1, 1, 1, 3), 0.25)), jnp.array([[3, 1, -1]])
    got = influence.prediction_errors(log_probs, kept, jnp.array([[[1]]]))
    np.testing.assert_allclose(got[0, 0, 0], [-0.25, 0.75, 0])


def test_the_least_of_the_correct():
    influences = jnp.array([[[1.0, 3.0], [-1.0, 9.0], [-5.0, -5.0]]])
    np.testing.assert_array_equal(influence.least_of_correct(influences, CORRECT, MASK, ONE), [-1])
    np.testing.assert_array_equal(influence.least_of_correct(influences, ~CORRECT & CORRECT, MASK, ONE), [0])


def test_nothing_has_a_gradient():
    gradient = jax.grad(lambda *x: influence.of_tokens(*x, SOURCES, ONE).sum(), argnums=(0, 1))(HIDDEN, ERRORS)
    jax.tree.map(lambda x: np.testing.assert_array_equal(x, 0), gradient)
