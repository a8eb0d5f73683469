import jax
import jax.numpy as jnp
import numpy as np
import pytest
from canonical_pair import GROUPS as PAIRS
from canonical_pair import groups, lookup, stats
from labelled_pair import DESIRABLE, GROUPS, POLICY, REF, emptied, step

from posttrain_jax import types
from posttrain_jax.recipes.preference import kto, labelled
from posttrain_jax.recipes.preference.kto import KTO


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def test_canonical_completions():
    np.testing.assert_allclose(step(KTO(beta=0.1), 0.0)[0], 0.475021, rtol=2e-6)
    np.testing.assert_allclose(step(KTO(beta=0.1), 0.5)[0], 0.475036, rtol=2e-6)
    np.testing.assert_allclose(step(KTO(), 0.0, policy=stats(REF))[0], 0.5, rtol=1e-6)


def test_gradient_pushes_desirable_completions_up_and_others_down():
    _, gradient = step(KTO(beta=0.1, desirable_weight=1.2, undesirable_weight=0.8), 0.5)
    slopes = [sigmoid(x) * sigmoid(-x) * 0.1 / 2 for x in (0.05, 0.15)]
    np.testing.assert_allclose(gradient, [-1.2 * slopes[0], 0.8 * slopes[1]], rtol=1e-5)


def test_metrics():
    # log-ratios of 1 and -1, and every completion is one nat likelier than under the reference
    moved = types.Lookup(lambda rows: stats(REF + 0.1), lambda rows: stats(REF), jax.random.key(0))
    batch, _ = KTO().credit(GROUPS, {"desirable": DESIRABLE}, moved, ())
    np.testing.assert_allclose(batch.baselines, (0.1 * 7 + 0.1 * 5) / 2, rtol=1e-5)
    _, metrics = KTO().loss(POLICY, batch)
    np.testing.assert_allclose(metrics["margin"], [0.04, -0.16], atol=1e-6)
    np.testing.assert_array_equal(metrics["accuracy"], [1, 1])


def test_every_prompt_meets_the_completion_of_the_counted_row_before():
    rows = groups(jnp.arange(2)[None, None] < jnp.array([[[1]], [[0]], [[2]], [[2]]]))
    rolled = labelled.mismatched(rows)
    np.testing.assert_array_equal(rolled.completion_lengths[:, 0][jnp.array([0, 2, 3])], [2, 1, 2])
    np.testing.assert_array_equal(rolled.completion_mask.sum(-1)[:, 0], [2, 0, 1, 2])
    np.testing.assert_array_equal(rolled.group_ids, rows.group_ids)
    assert not labelled.mismatched(emptied()).completion_mask.any()


def test_the_reference_point_is_the_mean_log_ratio_cut_off_at_zero_and_has_no_gradient():
    ref = stats(REF)
    np.testing.assert_allclose(kto.reference_point(POLICY, ref, GROUPS), 0, atol=1e-6)
    np.testing.assert_allclose(kto.reference_point(POLICY, ref, emptied()), 1, rtol=1e-5)
    assert kto.reference_point(stats(2 * REF), ref, GROUPS) == 0
    gradient = jax.grad(lambda policy: kto.reference_point(policy, ref, emptied()))(POLICY)
    assert not gradient.logps.any()


def test_missing_labels_and_pairs_are_refused():
    with pytest.raises(ValueError, match="KTO reads the column 'desirable' of the data, which have scores"):
        KTO().credit(GROUPS, {"scores": DESIRABLE}, lookup(POLICY.logps, REF), ())
    with pytest.raises(ValueError, match="one completion in every row, not 2"):
        KTO().credit(PAIRS, {}, lookup(POLICY.logps, REF), ())


@pytest.mark.parametrize("wrong", [{"beta": 0.0}, {"desirable_weight": -1.0}, {"undesirable_weight": float("nan")}])
def test_meaningless_numbers_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        KTO(**wrong)
