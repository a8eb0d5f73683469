import numpy as np
import pytest

from posttrain_jax.data import curriculum, fields


def scored(*scores, prompt="x"):
    return fields.Ranking(prompt, [f"answer {index}" for index in range(len(scores))], [float(x) for x in scores])


def indices(stage):
    return [(int(one.chosen[-1]), int(one.rejected[-1])) for one in stage]


def test_worked_ratings():
    found = curriculum.pairs([9.0, 4.0, 7.0, 8.0])
    assert found == [curriculum.Pair(0, 1, 5.0), curriculum.Pair(0, 2, 2.0), curriculum.Pair(0, 3, 1.0)]
    assert [indices(stage) for stage in curriculum.stages([scored(9, 4, 7, 8)], 3)] == [[(0, 1)], [(0, 2)], [(0, 3)]]


def test_the_first_pair_is_best_against_worst():
    assert curriculum.pairs([3.0, 5.0, 2.0, 4.0])[0] == curriculum.Pair(1, 2, 3.0)


def test_one_stage_holds_all_pairs_and_two_completions_are_one_pair():
    assert indices(curriculum.stages([scored(9, 4, 7, 8)], 1)[0]) == [(0, 1), (0, 2), (0, 3)]
    assert indices(curriculum.stages([scored(1, 2)], 1)[0]) == [(1, 0)]


def test_prompts_are_cut_by_rank_and_not_by_a_common_threshold():
    first, second = curriculum.stages([scored(9, 1, 2), scored(9, 7, 8, prompt="y")], 2)
    assert indices(first) == [(0, 1), (0, 1)]
    assert indices(second) == [(0, 2), (0, 2)]
    assert [one.prompt for one in first] == ["x", "y"]


def test_ties_and_unscored_completions_make_no_pair():
    assert curriculum.pairs([5.0, 5.0, 5.0]) == []
    assert curriculum.pairs([5.0, float("nan"), 4.0]) == [curriculum.Pair(0, 2, 1.0)]
    assert curriculum.pairs([]) == []


def test_from_rows():
    row = {"prompt": "x", "answers": ["a", "b"], "stars": [1, 2]}
    ranking = fields.RankingFields(completions="answers", scores="stars")(row)
    assert curriculum.stages([ranking], 1)[0] == [fields.Preference("x", "b", "a")]


def test_scores_lie_between_zero_and_one():
    got = curriculum.min_max(np.array([[1.0, 3.0], [np.nan, 2.0]]))
    np.testing.assert_allclose(got, [[0, 1], [np.nan, 0.5]])


def test_what_is_meaningless_is_refused():
    with pytest.raises(ValueError, match="a field of scores"):
        curriculum.stages([fields.Ranking("x", ["a", "b"], None)], 1)
    with pytest.raises(ValueError, match="at least 1"):
        curriculum.stages([scored(1, 2)], 0)
    with pytest.raises(ValueError, match="all 2 stages"):
        curriculum.stages([scored(1, 2)], 2)
    with pytest.raises(ValueError, match="tell apart"):
        curriculum.min_max(np.ones(3))
