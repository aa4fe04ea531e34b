"""The record of a decision: one format on disk, written and read in one place."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from router.core.errors import InvalidInput
from router.core.limits import Amounts, Limit, LimitState, Period, Unit, Window
from router.core.types import (
    Candidate,
    Constraints,
    Decision,
    Goal,
    Importance,
    LatencyRange,
    Lengths,
    Message,
    MissCost,
    Model,
    PriceRange,
    Prompt,
    QualityTarget,
    Quote,
    Reason,
    Score,
    Speed,
    TokenCount,
    WillingnessToPay,
)
from router.decision_log.record import (
    CacheNanos,
    DecisionRecord,
    KeptPrompt,
    LatencySeconds,
    LengthQuantiles,
    LimitBalance,
    LoggedCanary,
    LoggedCandidate,
    LoggedConstraints,
    LoggedConversation,
    LoggedExploration,
    LoggedMissCost,
    LoggedQualityTarget,
    LoggedUsage,
    LoggedWillingnessToPay,
    OutputTokens,
    PriceNanos,
    PromptEmbedding,
    ReasoningTokens,
)
from router.decision_log.record_json import (
    DamagedRecord,
    RecordError,
    canary_of,
    parse,
    serialize,
    with_usage,
)
from router.routing.decision_recorder import record_of
from router.routing.router import Assessment, RoutedDecision, RouteQuery, Router
from tests.conftest import NOON

GOLDEN = Path(__file__).parents[2] / "golden" / "decision_records"

EXAMPLE = DecisionRecord(
    version=1,
    prompt_log="text",
    prompt="Be brief.\n\n見積もり?",
    prompt_judged="見積もり?",
    prompt_hash="a1",
    prompt_embedding=PromptEmbedding("static", "ab", 2, b"\x00\x3c\x00\xc0"),
    bundle="demo@1",
    price_table="genai-prices 0.2.3, catalog 1",
    strict=True,
    importance=Importance.HIGH,
    goal=LoggedWillingnessToPay(20_000_000),
    constraints=LoggedConstraints(
        models=("a", "b"), tiers=("low",), capabilities=("vision",),
        max_price_nanos=0, max_latency_s=2.5, max_output_tokens=500,
    ),
    conversation_id="chat 1",
    batch=True,
    complexity=0.5,
    features=(2.30259, 0.0),
    p_adequate={"low": 0.25, "high": 0.75},
    label_distribution={"low": 0.25, "high": 0.5, "none": 0.25},
    lengths={"low": LengthQuantiles(80.0, 447.5, 2084.0)},
    propensity=0.5,
    reasons=("BEST_VALUE", "TOKENS_ESTIMATED"),
    limits=(LimitBalance("team", "search", Unit.MONEY, None, 5_000_000_000, 193_700, 0),),
    candidates=(
        LoggedCandidate(
            "a", "low", "low", 0.25, 18, True, 19, OutputTokens(80, 447, 500),
            ReasoningTokens(10, 40), PriceNanos(5, 7, 9, 11), LatencySeconds(1.55, 5.76),
        ),
        LoggedCandidate(
            "b", "low", None, None, 18, False, 18, OutputTokens(0, 1, 2),
            ReasoningTokens(0, 0), PriceNanos(0, 0, 1, 2), LatencySeconds(0.0, 0.5),
        ),
    ),
    usage=LoggedUsage("a", "truncated", 31, 4, 120, 7, 1.5, 0.25),
)  # fmt: skip
"""Every field differs from its default."""


STREAMED = msgspec.structs.replace(
    EXAMPLE,
    constraints=msgspec.structs.replace(EXAMPLE.constraints, max_first_token_s=0.8),
    candidates=tuple(
        msgspec.structs.replace(each, first_token_s=LatencySeconds(0.25, 0.675))
        for each in EXAMPLE.candidates
    ),
    usage=LoggedUsage("a", "truncated", 31, 4, 120, 7, 1.5, 0.25, 0.4),
)
"""The example for a caller that streams, and bounds the time to the first token."""


CONTINUED = msgspec.structs.replace(
    EXAMPLE,
    reasons=("KEPT_MODEL", "ESCALATED"),
    candidates=(
        msgspec.structs.replace(EXAMPLE.candidates[0], cache_nanos=CacheNanos(3, 4)),
        EXAMPLE.candidates[1],
    ),
    conversation=LoggedConversation("a", 0.7, in_tool_loop=True, inadequate=("c", "d")),
)
"""The example as a later turn of its conversation."""


def golden(name: str) -> str:
    return (GOLDEN / f"{name}.json").read_text(encoding="utf-8")


def example(**changes: Any) -> dict[str, Any]:
    """The example as a JSON object; ``None`` takes a field away."""
    content = json.loads(serialize(EXAMPLE)) | changes
    return {name: value for name, value in content.items() if value is not None}


def fault(content: object) -> RecordError:
    with pytest.raises(RecordError) as caught:
        parse(json.dumps(content))
    return caught.value


# --- Version 1 ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "goal"),
    [
        ("v1_example", LoggedWillingnessToPay(20_000_000)),
        ("v1_miss_cost", LoggedMissCost(100_000_000)),
        ("v1_regret", LoggedQualityTarget(0.6, 0.05)),
    ],
)
def test_version_1_is_written_byte_for_byte_as_ever(
    name: str, goal: LoggedMissCost | LoggedQualityTarget | LoggedWillingnessToPay
) -> None:
    assert serialize(msgspec.structs.replace(EXAMPLE, goal=goal)) + "\n" == golden(name)


def test_models_left_out_for_their_health_are_written_last() -> None:
    left_out = msgspec.structs.replace(EXAMPLE, unhealthy=("c", "d"))
    assert serialize(left_out) + "\n" == golden("v1_unhealthy")


def test_the_turns_before_are_written_last_and_the_worth_of_a_cache_with_its_candidate() -> None:
    assert serialize(CONTINUED) + "\n" == golden("v1_conversation")


def test_models_without_room_and_calls_in_flight_are_written_where_there_are_any() -> None:
    crowded = msgspec.structs.replace(EXAMPLE, full=("c", "d"), in_flight=7)
    assert serialize(crowded) + "\n" == golden("v1_full")
    assert parse(golden("v1_full")) == crowded
    assert parse(golden("v1_example")).full == ()
    assert parse(golden("v1_example")).in_flight == 0


def test_regions_are_written_after_the_other_constraints() -> None:
    constraints = msgspec.structs.replace(EXAMPLE.constraints, regions=("eu", "us"))
    record = msgspec.structs.replace(EXAMPLE, constraints=constraints)
    assert serialize(record) + "\n" == golden("v1_regions")


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("v1_*.json")), ids=lambda path: path.stem)
def test_what_was_written_as_version_1_reads_and_is_written_again_the_same(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert serialize(parse(text)) + "\n" == text


def test_bytes_text_and_object_say_the_same() -> None:
    text = golden("v1_example")
    assert parse(text) == parse(text.encode()) == parse(json.loads(text)) == EXAMPLE


@pytest.mark.parametrize(
    ("goal", "written"),
    [
        (LoggedMissCost(20), '"goal":{"kind":"miss_cost","nanos":20}'),
        (LoggedQualityTarget(0.6), '"goal":{"kind":"quality_target","p_adequate":0.6}'),
        (
            LoggedQualityTarget(0.6, 0.05),
            '"goal":{"kind":"quality_target","p_adequate":0.6,"regret":0.05}',
        ),
        (LoggedWillingnessToPay(20), '"goal":{"kind":"willingness_to_pay","nanos":20}'),
    ],
)
def test_the_kind_of_a_goal_is_a_word_of_the_format(
    goal: LoggedMissCost | LoggedQualityTarget | LoggedWillingnessToPay, written: str
) -> None:
    text = serialize(msgspec.structs.replace(EXAMPLE, goal=goal))
    assert written in text
    assert parse(text).goal == goal


def test_the_first_token_is_kept_where_it_was_bounded_and_where_it_was_reported() -> None:
    assert parse(golden("v1_first_token")) == STREAMED
    assert serialize(STREAMED) == golden("v1_first_token").strip()
    assert "first_token" not in serialize(EXAMPLE)


def test_a_target_of_before_the_setting_gave_up_at_most_a_point() -> None:
    assert parse(golden("v1_text")).goal == LoggedQualityTarget(0.0, 0.01)


def test_what_a_later_release_adds_is_no_obstacle() -> None:
    added = example(added=[1], usage={"model": "a", "added": 1})
    added["candidates"][0] |= {"added": 1}
    added["candidates"][0]["price_nanos"].append(13)
    assert parse(added).candidates == EXAMPLE.candidates


def test_nothing_is_kept_of_a_prompt_and_nothing_settled_unless_it_is_said() -> None:
    found = parse(golden("v1_held"))
    assert (found.prompt_log, found.prompt, found.usage) == ("text", "Never answered", None)
    assert '"usage"' not in golden("v1_held")
    found = parse(golden("v1_off"))
    assert (found.prompt_log, found.classifier_text, found.prompt_hash) == ("off", None, None)
    assert '"prompt' not in golden("v1_off")


def test_the_text_that_the_classifier_read_is_the_judged_one_where_there_are_two() -> None:
    assert EXAMPLE.classifier_text == "見積もり?"
    assert msgspec.structs.replace(EXAMPLE, prompt_judged=None).classifier_text == EXAMPLE.prompt


def test_a_vector_comes_back_in_half_precision() -> None:
    assert EXAMPLE.prompt_embedding is not None
    assert EXAMPLE.prompt_embedding.vector.tolist() == [1.0, -2.0]
    vector = np.array([0.1, -3.0], dtype=np.float32)
    kept = PromptEmbedding.of(vector, "static", "ab")
    assert kept.vector.tolist() == [0.0999755859375, -3.0]


@pytest.mark.parametrize(
    ("outcome", "answered"),
    [("success", True), ("truncated", True), ("error", False), ("timeout", False), (None, False)],
)
def test_only_what_was_answered_says_something_of_the_model(
    outcome: str | None, answered: bool
) -> None:
    assert LoggedUsage(outcome=outcome).answered is answered


@pytest.mark.parametrize(
    "changes",
    [
        {"complexity": math.nan},
        {"p_adequate": {"low": math.inf}},
        {"features": (math.nan,)},
        {"prompt": "x\ud800"},
    ],
)
def test_what_json_cannot_say_is_refused_and_not_shown(changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match="the record cannot be written as JSON"):
        serialize(msgspec.structs.replace(EXAMPLE, **changes))


def test_an_export_keeps_the_record_as_it_is_and_adds_the_usage() -> None:
    assert with_usage('{"version":9,"b":"見","a":1}', {"model": "m"}) == (
        '{"a": 1, "b": "見", "usage": {"model": "m"}, "version": 9}'
    )


@pytest.mark.parametrize("text", ["{", "[]", "1", "[" * 100_000])
def test_what_is_no_object_cannot_be_exported(text: str) -> None:
    with pytest.raises(DamagedRecord, match="is not a JSON object"):
        with_usage(text, {})


# --- What cannot be read -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (example(version=2), "the record is of an unknown version"),
        (example(version=-1), "the record is of an unknown version"),
        (example(version="1"), "the record is malformed at version"),
        (example(goal=None), "the record lacks goal"),
        (example(goal={"kind": "secret"}), "the record is malformed at goal.kind"),
        (example(goal={"kind": "QualityTarget"}), "the record is malformed at goal.kind"),
        (example(goal={"kind": "miss_cost"}), "the record lacks goal.nanos"),
        (example(goal={"kind": "miss_cost", "nanos": -1}), "the record is malformed at goal.nanos"),
        (example(candidates=[]), "the record is malformed at candidates"),
        (example(candidates=[{"model": "secret"}]), "the record lacks candidates[].tier"),
        (example(usage={"quality": 1.5}), "the record is malformed at usage.quality"),
        (example(p_adequate={"secret": "x"}), "the record is malformed at p_adequate[]"),
        (example(propensity=0), "the record is malformed at propensity"),
        ({}, "the record lacks bundle"),
    ],
)
def test_what_is_wrong_is_named_by_field_and_never_shown(content: object, reason: str) -> None:
    found = fault(content)
    assert found.reason == reason
    assert found.remedy
    assert not isinstance(found, DamagedRecord)


def test_a_vector_of_another_size_than_it_says_is_malformed() -> None:
    kept = example()["prompt_embedding"] | {"dimensions": 3}
    assert fault(example(prompt_embedding=kept)).reason == (
        "the record is malformed at prompt_embedding"
    )


@pytest.mark.parametrize("content", ["{", "", "[" * 100_000, b"\xff", '{"version": NaN}'])
def test_what_is_no_json_is_damage(content: bytes | str) -> None:
    with pytest.raises(DamagedRecord):
        parse(content)


def test_what_is_no_object_is_damage() -> None:
    assert isinstance(fault([]), DamagedRecord)
    assert fault([]).reason == "is not a record of a decision"


# --- Version 0 ---------------------------------------------------------------------------------


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("v0_*.json")), ids=lambda path: path.stem)
def test_every_record_without_a_version_is_read_as_one_of_version_1(path: Path) -> None:
    old = json.loads(path.read_text(encoding="utf-8"))
    found = parse(path.read_bytes())
    assert "version" not in old
    assert found.version == 1
    assert parse(serialize(found)) == found
    for name in ("bundle", "price_table", "strict", "conversation_id", "batch", "complexity"):
        assert getattr(found, name) == old[name]
    assert (found.p_adequate, list(found.reasons)) == (old["p_adequate"], old["reasons"])
    assert [one.model for one in found.candidates] == [one["model"] for one in old["candidates"]]


def test_the_first_records_lack_what_came_later() -> None:
    found = parse(golden("v0_first_hash"))
    assert found.goal == LoggedWillingnessToPay(20_000_000)
    assert (found.features, found.lengths, found.limits) == ((), {}, ())
    assert found.constraints == LoggedConstraints()
    assert (found.prompt_log, found.propensity) == ("hash", 1.0)
    assert found.prompt_hash == "a73d6374296224192d20a44d5364b6ff0cf47e9c0d386ab95b6ca0218e2135cb"
    assert found.chosen == LoggedCandidate(
        model="gpt-6.1-terra",
        tier="",
        arm="medium",
        p_adequate=0.43955743312835693,
        counted_tokens=None,
        exact=False,
        input_tokens=16,
        output_tokens=OutputTokens(69, 283, 500),
        reasoning_tokens=ReasoningTokens(0, 0),
        price_nanos=PriceNanos(101_000, 651_000, 1_431_000, 2_516_000),
        latency_s=None,
    )
    assert found.usage == LoggedUsage("gpt-6.1-terra", "success", 31, 4, 120, 0, 1.5, 0.25)
    kept = parse(golden("v0_first_text"))
    assert (kept.prompt_log, kept.prompt) == ("text", "Be brief.\n\nName three rivers.")
    assert kept.goal == LoggedQualityTarget(0.0)


def test_later_ones_of_version_0_lack_tiers_and_hidden_reasoning() -> None:
    found = parse(golden("v0_untiered_hash"))
    assert found.constraints == LoggedConstraints(
        tiers=("low", "medium"), max_price_nanos=1_000_000_000, max_latency_s=60.0,
        max_output_tokens=500,
    )  # fmt: skip
    assert found.limits == (
        LimitBalance("team", "", Unit.MONEY, 4_000_000_000, 5_000_000_000, 49_370, 0),
    )
    assert found.chosen == LoggedCandidate(
        model="gpt-6.1-terra",
        tier="",
        arm="medium",
        p_adequate=0.43955743312835693,
        counted_tokens=16,
        exact=False,
        input_tokens=16,
        output_tokens=OutputTokens(69, 283, 500),
        reasoning_tokens=ReasoningTokens(0, 0),
        price_nanos=PriceNanos(101_000, 651_000, 1_431_000, 2_551_000),
        latency_s=LatencySeconds(1.49, 4.99),
    )


def test_the_last_of_version_0_say_all_that_version_1_says() -> None:
    for kind in ("off", "hash", "embedding", "redacted", "text", "held", "failed"):
        old, new = parse(golden(f"v0_last_{kind}")), parse(golden(f"v1_{kind}"))
        # Both were written of the same decision: by the last release without a version, and by this one.
        assert old == msgspec.structs.replace(new, price_table=old.price_table)
    embedding = parse(golden("v0_last_embedding")).prompt_embedding
    assert embedding is not None
    assert (embedding.encoder, embedding.vector.shape) == ("static", (embedding.dimensions,))


@pytest.mark.parametrize("name", ["v0_last_text", "v1_example"])
@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"complexity": "@"}, "complexity"),
        ({"features": [0.5, "@"]}, "features[]"),
        ({"p_adequate": {"low": "@"}}, "p_adequate[]"),
        ({"label_distribution": {"low": "@"}}, "label_distribution[]"),
        ({"lengths": {"low": ["@", 1, 1]}}, "lengths[][]"),
        ({"usage": {"latency_s": "@"}}, "usage.latency_s"),
    ],
)
@pytest.mark.parametrize("number", ["1e999", "-1e999"])
def test_infinity_is_malformed_in_every_version(
    name: str, changes: dict[str, Any], place: str, number: str
) -> None:
    text = json.dumps(json.loads(golden(name)) | changes).replace('"@"', number)
    with pytest.raises(RecordError) as caught:
        parse(text)
    assert caught.value.reason == f"the record is malformed at {place}"
    assert not isinstance(caught.value, DamagedRecord)


# --- From a decision to its record -------------------------------------------------------------


def decided(goal: Goal, router: Router) -> DecisionRecord:
    limit = Limit("team", {"team": "*"}, Unit.TOKENS, Window.TOTAL, soft=90, hard=100)
    state = LimitState(limit, "search", Period(NOON, NOON), spent=7, held=3)
    model = Model("a", "acme", "low", None, 1000, 500, frozenset(), Speed(1.0, 50.0))
    quote = Quote(
        "a", TokenCount(19, False, 40), 80, 447, 500, PriceRange(5, 7, 9, 11),
        LatencyRange(1.0004, 5.7606), NOON, "prices 1", 18, 10, 40,
    )  # fmt: skip
    candidate = Candidate(model, "low", 0.25, quote, Amounts(9, 466), (state,))
    lengths = {"low": Lengths(80.04, 447.06, 2084.0)}
    score = Score({"low": 0.25}, {"low": 0.25, "none": 0.75}, 0.5, lengths)
    query = RouteQuery(
        "", {"team": "search"}, Prompt((Message("user", "?"),)),
        Constraints(tiers=frozenset({"medium", "low"}), max_price_nanos=0), goal,
        Importance.LOW, "chat 1", 1, batch=True,
    )  # fmt: skip
    features, embedding = np.array([2.302585, 0.1], dtype=np.float32), np.zeros(2, np.float32)
    assessed = Assessment(router.bundle, score, features, embedding, (candidate,), (), goal, NOON)
    routed = RoutedDecision(
        score, Decision((candidate,), (Reason("BEST_VALUE", "…"),)), goal, "demo@1"
    )
    kept = KeptPrompt(prompt_log="hash", prompt_hash="a1")
    return record_of(query, assessed, routed, kept=kept, price_table="prices 1", strict=False)


def test_a_decision_is_recorded_as_it_was_made(router: Router) -> None:
    assert decided(QualityTarget(0.6), router) == DecisionRecord(
        version=1,
        prompt_log="hash",
        prompt_hash="a1",
        bundle="demo@1",
        price_table="prices 1",
        strict=False,
        importance=Importance.LOW,
        goal=LoggedQualityTarget(0.6, 0.05),
        constraints=LoggedConstraints(tiers=("low", "medium"), max_price_nanos=0),
        conversation_id="chat 1",
        batch=True,
        complexity=0.5,
        features=(2.30258, 0.1),
        p_adequate={"low": 0.25},
        label_distribution={"low": 0.25, "none": 0.75},
        lengths={"low": LengthQuantiles(80.0, 447.1, 2084.0)},
        propensity=1.0,
        reasons=("BEST_VALUE",),
        limits=(LimitBalance("team", "search", Unit.TOKENS, 90, 100, 7, 3),),
        candidates=(
            LoggedCandidate(
                "a", "low", "low", 0.25, 18, False, 19, OutputTokens(80, 447, 500),
                ReasoningTokens(10, 40), PriceNanos(5, 7, 9, 11), LatencySeconds(1.0, 5.761),
            ),
        ),
    )  # fmt: skip


def test_the_cost_of_a_miss_is_recorded_in_nano_dollars(router: Router) -> None:
    text = serialize(decided(MissCost(20_000_000), router))
    assert '"goal":{"kind":"miss_cost","nanos":20000000}' in text


def test_a_worth_is_recorded_in_nano_dollars(router: Router) -> None:
    text = serialize(decided(WillingnessToPay(20_000_000), router))
    assert '"goal":{"kind":"willingness_to_pay","nanos":20000000}' in text


# --- Exploration -------------------------------------------------------------------------------

EXPLORED = msgspec.structs.replace(
    EXAMPLE,
    propensity=0.025,
    exploration=LoggedExploration(0.05, 0.2, 0.0375, {"b": 0.975, "a": 0.025}),
)


def test_what_was_left_to_chance_is_written_byte_for_byte_as_ever() -> None:
    assert serialize(EXPLORED) + "\n" == golden("v1_explored")


def test_the_side_of_a_canary_is_written_byte_for_byte_as_ever() -> None:
    aside = msgspec.structs.replace(EXAMPLE, canary=LoggedCanary("0123456789ab", 0.05, False))
    assert serialize(aside) + "\n" == golden("v1_canary")
    assert canary_of(serialize(aside)) == (LoggedCanary("0123456789ab", 0.05, False), "chat 1")
    assert canary_of(serialize(EXAMPLE)) is None
    assert canary_of("{") is None


def test_the_task_of_a_turn_is_written_byte_for_byte_as_ever() -> None:
    cap = LimitBalance("task run-7", "", Unit.MONEY, None, 500_000_000, 40_000, 2_000)
    turn = msgspec.structs.replace(EXAMPLE, limits=(cap,), task="run-7")
    assert serialize(turn) + "\n" == golden("v1_task")
    assert parse(serialize(turn)) == turn
    assert '"task"' not in serialize(EXAMPLE)


def test_what_gave_way_is_written_byte_for_byte_as_ever() -> None:
    record = msgspec.structs.replace(EXAMPLE, rules_gave_way=("rather-large", "rather-near"))
    assert serialize(record) + "\n" == golden("v1_gave_way")
    assert parse(golden("v1_gave_way")) == record
    assert parse(golden("v1_canary")).rules_gave_way == ()


def test_a_record_tells_the_propensity_of_every_model_that_it_knows() -> None:
    models = ("a", "b", "c")
    assert [EXPLORED.propensity_of(each) for each in models] == [0.025, 0.975, 0.0]
    certain = msgspec.structs.replace(EXAMPLE, propensity=1.0)
    assert [certain.propensity_of(each) for each in models] == [1.0, 0.0, 0.0]
    # Written elsewhere, without what else could have been chosen.
    assert [EXAMPLE.propensity_of(each) for each in models] == [0.5, None, None]
    again = msgspec.structs.replace(certain, redrawn=True)
    assert [again.propensity_of(each) for each in models] == [None, None, None]
