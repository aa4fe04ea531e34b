"""Counterfactual replay: estimates what another bundle or policy would have achieved on logged decisions.

The log gives candidates, constraints and goal; the new bundle gives P(adequate); ``decide`` chooses. Quotes
come from the log, or, with a catalog, from its prices and the new bundle's lengths. Limits are not replayed:
the candidates are those that hard limits allowed, and soft limits and pacing are ignored.

The model r̂ of the estimators is the new bundle itself: adequacy is its P(adequate), quality is the mean
logged quality of adequate and inadequate attempts weighted by it, cost is the quote's expected price.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from router.catalog.catalog import Catalog
from router.classifier.bundle import Bundle
from router.classifier.features.lexical import lexical_features
from router.classifier.model_ability import p_of_model
from router.core.decision import decide
from router.core.errors import InvalidInput, NotPossible
from router.core.exclusions import arm_prices
from router.core.goals import at_stake
from router.core.off_policy import Estimates, Evidence, Overlap, cautions, estimate, overlap
from router.core.plurals import counted
from router.core.pricing import call_price
from router.core.quotes import quote
from router.core.rates import Rates
from router.core.types import Candidate, Constraints, Goal, Lengths, Score, TokenCount
from router.decision_log.logged_values import (
    cache_of,
    constraints_of,
    conversation_of,
    goal_of,
    model_of,
    quote_of,
)
from router.decision_log.reader import LoggedDecision, LogRow, Unparsed, undamaged
from router.decision_log.record import (
    DecisionRecord,
    LoggedCandidate,
    LoggedUsage,
)
from router.decision_log.savings import REDRAWN, Savings, SavingsTally

__all__ = ["OUTCOMES", "ReplayPolicy", "ReplayReport", "replay"]

OUTCOMES = ("quality", "adequate", "cost_usd")
"""What is estimated: mean quality and share of adequate answers, 0..1, and mean cost in USD."""

_NANOS = 1e9
_LIMITED = frozenset({"DOWNGRADED", "PACED"})


class _LeftOut(Exception):
    """A decision cannot be replayed; the message is a key of :data:`_REMEDIES`."""


_REMEDIES = {
    "not settled": "report usage with Settle",
    "the call failed": "",
    "the quality was not reported": "settle with quality",
    "another model than the chosen one was called": "",
    "its cost is not known": "",
    "its tokens were not reported": "",
    REDRAWN: "",
    "nothing of the prompt was kept": "set log_prompts to embedding, redacted or text",
    "only a hash of the prompt was kept": "set log_prompts to embedding, redacted or text",
    "the vector comes from another encoder": "replay with a bundle of that encoder, or set log_prompts to "
    "redacted or text",
    "the record has no latencies": "it is one of the first, which replay cannot quote",
    "the record has other features than the bundle": "set log_prompts to redacted or text",
    "no candidate has an arm and a price now": "replay with a bundle that has arms for their tiers, or "
    "another --catalog",
}


@dataclass(frozen=True)
class ReplayPolicy:
    """The bundle, goal and prices with which decisions are made again.

    Attributes:
        bundle: gives P(adequate).
        tiers: model → tier, for records that lack it.
        goal: of every decision; ``None`` keeps the logged goals.
        catalog: its prices give new quotes; ``None`` keeps the logged quotes.
        moment: at which the catalog's prices are taken, aware.
        single: id of the model with which the logged choices are compared; empty: the best single one.
    """

    bundle: Bundle
    tiers: Mapping[str, str]
    goal: Goal | None
    catalog: Catalog | None
    moment: datetime
    single: str = ""


@dataclass(frozen=True)
class ReplayReport:
    """What a replay found.

    Attributes:
        read: rows of the log.
        replayed: decisions that count.
        left_out: reason → how many.
        estimates: one per entry of :data:`OUTCOMES`.
        overlap: how much the log can say about the new policy.
        moves: (logged model, new model) → decisions, where they differ.
        cautions: reasons not to trust the figures.
        notes: how the figures were made.
        savings: of the logged choices against a single model.
    """

    read: int
    replayed: int
    left_out: Mapping[str, int]
    estimates: Mapping[str, Estimates]
    overlap: Overlap
    moves: Mapping[tuple[str, str], int]
    cautions: tuple[str, ...]
    notes: tuple[str, ...]
    savings: Savings


@dataclass(frozen=True, slots=True)
class _Row:
    """One replayed decision: its outcome, and the expectations for the logged and the new choice.

    Money is in nano-dollars. ``reach`` is the propensity of the new choice, NaN where it was not logged.
    """

    group: str
    logged: str
    chosen: str
    propensity: float
    reach: float
    quality: float
    cost: int
    p_logged: float
    p_chosen: float
    price_logged: int
    price_chosen: int


@dataclass
class _Tally:
    """Counts of a pass over the log. ``remedies`` belong to records that could not be parsed."""

    read: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    remedies: dict[str, str] = field(default_factory=dict)
    savings: SavingsTally = field(default_factory=SavingsTally)
    noted: Counter[str] = field(default_factory=Counter)


# --- One decision ------------------------------------------------------------------------------


def _score(bundle: Bundle, record: DecisionRecord, tally: _Tally) -> Score:
    """The new bundle's score of a logged prompt: as logged, or from the text, or from the vector.

    If it is not logged, a bundle with two stages gives the score of its first stage.
    """
    if record.bundle == bundle.version:
        # The same bundle would give the same score, so the logged one is used.
        lengths = {arm: Lengths(one.p50, one.p90, one.p99) for arm, one in record.lengths.items()}
        return Score(
            record.p_adequate, record.label_distribution, record.complexity, lengths, record.demands
        )
    text = record.classifier_text
    if text is not None:
        tally.noted["redacted"] += record.prompt_log == "redacted"
        return bundle.score(text)
    kept = record.prompt_embedding
    if kept is None:
        hashed = record.prompt_log == "hash"
        raise _LeftOut(
            "only a hash of the prompt was kept" if hashed else "nothing of the prompt was kept"
        )
    if (
        kept.encoder_sha256 != bundle.encoder.manifest.sha256
        or kept.dimensions != bundle.manifest.encoder.dimensions
    ):
        raise _LeftOut("the vector comes from another encoder")
    if len(record.features) < bundle.classifier.features:
        raise _LeftOut("the record has other features than the bundle")
    tally.noted["wordless"] += bundle.classifier.reads_tokens
    return bundle.classify(kept.vector, np.asarray(record.features, dtype=np.float32))


def _group(record: DecisionRecord) -> str:
    """A key that repeated prompts share: from the hash, else the text, else features and scores."""
    known = record.prompt_hash or record.prompt
    if known is None:
        known = json.dumps([record.features, record.p_adequate], sort_keys=True)
    return hashlib.blake2b(known.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def _candidate(
    policy: ReplayPolicy,
    row: LoggedDecision,
    kept: LoggedCandidate,
    score: Score,
    constraints: Constraints,
) -> Candidate | None:
    """A logged candidate under the new policy; ``None`` if the catalog no longer has its model."""
    name, offer = kept.model, None
    model = model_of(kept, kept.tier or policy.tiers.get(name, ""), constraints)
    if policy.catalog is not None:
        entry = next((e for e in policy.catalog.entries if e.spec.id == name), None)
        if entry is None:
            return None
        model = entry.at(policy.moment)
    arm = next((one for one in (name, model.tier) if one in score.p_adequate), None)
    if policy.catalog is None:
        if kept.latency_s is None:
            raise _LeftOut("the record has no latencies")
        offer = quote_of(kept, kept.latency_s, row.record, row.created)
    elif model.rates is not None:
        tokens = kept.input_tokens
        offer = quote(
            model,
            model.rates,
            TokenCount(tokens, kept.exact, tokens),
            score.lengths.get(arm or "", policy.catalog.default_lengths[model.tier]),
            max_output_tokens=constraints.max_output_tokens,
            expires=policy.moment,
            price_table=policy.catalog.price_table,
        )
    p, basis = p_of_model(model, arm, policy.bundle.manifest, score)
    return Candidate(model, arm, p, offer, basis=basis, cache=cache_of(kept))


def _candidates(
    policy: ReplayPolicy, row: LoggedDecision, score: Score, constraints: Constraints
) -> list[Candidate]:
    """The logged candidates that the catalog still has."""
    kept = row.record.candidates
    found = (_candidate(policy, row, one, score, constraints) for one in kept)
    return [candidate for candidate in found if candidate is not None]


def _outcome(row: LoggedDecision) -> tuple[LoggedUsage, float, int]:
    """What the caller reported: the usage, the quality, and the nano-dollars booked."""
    usage = row.record.usage
    if row.state != "settled" or usage is None:
        raise _LeftOut("not settled")
    if not usage.answered:
        raise _LeftOut("the call failed")
    if usage.model not in (None, row.record.chosen.model):
        raise _LeftOut("another model than the chosen one was called")
    if row.spent is None:
        raise _LeftOut("its cost is not known")
    if usage.quality is None:
        raise _LeftOut("the quality was not reported")
    return usage, usage.quality, row.spent


def _repriced(usage: LoggedUsage, rates: Rates) -> int:
    """The cost of the call at other rates, nano-dollars."""
    if usage.input_tokens is None or usage.output_tokens is None:
        raise _LeftOut("its tokens were not reported")
    return call_price(
        rates,
        usage.input_tokens,
        usage.output_tokens,
        cached_input_tokens=usage.cached_input_tokens,
    )


def _replayed(policy: ReplayPolicy, row: LoggedDecision, tally: _Tally) -> _Row:
    usage, quality, spent = _outcome(row)
    record = row.record
    if record.redrawn:
        raise _LeftOut(REDRAWN)
    score = _score(policy.bundle, record, tally)
    constraints = constraints_of(record.constraints)
    goal = policy.goal or goal_of(record.goal)
    candidates = _candidates(policy, row, score, constraints)
    text, same_bundle = record.classifier_text, record.bundle == policy.bundle.version
    if policy.bundle.second is not None and text is not None and not same_bundle:
        features, prices = lexical_features(text), arm_prices(candidates, constraints)
        if policy.bundle.needs_second_stage(
            score, features, prices, at_stake(goal, score.complexity)
        ):
            score = policy.bundle.score_second_stage(text, features)
            candidates = _candidates(policy, row, score, constraints)
    logged = record.chosen.model
    then = next((one for one in candidates if one.model.id == logged), None)
    if then is None or then.quote is None or then.p_adequate is None:
        raise _LeftOut("no candidate has an arm and a price now")
    try:
        chosen = decide(
            candidates,
            constraints,
            goal,
            complexity=score.complexity,
            conversation=conversation_of(record.conversation),
        ).chosen
    except NotPossible:
        raise _LeftOut("no candidate has an arm and a price now") from None
    assert chosen.quote is not None and chosen.p_adequate is not None  # noqa: S101, PT018 — it was chosen
    rates = None if policy.catalog is None else then.model.rates
    reach = record.propensity_of(chosen.model.id)
    tally.noted["limited"] += bool(_LIMITED & set(record.reasons))
    return _Row(
        group=_group(record),
        logged=logged,
        chosen=chosen.model.id,
        propensity=record.propensity,
        reach=np.nan if reach is None else reach,
        quality=quality,
        cost=spent if rates is None else _repriced(usage, rates),
        p_logged=then.p_adequate,
        p_chosen=chosen.p_adequate,
        price_logged=then.quote.price.expected,
        price_chosen=chosen.quote.price.expected,
    )


# --- The whole log -----------------------------------------------------------------------------


def _rows(policy: ReplayPolicy, log: Iterable[LogRow], tally: _Tally) -> Iterator[_Row]:
    for row in undamaged(log):
        tally.read += 1
        if isinstance(row, Unparsed):
            tally.left_out[row.reason] += 1
            tally.remedies[row.reason] = row.remedy
            continue
        tally.savings.add(row)
        try:
            yield _replayed(policy, row, tally)
        except _LeftOut as reason:
            tally.left_out[str(reason)] += 1


def _left_out_notes(tally: _Tally) -> list[str]:
    remedies = {**tally.remedies, **_REMEDIES}
    ordered = sorted(tally.left_out.items(), key=lambda one: (-one[1], one[0]))
    return [
        f"{counted(count, 'decision')} left out: {reason}"
        + (f" ({remedies[reason]})" if remedies[reason] else "")
        for reason, count in ordered
    ]


def _wordless(count: int) -> list[str]:
    if not count:
        return []
    return [
        f"{counted(count, 'prompt was', 'prompts were')} scored from the kept vector without their words, "
        "which this bundle also reads: its P(adequate) is not what it would serve; "
        "log_prompts: text replays it as served"
    ]


def _notes(policy: ReplayPolicy, tally: _Tally, count: int) -> list[str]:
    noted, notes = tally.noted, _left_out_notes(tally)
    unjudged = tally.left_out["the quality was not reported"]
    if unjudged:
        share = count / (count + unjudged)
        notes.append(
            f"quality is known for {share:.0%} of the answers; the figures describe only those"
        )
    if noted["redacted"]:
        notes.append(
            f"{counted(noted['redacted'], 'prompt was', 'prompts were')} scored from redacted text"
        )
    if noted["limited"]:
        notes.append(
            f"{counted(noted['limited'], 'logged choice was', 'logged choices were')} changed by soft "
            "limits or pacing, which a replay leaves out"
        )
    threshold = policy.bundle.manifest.adequacy_threshold
    notes.append(
        f"an answer is adequate if its quality is at least {threshold:g}, the threshold of the bundle"
    )
    notes.append(
        "quotes are the logged ones"
        if policy.catalog is None
        else f"quotes and costs at {policy.catalog.price_table}"
    )
    return notes


def _table(rows: list[_Row], threshold: float) -> Evidence:
    def column(name: str) -> npt.NDArray[np.float64]:
        return np.array([getattr(row, name) for row in rows], dtype=np.float64)

    quality = column("quality")
    # A quality of .7 may have become .69999999 as a float32; it must still reach a threshold of .7.
    adequate = quality.round(6) >= threshold
    good = float(quality[adequate].mean()) if adequate.any() else 1.0
    poor = float(quality[~adequate].mean()) if not adequate.all() else 0.0

    def expected(p: npt.NDArray[np.float64], price: npt.NDArray[np.float64]) -> Any:
        return np.stack([p * good + (1 - p) * poor, p, price / _NANOS], axis=1)

    _, groups = np.unique([row.group for row in rows], return_inverse=True)
    return Evidence(
        outcomes=np.stack([quality, adequate.astype(float), column("cost") / _NANOS], axis=1),
        expected_logged=expected(column("p_logged"), column("price_logged")),
        expected_new=expected(column("p_chosen"), column("price_chosen")),
        chance=np.array([row.logged == row.chosen for row in rows], dtype=np.float64),
        propensity=column("propensity"),
        groups=groups.astype(np.int64),
    )


def replay(log: Iterable[LogRow], policy: ReplayPolicy, *, seed: int = 0) -> ReplayReport:
    """Make logged decisions again under a new policy, and estimate its outcomes.

    Memory grows by less than a kilobyte per decision; texts are not kept.

    Args:
        log: rows of :func:`reader.read_log`.
        policy: the new policy.
        seed: of the bootstrap.

    Raises:
        InvalidInput: a row is damaged, or no decision can be replayed; names the reason and the remedy.
    """
    tally = _Tally()
    rows = list(_rows(policy, log, tally))
    if not rows:
        why = "; ".join(_left_out_notes(tally)) or "the log is empty"
        raise InvalidInput(
            f"none of {counted(tally.read, 'decision')} can be replayed: {why}",
            reason="NOTHING_TO_REPLAY",
        )
    table = _table(rows, policy.bundle.manifest.adequacy_threshold)
    known = overlap(table, np.array([row.reach for row in rows]))
    return ReplayReport(
        read=tally.read,
        replayed=len(rows),
        left_out=dict(tally.left_out),
        estimates=dict(zip(OUTCOMES, estimate(table, seed=seed), strict=True)),
        overlap=known,
        moves=Counter((row.logged, row.chosen) for row in rows if row.logged != row.chosen),
        cautions=(*cautions(known), *_wordless(tally.noted["wordless"])),
        notes=tuple(_notes(policy, tally, len(rows))),
        savings=tally.savings.savings(policy.single),
    )
