import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from canonical_pair import GROUPS, MASK, POLICY, REF, loss

from posttrain_jax import types
from posttrain_jax.recipes.preference.dpo import DPO


def test_canonical_pair():
    np.testing.assert_allclose(loss(DPO(beta=0.1))[0], 0.598139, atol=1e-6)
    np.testing.assert_allclose(loss(DPO(beta=0.1, label_noise=0.1))[0], 0.618139, atol=1e-6)


def test_metrics_of_the_canonical_pair():
    metrics = loss(DPO(beta=0.1))[1]
    expected = {"chosen_reward": 0.1, "rejected_reward": -0.1, "margin": 0.2, "accuracy": 1.0}
    assert metrics.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(metrics[name], [value], atol=1e-6)


def test_the_reference_itself_costs_ln_2_and_is_never_right():
    value, metrics = loss(DPO(), dataclasses.replace(POLICY, logps=REF))
    np.testing.assert_allclose(value, np.log(2), rtol=1e-6)
    assert metrics["accuracy"] == 0


def test_gradient_pushes_chosen_up_and_rejected_down_alike():
    gradient = jax.grad(lambda policy: loss(DPO(beta=0.1), policy)[0])(POLICY).logps
    push = 0.1 / (1 + np.exp(0.2))
    np.testing.assert_allclose(gradient, jnp.where(MASK, jnp.array([[[-push], [push]]]), 0), rtol=1e-5)


def test_rows_that_fill_up_the_batch_weigh_nothing():
    double = jax.tree.map(lambda x: jnp.concatenate([x, jnp.zeros_like(x)]), GROUPS)
    batch = DPO().credit(double, jnp.concatenate([REF, REF]))
    np.testing.assert_array_equal(batch.pair_weights, [1, 0])


def test_more_than_two_completions_are_refused():
    three = jax.tree.map(lambda x: x[:, [0, 1, 1]] if x.ndim > 1 and x.shape[1] == 2 else x, GROUPS)
    with pytest.raises(ValueError, match="not 3 completions"):
        DPO().credit(three, REF[:, jnp.array([0, 1, 1])])


@pytest.mark.parametrize(
    "wrong", [{"beta": 0.0}, {"beta": -1.0}, {"label_noise": 0.5}, {"label_noise": -0.1}, {"beta": float("nan")}]
)
def test_meaningless_numbers_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        DPO(**wrong)


def test_document_ids_under_a_constrained_vocabulary_are_completions_as_any():
    """DDRO: y_w and y_l are the ids of a relevant document and of another one, scored over the ids that can follow."""
    can_follow = jnp.array([[True, True, False, False], [False, False, True, True]])
    logits, ref_logits = jnp.array([[0.5, 0.2, 9, 9], [9, 9, 0.3, -0.1]]), jnp.zeros((2, 4))
    ids = jnp.array([[0, 2], [1, 3]])

    def logps(logits):
        log_probs = jax.nn.log_softmax(jnp.where(can_follow, logits, -jnp.inf))
        return jnp.stack([log_probs[0][ids[:, 0]], log_probs[1][ids[:, 1]]], axis=-1)[None]

    mask = jnp.ones((1, 2, 2), bool)
    batch = types.PreferenceBatch(mask, jnp.ones(1), logps(ref_logits))
    value, gradient = jax.value_and_grad(
        lambda logits: DPO(beta=0.4).loss(
            dataclasses.replace(POLICY, logps=logps(logits), entropy=jnp.zeros((1, 2, 2))), batch
        )[0]
    )(logits)
    np.testing.assert_allclose(value, np.log1p(np.exp(-0.4 * (0.3 + 0.4))), rtol=1e-6)
    np.testing.assert_array_equal(gradient[~can_follow], 0)
