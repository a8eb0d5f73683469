import jax
import jax.numpy as jnp
import numpy as np
import pytest
from canonical_pair import GROUPS, RANDOM_LOGPS, RANDOM_MASK, RANDOM_REF, REF, groups, stats
from canonical_pair import step as plain_step
from lookups import credit, step

from posttrain_jax import types
from posttrain_jax.losses import denoising
from posttrain_jax.recipes.preference.dpo import DPO
from posttrain_jax.recipes.preference.smoothed_dpo import SmoothedDPO


def columns(chosen, rejected):
    return {"scores": jnp.array([[chosen, rejected]])}


def test_a_gap_of_scores():
    factors = SmoothedDPO().factors(jnp.array([[0.9, 0.1]]))
    np.testing.assert_allclose(factors, [3.799490], rtol=1e-6)
    np.testing.assert_allclose(factors / 10, [2 * 0.689974 - 1], rtol=1e-5)


def test_canonical_pair():
    value, _ = step(SmoothedDPO(), columns(0.9, 0.1))
    np.testing.assert_allclose(value, np.log1p(np.exp(-3.799490 * 0.2)), rtol=1e-6)


def test_certain_pairs_are_dpo():
    value, gradient = step(SmoothedDPO(sharpness=1.0), columns(50.0, 0.0))
    expected, expected_gradient = plain_step(DPO())
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-6)


def test_equal_scores_teach_nothing():
    value, gradient = step(SmoothedDPO(), columns(0.4, 0.4))
    np.testing.assert_allclose(value, np.log(2), rtol=1e-6)
    np.testing.assert_array_equal(gradient, 0)


def test_pairs_scored_the_wrong_way_round_are_turned():
    value, gradient = step(SmoothedDPO(), columns(0.1, 0.9), ref=REF[:, ::-1], policy=stats(REF[:, ::-1]))
    expected, expected_gradient = step(SmoothedDPO(), columns(0.9, 0.1), policy=stats(REF))
    np.testing.assert_allclose(value, expected)
    np.testing.assert_allclose(gradient[0, 0, 0], -expected_gradient[0, 0, 0])


def test_at_the_reference_the_gradient_is_that_of_noisy_labels():
    chance = 1 / (1 + np.exp(-0.8))
    _, gradient = step(SmoothedDPO(sharpness=1.0), columns(0.9, 0.1), policy=stats(REF))
    _, noisy = plain_step(DPO(label_noise=1 - chance), policy=stats(REF))
    np.testing.assert_allclose(gradient, noisy, rtol=1e-5)
    np.testing.assert_allclose(gradient[0, 0, 0], -0.1 * (2 * chance - 1) / 2, rtol=1e-5)


def test_pairs_without_a_score_do_not_count():
    scores = jnp.array([[1.0, 0.0], [1.0, jnp.nan], [0.5, 0.0]])
    batch = credit(SmoothedDPO(), {"scores": scores}, groups(RANDOM_MASK), ref=RANDOM_REF)
    np.testing.assert_array_equal(batch.pair_weights, [0.5, 0, 0.5])
    assert np.isfinite(SmoothedDPO().loss(stats(RANDOM_LOGPS), batch)[0])


def test_denoising_errors_take_the_place_of_log_probabilities():
    errors, ref_errors = jnp.array([[0.10, 0.30]]), jnp.array([[0.11, 0.29]])
    recipe = SmoothedDPO(beta=20.0)
    ref_logps = denoising.token_stats(ref_errors).logps
    factors = recipe.factors(jnp.array([[0.9, 0.1]]))
    batch = types.PreferenceBatch(jnp.ones((1, 2, 1), bool), jnp.ones(1), ref_logps, extra={"factors": factors})

    def loss(errors):
        return recipe.loss(denoising.token_stats(errors), batch)[0]

    # The authors' code: -log sigmoid(-beta / 2 * 10 (2 p - 1) * (difference of the model's less the reference's)).
    inside = -0.5 * 20 * 3.799490 * ((0.10 - 0.30) - (0.11 - 0.29))
    value, gradient = jax.value_and_grad(loss)(errors)
    np.testing.assert_allclose(value, np.log1p(np.exp(-inside)), rtol=1e-5)
    assert gradient[0, 0] > 0 > gradient[0, 1]


def test_what_is_missing_or_meaningless_is_refused():
    with pytest.raises(ValueError, match="'scores'"):
        step(SmoothedDPO(), {"grades": jnp.ones((1, 2))})
    with pytest.raises(ValueError, match="every completion"):
        step(SmoothedDPO(), {"scores": jnp.ones(1)}, GROUPS)
    with pytest.raises(ValueError, match="beta"):
        SmoothedDPO(beta=0.0)
    with pytest.raises(ValueError, match="sharpness"):
        SmoothedDPO(sharpness=0.0)
