from posttrain_jax.data import judgement


def test_the_better_answer_stands_anywhere():
    pairs = [judgement.pair("q", "good", "bad", row, seed=0) for row in range(200)]
    assert pairs == [judgement.pair("q", "good", "bad", row, seed=0) for row in range(200)]
    firsts = [pair.answer == "Answer 1 is better" for pair in pairs]
    assert 70 < sum(firsts) < 130
    for pair, first in zip(pairs, firsts, strict=True):
        assert ("Answer 1:\ngood" in pair.prompt) == first
        assert ("Answer 2:\nbad" in pair.prompt) == first


def test_rows_by_what_the_judge_made_of_them():
    rows = [{"n": n} for n in range(4)]
    got = judgement.route(rows, lambda row: row["n"] < 1)
    assert got.imitate == rows[:1]
    assert got.explore == rows[1:]


def test_rows_by_their_scores_before_and_after_reflection():
    rows = [{"n": n} for n in range(3)]
    got = judgement.select(rows, [(0.9, 0.9), (0.2, 0.7), (0.4, 0.3)], high=0.8, low=0.5)
    assert (got.demonstrations, got.prompts, got.preferences) == ([rows[0]], [rows[2]], [rows[1]])
