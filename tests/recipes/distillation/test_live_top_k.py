"""Distillation from the likeliest entries of a teacher that runs, by the worked number and as `TopK`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from whole_vocabulary import groups, rollout

from posttrain_jax import comparison, types
from posttrain_jax.losses import generator, tail
from posttrain_jax.recipes.distillation.live_top_k import LiveTopK
from posttrain_jax.recipes.distillation.on_policy import OnPolicy
from posttrain_jax.recipes.distillation.top_k import TopK

MASK = jnp.array([[[True, True, False]], [[True, True, True]]])
TEACHER, STUDENT = (
    jnp.broadcast_to(jnp.log(jnp.array(x)), (*MASK.shape, 4)) for x in ([0.5, 0.3, 0.15, 0.05], [0.2, 0.3, 0.2, 0.3])
)


def lookup(asked):
    """Of whole distributions; what was wanted is put into `asked`."""

    def likeliest(_, wanted):
        asked.append(wanted)
        tables = {"teacher": TEACHER, "policy": STUDENT}
        by, of = (jax.nn.log_softmax(tables[role] / wanted.temperature) for role in (wanted.by, wanted.of))
        ids = jax.lax.top_k(by, wanted.count)[1]
        return ids, jnp.take_along_axis(of, ids, axis=-1)

    said = lambda *_: None  # noqa: E731
    return types.Lookup(said, said, jax.random.key(0), {"teacher": said}, likeliest=likeliest)


def test_it_compares_the_teachers_entries_as_top_k_does():
    """T = (.5, .3, .15, .05), two entries, S = (.3, .3, .2, .2): .116783 is their divergence with the bucket."""
    wanted: list[comparison.Likeliest] = []
    recipe = LiveTopK(2)
    batch, memory = recipe.credit(groups(MASK), {}, lookup(wanted), ())
    assert memory == ()
    assert wanted == [comparison.Likeliest("teacher", "teacher", 2, 1.0)]
    columns = {"teacher_ids": batch.extra["ids"].astype(jnp.float32), "teacher_log_probs": batch.extra["log_probs"]}
    stored, _ = TopK().credit(groups(MASK), columns, lookup([]), ())
    jax.tree.map(np.testing.assert_array_equal, batch, stored)
    np.testing.assert_array_equal(batch.extra["ids"][0, 0, 0], [0, 1])
    one, other = (x.comparisons(batch)["teacher"] for x in (recipe, TopK()))
    assert (one.compare, one.temperature) == (other.compare, other.temperature)
    found = one.compare(jnp.log(jnp.array([[0.3, 0.3]])), batch.extra["log_probs"][0, 0, :1])
    np.testing.assert_allclose(found, 0.116783, atol=1e-6)


def test_the_students_entries_under_the_teacher():
    """2 and 4 of (.2, .3, .2, .3) are .3 and .05 to the teacher: the reverse KL of what is left, by hand."""
    recipe, wanted = LiveTopK(2, tail.Bucketed(generator.ReverseKL()), "policy", temperature=2.0), []
    batch, _ = recipe.credit(groups(MASK), {}, lookup(wanted), ())
    assert wanted == [comparison.Likeliest("policy", "teacher", 2, 2.0)]
    np.testing.assert_array_equal(jnp.sort(batch.extra["ids"][0, 0, 0]), [1, 3])
    roots = np.sqrt([0.5, 0.3, 0.15, 0.05])
    np.testing.assert_allclose(jnp.exp(batch.extra["log_probs"][0, 0, 0]), roots[[1, 3]] / roots.sum(), rtol=1e-5)


def test_own_completions_whose_scoring_failed_do_not_count():
    recipe = OnPolicy(LiveTopK(2))
    batch, _ = recipe.credit(rollout(MASK), jnp.array([[1.0], [jnp.nan]]), {}, lookup([]), ())
    np.testing.assert_allclose(batch.token_weights, jnp.array([[[0.5, 0.5, 0]], [[0, 0, 0]]]))


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(ValueError, match="count=0, likely_to='teacher': compare 1 entry or more"):
        LiveTopK(0)
    with pytest.raises(ValueError, match="likely_to='ref'"):
        LiveTopK(2, likely_to="ref")
    with pytest.raises(ValueError, match="LiveTopK asks the model 'teacher'"):
        LiveTopK(2).credit(groups(MASK), {}, types.Lookup(lambda *_: None, lambda *_: None, jax.random.key(0)), ())
    with pytest.raises(ValueError, match="has not seen own completions: take LiveTopK"):
        OnPolicy(TopK())
