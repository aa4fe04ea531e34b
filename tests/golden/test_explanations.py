"""What people read of an explanation: a file per case, in English and in Japanese.

`python -m tests.golden.test_explanations` writes the files again; read what has changed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from mitsumori import Explanation
from mitsumori.explanation import LANGUAGES, Language
from mitsumori.v1 import explanation_pb2
from router.core.explanation import explain
from router.core.health import Health
from router.core.inputs import Inputs
from router.core.limits import Amounts, LimitState, SoftAction, Unit
from router.core.ruling import Effects, Rule, Ruling
from router.core.types import (
    Candidate,
    Constraints,
    Exploration,
    LatencyRange,
    MissCost,
    PriceRange,
    QualityTarget,
    WillingnessToPay,
)
from router.decision_log.logged_explanation import explain_record
from router.decision_log.record_json import parse
from router.rpc.messages.explanation import fill_explanation, fill_logged
from tests.builders import EXPIRES, candidate
from tests.core.test_decision_limits import state

FOLDER = Path(__file__).with_name("explanations")
RECORDS = FOLDER.with_name("decision_records")
EU, JP = frozenset({"eu"}), frozenset({"eu", "jp"})


def model(name: str, tier: str, p: float, price: int, **changes: object) -> Candidate:
    """A model with an expected price in millionths of a dollar, and twice as much at the 90th percentile."""
    made = candidate(name, p, tier=tier, **changes)
    assert made.quote is not None
    nanos = price * 1_000
    quote = made.quote._replace(
        price=PriceRange(nanos // 10, nanos, 2 * nanos, 9 * nanos), latency=LatencyRange(1.2, 4.5)
    )
    return made._replace(quote=quote, amounts=Amounts(2 * nanos, 900))


MINI = model("mini", "low", 0.62, 110)
SOLID = model("solid", "medium", 0.81, 1_100, provider="bolt", regions=EU)
GRAND = model("grand", "high", 0.95, 12_000, provider="bolt", regions=JP)
MODELS = (MINI, SOLID, GRAND)
GOAL = MissCost(50_000_000)


def within(states: tuple[LimitState, ...], *models: Candidate) -> tuple[Candidate, ...]:
    return tuple(each._replace(limits=states) for each in models)


def rule(name: str, **effects: object) -> Ruling:
    return Ruling((Rule(name, Effects(**effects), ""),))  # type: ignore[arg-type]


QUOTA = state(1_000, spent=500, name="solid-tpm")
TOKENS = replace(QUOTA, limit=replace(QUOTA.limit, unit=Unit.TOKENS))

CASES: dict[str, Inputs] = {
    "the-middle-is-good-enough": Inputs(MODELS, Constraints(), GOAL, complexity=0.4),
    "a-small-budget-for-a-miss": Inputs(MODELS, Constraints(), MissCost(2_000_000)),
    "worth-of-an-answer": Inputs(MODELS, Constraints(), WillingnessToPay(90_000_000)),
    "quality-target": Inputs(MODELS, Constraints(), QualityTarget(0.8)),
    "quality-target-out-of-reach": Inputs(MODELS, Constraints(), QualityTarget(0.99)),
    "constraints": Inputs(
        MODELS,
        Constraints(
            capabilities=frozenset({"tools"}), max_price_nanos=2_500_000, max_latency_s=5, regions=EU
        ),
        MissCost(500_000_000),
    ),
    "nothing-helps": Inputs(
        (MINI, model("old", "low", 0.7, 90, retired=EXPIRES.date()), candidate("unpriced", price=None)),
        Constraints(),
        GOAL,
    ),
    "the-rule-for-contracts": Inputs(
        MODELS, Constraints(), MissCost(2_000_000), ruling=rule("contracts", tiers=frozenset({"high"}))
    ),
    "a-rule-that-gave-way": Inputs(
        MODELS,
        Constraints(max_price_nanos=3_000_000),
        MissCost(2_000_000),
        ruling=Ruling((Rule("contracts", Effects(tiers=frozenset({"high"})), "", gives_way=True),)),
    ),
    "the-rule-that-says-what-a-miss-costs": Inputs(
        MODELS,
        Constraints(),
        MissCost(900_000_000),
        ruling=rule("contracts", goal=MissCost(900_000_000)),
        next_goal=MissCost(2_000_000),
    ),
    "a-budget-that-runs-out": Inputs(
        within((state(30_000_000, spent=9_000_000, name="team-search"),), *MODELS),
        Constraints(),
        MissCost(500_000_000),
    ),
    "a-soft-limit": Inputs(
        within(
            (state(soft=30_000_000, spent=20_000_000, on_soft=SoftAction.PREFER_CHEAPER, name="search"),),
            *MODELS,
        ),
        Constraints(),
        MissCost(500_000_000),
    ),
    "a-quota-of-tokens": Inputs(
        (*within((TOKENS,), SOLID), MINI),
        Constraints(),
        GOAL,
    ),
    "a-provider-that-fails": Inputs(
        MODELS,
        Constraints(),
        GOAL,
        health=Health(models={"solid": "4 of 5 calls failed"}, failed_providers=frozenset({"bolt"})),
    ),
    "best-although-left-to-chance": Inputs(
        (MINI, SOLID, model("solid-too", "medium", 0.81, 1_200)),
        Constraints(),
        GOAL,
        exploration=Exploration(share=0.1, regret=0.2, draw=0.5),
    ),
    "chosen-by-chance": Inputs(
        (MINI, SOLID, model("solid-too", "medium", 0.81, 1_200), GRAND),
        Constraints(),
        GOAL,
        exploration=Exploration(share=0.1, regret=0.2, draw=0.09),
    ),
}  # fmt: skip


def of_case(name: str) -> explanation_pb2.Explanation:
    message, inputs = explanation_pb2.Explanation(), CASES[name]
    fill_explanation(message, explain(inputs, inputs.decide()))
    return message


def of_log(name: str) -> explanation_pb2.Explanation:
    message = explanation_pb2.Explanation()
    record = parse((RECORDS / f"{name}.json").read_text(encoding="utf-8"))
    fill_logged(message, explain_record(record, EXPIRES))
    return message


ALL: dict[str, Callable[[], explanation_pb2.Explanation]] = {
    **{name: (lambda name=name: of_case(name)) for name in CASES},  # type: ignore[misc]
    **{
        f"from-the-log-{name}": (lambda name=name: of_log(name))  # type: ignore[misc]
        for name in ("v0_first_held", "v1_unhealthy", "v1_explored")
    },
}


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", ALL)
def test_people_read(name: str, language: Language) -> None:
    wanted = (FOLDER / f"{name}.{language}.txt").read_text(encoding="utf-8")
    assert f"{Explanation(ALL[name]()).text(language)}\n" == wanted


def test_every_file_has_a_case() -> None:
    assert {path.name for path in FOLDER.iterdir()} == {
        f"{name}.{language}.txt" for name in ALL for language in LANGUAGES
    }


if __name__ == "__main__":
    for each, made in ALL.items():
        for one in ("en", "ja"):
            told = Explanation(made()).text(one)  # type: ignore[arg-type]
            (FOLDER / f"{each}.{one}.txt").write_text(f"{told}\n", encoding="utf-8")
