import math

import making
import numpy as np
import pytest

from posttrain_jax.rewards import combine, extract, item

TEXT = "1. Alien\n2) Heat\n- heat\n* Up"


@pytest.mark.parametrize(("rank", "score"), [(1, 0), (2, 1), (3, 0), (4, 1), (5, 0)])
def test_an_item_counts_once_and_where_it_stands(rank, score):
    assert item.Hit(rank)(making.make(TEXT, answer=["HEAT", "Up"])) == score


def test_items_that_were_seen_do_not_count():
    hit = item.Hit(2, seen_field="seen")
    assert hit(making.make(TEXT, answer=["Heat", "Up"], seen=["heat"])) == 0
    assert math.isnan(hit(making.make(TEXT, answer=["Heat"], seen=["heat"])))


def test_a_list_that_is_not_found_has_no_hits():
    hit = item.Hit(1, extract.LastTag("list"))
    assert hit(making.make(TEXT, answer=["Alien"])) == 0
    assert hit(making.make("<list>Alien</list>", answer=["Alien"])) == 1


def test_the_weighted_sum_is_the_discounted_gain():
    terms = item.hits(4)
    sample = making.make(TEXT, answer=["Heat", "Up"])
    scores = [reward(sample) for _, reward in terms.values()]
    assert list(terms) == ["hit_1", "hit_2", "hit_3", "hit_4"]
    assert scores == [0, 1, 0, 1]
    total = combine.WeightedRewards(terms).total(np.asarray(scores, np.float32))
    assert float(total) == pytest.approx(1.061606, abs=1e-6)


def test_a_rank_below_the_first_is_refused():
    with pytest.raises(ValueError, match="rank=0"):
        item.Hit(0)
