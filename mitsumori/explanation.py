"""An explanation of a decision, told in English or in Japanese."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal
from typing import Literal, TypeAlias

from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper

from mitsumori.errors import InvalidArgument
from mitsumori.explanation_phrases import ENGLISH, JAPANESE, Phrases
from mitsumori.money import nanos_of
from mitsumori.v1 import explanation_pb2

__all__ = ["LANGUAGES", "Explanation", "Language"]

Language: TypeAlias = Literal["en", "ja"]
LANGUAGES: Mapping[str, Phrases] = {"en": ENGLISH, "ja": JAPANESE}
"""The words of each language."""

_BY_RULE = "by_rule_"
_TASK = "task "
"""Begins the name of a limit that is the cap of a task."""
_DIGITS = range(3, 10)


@dataclass(frozen=True, slots=True)
class Explanation:
    """What each model lost to, and what would have to change for it to be chosen.

    A bound is rounded so that it stays true: a least value up, a most value down.

    Attributes:
        message: the values behind the words, for programs.
    """

    message: explanation_pb2.Explanation = field(repr=False)

    def text(self, language: Language = "en") -> str:
        """The whole explanation in lines.

        Args:
            language: ``en`` or ``ja``.

        Raises:
            InvalidArgument: it is told in no other.
        """
        words = phrases_of(language)
        lines = [self.headline(language), ""]
        for each in self.message.models:
            facts = words.first.join((*_facts(each, words), outcome(each, words)))
            heading = words.heading if each.tier else words.no_tier
            lines.append(heading.format(model=each.model, tier=each.tier, facts=facts))
            told = self.of_model(each, language)
            if told:
                lines.append(f"  {told}")
        notes = self.notes(language)
        return "\n".join([*lines, *([""] if notes else []), *notes])

    def headline(self, language: Language = "en") -> str:
        """What was chosen, and what for."""
        words, message = phrases_of(language), self.message
        kind = message.WhichOneof("goal") or "miss_cost"
        (chosen,) = [each for each in message.models if each.place == 1]
        if kind == "quality_target":
            value, reached = _share(message.quality_target), message.quality_target
            kind = kind if chosen.p_adequate >= reached else "missed"
        else:
            value = _usd(nanos_of(getattr(message, kind)))
        goal = words.goals[kind].format(value=value, complexity=f"{message.complexity:.2f}")
        probability = _share(message.propensity)
        if message.propensity < 1 and chosen.HasField("loss"):
            return words.chosen_by_chance.format(
                model=chosen.model, goal=goal, probability=probability
            )
        told = words.chosen.format(model=chosen.model, goal=goal)
        if message.propensity < 1:
            told += words.sentence + words.by_chance.format(probability=probability)
        return told

    def of_model(self, model: explanation_pb2.ExplainedModel, language: Language = "en") -> str:
        """What one model lost to, and what would have to change; empty for the choice.

        Args:
            model: of the message.
            language: ``en`` or ``ja``.
        """
        words = phrases_of(language)
        if model.place:
            return _of_ranked(model, words)
        return _of_left_out(model, words)

    def notes(self, language: Language = "en") -> tuple[str, ...]:
        """What is not known of a decision that is explained from the log."""
        words = phrases_of(language)
        names = (
            _named(explanation_pb2.ExplanationGap, gap, "EXPLANATION_GAP_")
            for gap in self.message.gaps
        )
        return tuple(words.gaps.get(name, words.unknown.format(name=name)) for name in names)


def phrases_of(language: str) -> Phrases:
    """The words of a language.

    Raises:
        InvalidArgument: there are none.
    """
    found = LANGUAGES.get(language)
    if found is None:
        raise InvalidArgument("language", f"must be one of {', '.join(LANGUAGES)}")
    return found


def outcome(model: explanation_pb2.ExplainedModel, words: Phrases) -> str:
    """What became of a model, in a few words.

    Args:
        model: of an explanation.
        words: of the language.
    """
    if model.place == 1:
        return words.the_choice
    if model.place:
        return words.behind.format(place=model.place)
    name = model.exclusion
    if name.startswith(_BY_RULE):
        why = words.by_rule.format(name=name.removeprefix(_BY_RULE))
    else:
        why = words.exclusions.get(name) or words.unknown.format(name=name)
    return words.left_out.format(why=why)


def figures(model: explanation_pb2.ExplainedModel) -> tuple[str, str, str, str]:
    """P(adequate), expected price, high price and expected cost as text; ``–`` where there is none."""

    def money(name: str) -> str:
        return _usd(nanos_of(getattr(model, name))) if model.HasField(name) else "–"

    p = f"{model.p_adequate:.2f}" if model.HasField("p_adequate") else "–"
    return p, money("expected_price"), money("high_price"), money("expected_cost")


def _facts(model: explanation_pb2.ExplainedModel, words: Phrases) -> list[str]:
    p, price, _, cost = figures(model)
    told = {"p_adequate": p, "expected_price": price, "expected_cost": cost}
    return [words.facts[name].format(value=value) for name, value in told.items() if value != "–"]


def _of_ranked(model: explanation_pb2.ExplainedModel, words: Phrases) -> str:
    sentences = []
    if model.HasField("loss"):
        told = words.by_goal_alone if model.place == 1 else words.lost_to
        sentences.append(told.format(loss=_loss(model.loss, words)))
    changes = [_change(each, words) for each in model.changes]
    if len(changes) == 1:
        sentences.append(words.alone.format(change=changes[0]))
    elif changes:
        sentences.append(words.any_of.format(changes=words.between.join(changes)))
    elif not model.examined:
        sentences.append(words.not_examined)
    elif model.place > 1 and model.loss.criterion not in _WITHOUT_CHANGE:
        sentences.append(words.no_change)
    return words.sentence.join(sentences)


_WITHOUT_CHANGE = frozenset({explanation_pb2.CRITERION_CHANCE, explanation_pb2.CRITERION_OTHER})


def _of_left_out(model: explanation_pb2.ExplainedModel, words: Phrases) -> str:
    needs = [_change(each, words) for each in model.needs]
    if not needs:
        return words.hopeless if model.examined else ""
    if model.HasField("loss"):
        loss = _loss(model.loss, words)
        return words.then_behind.format(changes=words.also.join(needs), loss=loss)
    if len(needs) == 1:
        return words.alone.format(change=needs[0])
    return words.all_of.format(changes=words.between.join(needs))


def _loss(loss: explanation_pb2.Loss, words: Phrases) -> str:
    name = _named(explanation_pb2.Criterion, loss.criterion, "CRITERION_")
    phrase = words.losses.get(name, words.losses["OTHER"])
    gap = _usd(nanos_of(loss.amount)) if loss.HasField("amount") else _share(loss.probability)
    limit = words.of_limit.format(name=loss.limit_id) if loss.limit_id else ""
    return phrase.format(to=loss.to, gap=gap, limit=limit)


def _change(change: explanation_pb2.Change, words: Phrases) -> str:
    name = _named(explanation_pb2.Lever, change.lever, "LEVER_")
    if name == "REGIONS" and not change.name:
        return words.no_region
    phrases = words.changes if change.rises or name not in words.lowered else words.lowered
    phrase = phrases.get(name)
    if phrase is None:
        return words.unknown.format(name=name)
    if name == "LIMIT" and change.name.startswith(_TASK):
        phrase = words.cap
    value, now = _values(change, words)
    return phrase.format(name=change.name, value=value, now=now)


def _values(change: explanation_pb2.Change, words: Phrases) -> tuple[str, str]:
    """The value and what it is now, with as many digits as tell them apart."""
    kind, value, now = change.value.WhichOneof("kind"), change.value, change.now
    if kind == "money":
        bound, is_now = nanos_of(value.money), nanos_of(now.money)
        alike = change.lever == explanation_pb2.LEVER_LIMIT  # of which the value is a difference
        for digits in _DIGITS:
            told = _usd(bound, digits, rises=change.rises), _usd(is_now, digits)
            if alike or told[0] != told[1]:
                break
        return told
    if kind in ("probability", "seconds"):
        bound, is_now = getattr(value, kind), getattr(now, kind)
        for digits in _DIGITS:
            told = _share(bound, digits, rises=change.rises), _share(is_now, digits)
            if told[0] != told[1]:
                break
        if kind == "seconds":
            return words.seconds.format(value=told[0]), words.seconds.format(value=told[1])
        return told
    if kind is None:
        return "", ""
    form = words.units[kind]
    return form.format(value=f"{getattr(value, kind):,}"), form.format(
        value=f"{getattr(now, kind):,}"
    )


def _named(kind: EnumTypeWrapper, number: int, prefix: str) -> str:
    """The name of a value without its prefix; of one of a newer server, its number."""
    try:
        return str(kind.Name(number)).removeprefix(prefix)
    except ValueError:
        return str(int(number))


def _rounding(rises: bool | None) -> str:
    if rises is None:
        return ROUND_HALF_EVEN
    return ROUND_CEILING if rises else ROUND_FLOOR


def _usd(nanos: int, digits: int = 3, *, rises: bool | None = None) -> str:
    """USD to some significant digits below one dollar, else to two decimals at least."""
    usd = Decimal(nanos).scaleb(-9)
    places = min(max(digits - 1 - usd.adjusted(), digits - 1), 9) if nanos else 2
    return f"${usd.quantize(Decimal(1).scaleb(-places), _rounding(rises)):,f}"


def _share(value: float, digits: int = 3, *, rises: bool | None = None) -> str:
    """A probability or seconds to some decimals, without zeros at the end."""
    exact = Decimal(value).quantize(Decimal("1E-9"))  # of a float near it
    shown = exact.quantize(Decimal(1).scaleb(-digits), _rounding(rises))
    whole, _, fraction = f"{shown:f}".partition(".")
    return f"{whole}.{fraction.rstrip('0').ljust(2, '0')}"
