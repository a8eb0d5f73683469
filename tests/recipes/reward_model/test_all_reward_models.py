"""Numbers worked by hand and identities of the recipes of reward models."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import posttrain_jax as pt
from posttrain_jax import scoring, types
from posttrain_jax.losses import mixture, weight

LOOKUP = types.Lookup(lambda *_: None, lambda *_: None, jax.random.key(0))


def given(scores, *, gates=None, empty=()):
    """Groups of two tokens a completion, and scores [P, K, d] said after the second; another number after the first."""
    scores = jnp.asarray(scores, jnp.float32)
    rows, count = scores.shape[:2]
    lengths = np.full((rows, count), 2)
    for place in empty:
        lengths[place] = 0
    mask = jnp.asarray(np.arange(2) < lengths[..., None])
    groups = types.Groups(
        prompts=jnp.zeros((rows, 1), int),
        prompt_lengths=jnp.ones(rows, int),
        completions=jnp.zeros((rows, count, 2), int),
        completion_lengths=jnp.asarray(lengths),
        completion_mask=mask,
        group_ids=jnp.arange(rows),
    )
    tokens = jnp.where(mask[..., None], jnp.stack([jnp.full_like(scores, 9.0), scores], axis=2), 0)
    return groups, scoring.Scores(tokens, gates)


def loss_of(recipe, scores, *, columns=None, gates=None, empty=()):
    groups, said = given(scores, gates=gates, empty=empty)
    if columns is None:
        return recipe.loss(said, recipe.credit(groups))
    lookup = types.Lookup(lambda *_: said, lambda *_: None, jax.random.key(0))
    batch, _ = recipe.credit(groups, columns, lookup, recipe.init_memory())
    return recipe.loss(said, batch)


PAIR = [[[1.2], [0.4]]]


@pytest.mark.parametrize(
    ("recipe", "expected"),
    [
        (pt.BradleyTerry(), 0.371101),
        (pt.BradleyTerry(margin=0.5), 0.554355),
        (pt.BradleyTerry(centre_coef=0.01), 0.396701),
        (pt.BradleyTerry(label_noise=0.2), 0.531101),
        (pt.BradleyTerry(norm_coef=0.1), 0.371101 + 0.1 * (1.44 + 0.16) / 2),
        (pt.BradleyTerry(temperature=2.0), 0.513015),
        (pt.PlackettLuce(), 0.371101),
        (pt.AllPairs(), 0.371101),
        (pt.PairwisePreference(), (0.263282 + 0.913015) / 2),  # -log sigmoid(1.2), -log sigmoid(-0.4)
    ],
)
def test_worked_numbers_of_a_pair(recipe, expected):
    loss, metrics = loss_of(recipe, PAIR)
    assert float(loss) == pytest.approx(expected, abs=2e-6)
    if "margin" in metrics:
        np.testing.assert_allclose(metrics["margin"], [0.8], atol=1e-6)


def test_columns_of_a_pair():
    gap = {"scores": jnp.array([[1.0, 0.5]])}
    assert float(loss_of(pt.GradedBradleyTerry(), PAIR, columns=gap)[0]) == pytest.approx(0.554355, abs=2e-6)
    soft = {"agreement": jnp.array([0.8])}
    assert float(loss_of(pt.SoftBradleyTerry(), PAIR, columns=soft)[0]) == pytest.approx(0.531101, abs=2e-6)
    regressed = loss_of(pt.MarginRegression(temperature=2.0), PAIR, columns=gap)[0]
    assert float(regressed) == pytest.approx((0.4 - 0.5) ** 2 / 2, abs=1e-6)


def test_members_of_a_head_are_reward_models_of_their_own():
    both, _ = loss_of(pt.BradleyTerry(), [[[1.2, -0.3], [0.4, 0.9]]])
    one, two = (loss_of(pt.BradleyTerry(), x)[0] for x in (PAIR, [[[-0.3], [0.9]]]))
    assert float(both) == pytest.approx(float(one + two) / 2, abs=1e-6)


RANKING = [[[2.0], [1.0], [0.5]]]


def test_rankings():
    assert float(loss_of(pt.PlackettLuce(), RANKING)[0]) == pytest.approx(0.938446, abs=2e-6)
    first = -2 + np.log(np.exp(2) + np.exp(1) + np.exp(0.5))
    assert float(loss_of(pt.PlackettLuce(top=1), RANKING)[0]) == pytest.approx(first, abs=2e-6)
    pairs = np.mean(np.log1p(np.exp(-np.array([1.0, 1.5, 0.5]))))
    assert float(loss_of(pt.AllPairs(), RANKING)[0]) == pytest.approx(pairs, abs=2e-6)
    # an empty last place leaves the pair, and a ranking of one costs nothing
    for recipe in (pt.PlackettLuce(), pt.AllPairs()):
        short = loss_of(recipe, RANKING, empty=[(0, 2)])[0]
        assert float(short) == pytest.approx(np.log1p(np.exp(-1.0)), abs=2e-6)
        assert float(loss_of(recipe, RANKING, empty=[(0, 0), (0, 1)])[0]) == 0


@pytest.mark.parametrize("recipe", [pt.BradleyTerry(), pt.AllPairs(), pt.PlackettLuce(), pt.PlackettLuce(top=1)])
def test_a_number_of_the_prompt_changes_nothing_without_centring(recipe):
    scores = jnp.asarray([[[1.2], [0.4]], [[-0.3], [2.0]]])
    moved = scores + jnp.asarray([3.0, -7.0])[:, None, None]
    np.testing.assert_allclose(loss_of(recipe, scores)[0], loss_of(recipe, moved)[0], rtol=1e-5)
    centred = pt.BradleyTerry(centre_coef=0.01)
    assert float(loss_of(centred, moved)[0]) > float(loss_of(centred, scores)[0]) + 0.1


def test_attributes_count_where_they_are_known():
    labels = {"labels": jnp.array([[[1.0, jnp.nan], [0.0, 2.0]]])}
    loss, metrics = loss_of(pt.AttributeRegression(), [[[0.5, 8.0], [0.0, 1.0]]], columns=labels)
    assert float(loss) == pytest.approx((0.25 + 0 + 1) / 3)
    np.testing.assert_allclose(metrics["absolute_error"], [[0.5, 0.5]])
    with pytest.raises(ValueError, match="the head says 1 numbers and there are 2 labels"):
        loss_of(pt.AttributeRegression(), PAIR, columns=labels)


def test_the_gate_alone_learns_which_attribute_counts():
    gates = jnp.array([[0.0, jnp.log(3.0)]])
    scores = [[[1.0, 2.0], [0.0, 4.0]]]
    loss, metrics = loss_of(pt.GatedBradleyTerry(), scores, gates=gates)
    np.testing.assert_allclose(metrics["margin"], [0.25 * 1 - 0.75 * 2], rtol=1e-6)
    assert float(loss) == pytest.approx(np.log1p(np.exp(1.25)), rel=1e-6)
    groups, said = given(scores, gates=gates)
    batch = pt.GatedBradleyTerry().credit(groups)
    gradient = jax.grad(lambda said: pt.GatedBradleyTerry().loss(said, batch)[0])(said)
    assert not gradient.tokens.any()
    assert gradient.gates[0, 0] < 0 < gradient.gates[0, 1]  # towards the attribute that agrees
    with pytest.raises(ValueError, match="wants a gate as wide as the head"):
        loss_of(pt.GatedBradleyTerry(), scores)


def test_general_preferences():
    scores = [[[0.6, 0.8], [1.0, 0.0]]]
    for tau, expected in ((1.0, 1.171101), (0.1, 8.000335)):
        recipe = pt.GeneralPreference(width=4, temperature=tau, normalise=False)
        assert float(loss_of(recipe, scores)[0]) == pytest.approx(expected, abs=2e-6)
        assert float(loss_of(pt.GeneralPreference(width=4, temperature=tau), scores)[0]) == pytest.approx(
            expected, 1e-5
        )
    # [r, c] is Bradley-Terry with scale c
    pair = [[[1.2, 2.0], [0.4, 2.0]]]
    ours = loss_of(pt.GeneralPreference(width=4, temperature=1.0, normalise=False), pair)[0]
    assert float(ours) == pytest.approx(float(loss_of(pt.BradleyTerry(temperature=0.5), PAIR)[0]), abs=1e-6)


def test_generative_verdicts_are_a_softmax_over_two_words():
    groups, _ = given(PAIR)
    logits = np.array([1.0, 0.3, -2.0])
    log_probs = jnp.asarray(logits - np.log(np.exp(logits).sum()), jnp.float32)
    logps = jnp.stack([jnp.zeros(2), log_probs[:2]], axis=1)[None]
    stats = types.TokenStats(logps, jnp.zeros_like(logps))
    recipe = pt.GenerativePreference()
    loss, _ = recipe.loss(stats, recipe.credit(groups))
    assert float(loss) == pytest.approx(-np.log(np.exp(1.0) / (np.exp(1.0) + np.exp(0.3))), abs=1e-6)


def test_both_orders_cancel_a_preference_for_the_first():
    _, metrics = loss_of(pt.PairwisePreference(), [[[3.0], [3.0]]])
    np.testing.assert_allclose(metrics["preferred"], [0.5], atol=1e-6)
    np.testing.assert_allclose(metrics["order_bias"], [3.0])


def test_people_go_to_the_reward_that_explains_them_after_a_round():
    recipe = pt.MixtureBradleyTerry(people=3, groups=2, round_steps=2)
    margins = jnp.array([[1.2, -0.3], [0.5, 0.9], [-0.8, 0.4]])
    groups, said = given(jnp.stack([margins, jnp.zeros_like(margins)], axis=1))
    lookup = types.Lookup(lambda *_: said, lambda *_: None, jax.random.key(0))
    columns, memory = {"person": jnp.array([0.0, 1.0, 0.0])}, recipe.init_memory()
    batch, memory = recipe.credit(groups, columns, lookup, memory)
    np.testing.assert_array_equal(batch.extra["minds"], [[1, 0], [0, 1], [1, 0]])  # h mod K
    expected = np.mean(np.log1p(np.exp(-np.array([1.2, 0.9, -0.8]))))
    assert float(recipe.loss(said, batch)[0]) == pytest.approx(expected, abs=1e-6)
    np.testing.assert_array_equal(memory["minds"], mixture.dealt(3, 2))
    _, memory = recipe.credit(groups, columns, lookup, memory)
    np.testing.assert_array_equal(jnp.argmax(memory["minds"], axis=1), [1, 1, 0])  # the third said nothing
    np.testing.assert_array_equal(memory["evidence"], 0)


def test_steps_are_judged_where_they_end():
    groups, _ = given(np.zeros((1, 2, 1)))
    tokens = jnp.array([[[[0.5], [-1.0]], [[2.0], [3.0]]]])
    labels = jnp.array([[[1.0, 0.25], [jnp.nan, 0.0]]])
    costs = [
        np.log1p(np.exp(-0.5)),
        0.25 * np.log1p(np.exp(1.0)) + 0.75 * np.log1p(np.exp(-1.0)),
        np.log1p(np.exp(3.0)),
    ]
    for average, expected in (
        (weight.token_mean, np.mean(costs)),
        (weight.sequence_mean, ((costs[0] + costs[1]) / 2 + costs[2]) / 2),
    ):
        recipe = pt.ProcessReward(average=average)
        batch, _ = recipe.credit(groups, {"step_labels": labels}, LOOKUP, ())
        loss, metrics = recipe.loss(scoring.Scores(tokens), batch)
        assert float(loss) == pytest.approx(float(expected), abs=1e-6)
        np.testing.assert_array_equal(metrics["step_accuracy"], [[1, 0]])
        np.testing.assert_array_equal(metrics["steps"], [[2, 1]])


@pytest.mark.parametrize("recipe", [pt.AllPairs(), pt.PlackettLuce(), pt.PairwisePreference()])
def test_a_head_of_several_numbers_is_refused_where_one_is_read(recipe):
    with pytest.raises(ValueError, match="reads one score of a completion, and the head says 2: size=1"):
        loss_of(recipe, np.zeros((1, 2, 2)))


def test_settings_that_mean_nothing_are_refused():
    with pytest.raises(ValueError, match=r"temperature=0\.0 divides the margins"):
        pt.BradleyTerry(temperature=0.0)
    with pytest.raises(ValueError, match="top=0 picks teach nothing"):
        pt.PlackettLuce(top=0)
