import math

import jax.numpy as jnp
import making
import numpy as np
import pytest

from posttrain_jax.losses import advantage
from posttrain_jax.rewards import combine, extract, pool, sample, vote

TAG = extract.LastTag()


def group(answers):
    """One sample for each letter; `-` gives no answer."""
    return [making.make("no idea" if letter == "-" else f"<answer>{letter}</answer>") for letter in answers]


@pytest.mark.parametrize(
    ("answers", "found"),
    [("AABA", [0, 0, 1, 0]), ("BA-B", [0, 1, None, 0]), ("--", [None, None]), ("", [])],
)
def test_classes(answers, found):
    assert vote.classes([None if letter == "-" else letter for letter in answers], vote.equal) == found


def test_answers_that_are_not_written_alike_may_be_the_same():
    def near(first, second):
        return abs(float(first) - float(second)) < 0.5

    assert vote.classes(["1", "1.4", "2", "1.0"], near) == [0, 0, 1, 0]


@pytest.mark.parametrize(
    ("answers", "scores"),
    [
        ("AAB", [1, 1, 0]),
        ("BAAB", [1, 0, 0, 1]),  # a tie goes to the first seen
        ("ABAB--", [1, 0, 1, 0, 0, 0]),
        ("---A", [0, 0, 0, 1]),
        ("A", [1]),
        ("ABC", [1, 0, 0]),
    ],
)
def test_majority(answers, scores):
    assert vote.Majority(TAG).score_group(group(answers)) == scores


@pytest.mark.parametrize(
    ("answers", "min_share", "applies"),
    [("AAB", 2 / 3, True), ("AAB", 0.7, False), ("AAB---", 0.6, True), ("---", 0.0, False), ("AAA", 1.0, True)],
)
def test_a_group_without_a_majority_does_not_apply(answers, min_share, applies):
    scores = vote.Majority(TAG, min_share=min_share).score_group(group(answers))
    assert [not math.isnan(score) for score in scores] == [applies] * len(answers)


def test_frequency_by_hand():
    scores = vote.Frequency(TAG).score_group(group("AAABBC"))
    # p = (1/2, 1/3, 1/6), H = 1.011404, H / ln 3 = 0.920620
    np.testing.assert_allclose(scores, [-0.190465] * 3 + [-0.357132] * 2 + [-0.523798], atol=1e-6)
    assert vote.Frequency(TAG, entropy_coef=0.0).score_group(group("AABA")) == [0.75, 0.75, 0.25, 0.75]


def test_frequency_at_the_extremes():
    assert vote.Frequency(TAG).score_group(group("AAA")) == [1, 1, 1]
    np.testing.assert_allclose(vote.Frequency(TAG).score_group(group("ABCD")), [-0.5] * 4)
    assert all(map(math.isnan, vote.Frequency(TAG).score_group(group("--"))))


def test_no_answer_is_never_better_than_a_rare_one():
    scores = vote.Frequency(TAG).score_group(group("AAB-"))
    assert scores[3] < scores[2] < scores[0]
    assert vote.Frequency(TAG, entropy_coef=0.0).score_group(group("AAB-")) == [2 / 3, 2 / 3, 1 / 3, 0]


def test_the_entropy_cancels_in_a_group_mean():
    rewards = [vote.Frequency(TAG, entropy_coef=coef).score_group(group("AAABBC")) for coef in (0.0, 0.75)]
    ids = jnp.arange(1)
    plain, penalised = (
        advantage.group_zscore(jnp.asarray([row], jnp.float32), ids, ddof=1, eps=0.0) for row in rewards
    )
    np.testing.assert_allclose(plain[0], [0.816497] * 3 + [-0.408248] * 2 + [-1.632993], atol=1e-5)
    np.testing.assert_allclose(plain, penalised, atol=1e-5)


@pytest.mark.parametrize("workers", [0, 2])
def test_in_a_pool(workers):
    rewards = combine.WeightedRewards({"vote": (1.0, vote.Majority(TAG)), "share": (0.5, vote.Frequency(TAG))})
    assert isinstance(vote.Majority(TAG), sample.GroupReward)
    with pool.RewardPool(rewards, workers=workers, timeout_s=20.0) as scorer:
        scores = scorer.score([group("AAB"), group("---"), group("BBB")])
    np.testing.assert_array_equal(scores.columns[..., 0], np.asarray([[1, 1, 0], [np.nan] * 3, [1, 1, 1]], np.float32))
    np.testing.assert_array_equal(np.isnan(scores.rewards), [[False] * 3, [True] * 3, [False] * 3])
    assert scores.report.failures == 0


def test_only_the_first_learn_from_the_votes_of_all():
    """AABBBCAA: shares 1/2, 3/8 and 1/8; of the first four, two each are as far from the mean as the others."""
    group = [making.make(letter) for letter in "AABBBCAA"]
    learners = vote.Learners(vote.Frequency(extract.whole), 4)
    scores = learners.score_group(group)
    np.testing.assert_allclose(scores[:4], np.array([0.5, 0.5, 0.375, 0.375]) - 0.75 * 0.886860, atol=1e-6)
    assert all(map(math.isnan, scores[4:]))
    got = advantage.group_zscore(jnp.asarray([scores], jnp.float32), jnp.zeros(1, int), eps=0.0)
    np.testing.assert_allclose(got, [[0.866025, 0.866025, -0.866025, -0.866025, 0, 0, 0, 0]], atol=1e-5)
    assert vote.Learners(vote.Majority(extract.whole), 2).score_group(group)[:2] == [1.0, 1.0]
