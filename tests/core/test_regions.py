"""A call that has to stay in a region goes to a model that is served there, and says so where none is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.core.decision import decide
from router.core.errors import MitsumoriError, NotPossible
from router.core.exclusions import exclusion
from router.core.ruling import Effects, Rule, Ruling
from router.core.types import Candidate, Constraints, QualityTarget
from tests.builders import candidate

EU, US, JP = (frozenset({name}) for name in ("eu", "us", "jp"))
EVERYWHERE = frozenset({"eu", "us", "jp"})
CHEAP = candidate("american", 0.8, price=("0.1", "0.4"), regions=US)
DEAR = candidate("european", 0.8, price=("5", "20"), regions=EU)
BOTH = candidate("global", 0.8, price=("1", "4"), regions=EU | US)
UNKNOWN = candidate("unknown", 0.8, price=("0.01", "0.04"))
MODELS = (CHEAP, DEAR, BOTH, UNKNOWN)


def ruled(*regions: frozenset[str]) -> Ruling:
    return Ruling(
        tuple(
            Rule(name, Effects(regions=each), "")
            for name, each in zip("abcdef", regions, strict=False)
        )
    )


def chosen(asked: frozenset[str], *of_rules: frozenset[str]) -> str:
    constraints = Constraints(regions=asked)
    return decide(MODELS, constraints, QualityTarget(0.5), ruling=ruled(*of_rules)).chosen.model.id


@pytest.mark.parametrize(
    ("asked", "of_rules", "model"),
    [
        (frozenset(), (), "unknown"),
        (US, (), "american"),
        (EU, (), "global"),
        (EU | US, (), "american"),
        (frozenset(), (EU,), "global"),
        (frozenset(), (EU, EU | JP), "global"),
        (EU | US, (EU,), "global"),
        (US | JP, (EU | US,), "american"),
    ],
)
def test_the_cheapest_model_that_is_served_in_one_of_the_regions(
    asked: frozenset[str], of_rules: tuple[frozenset[str], ...], model: str
) -> None:
    assert chosen(asked, *of_rules) == model


def test_a_model_whose_regions_nobody_has_said_is_in_none() -> None:
    assert exclusion(UNKNOWN, Constraints()) is None
    assert exclusion(UNKNOWN, Constraints(regions=EVERYWHERE)) == "not_in_regions"
    assert exclusion(UNKNOWN, Constraints(), ruled(EVERYWHERE)) == "by_rule_a"


def test_a_call_is_processed_in_one_region_so_request_and_rules_must_agree_on_one() -> None:
    assert exclusion(BOTH, Constraints(regions=US), ruled(EU)) == "by_rule_a"
    assert exclusion(BOTH, Constraints(), ruled(EU, US)) == "by_rule_b"
    with pytest.raises(NotPossible, match="the routing table leaves none of those that do"):
        chosen(US, EU)


def test_where_no_model_is_served_there_the_reply_says_what_to_do() -> None:
    with pytest.raises(NotPossible) as refused:
        chosen(JP)
    assert refused.value.message == (
        "no model meets the constraints (4 not in regions); allow more constraints.regions, or have the "
        "catalog say where models are served"
    )
    assert refused.value.metadata == {"not_in_regions": "4"}


LABELS = st.sets(st.sampled_from(sorted(EVERYWHERE))).map(frozenset)


@given(st.lists(LABELS, max_size=4), LABELS, st.lists(LABELS, max_size=3))
def test_whatever_is_chosen_can_stay_in_a_region_that_everybody_allows(
    served: list[frozenset[str]], asked: frozenset[str], of_rules: list[frozenset[str]]
) -> None:
    models: list[Candidate] = [
        candidate(f"m{index}", 0.8, regions=each) for index, each in enumerate(served)
    ]
    bounds = [each for each in (asked, *of_rules) if each]
    allowed = EVERYWHERE.intersection(*bounds)
    can = [one for one in models if not bounds or one.model.regions & allowed]
    try:
        found = decide(
            models, Constraints(regions=asked), QualityTarget(0.5), ruling=ruled(*of_rules)
        )
    except MitsumoriError:
        assert not can
    else:
        assert {one.model.id for one in found.ranked} == {one.model.id for one in can}
