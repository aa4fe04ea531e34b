"""The records of decisions as JSON: written in the current version, read in any.

A field that is renamed, retyped or removed in :mod:`decision_log.record` needs a new version, an upgrade
here from the version before, and a golden file in ``tests/golden/decision_records``; a field that is added
with a default does not. Another kind of goal needs a golden file alone: a release that does not know the
kind leaves the record out, and names the field. Unknown fields are ignored.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from router.core.errors import InvalidInput
from router.decision_log.record import VERSION, DecisionRecord, LoggedCanary, LoggedUsage

__all__ = ["DamagedRecord", "RecordError", "canary_of", "parse", "serialize", "with_usage"]


class RecordError(Exception):
    """A record cannot be read.

    Attributes:
        reason: what is wrong with it, without its content; the same for every record with this fault.
        remedy: what to do.
    """

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.remedy = remedy


class DamagedRecord(RecordError):
    """The record is not a JSON object: its text was cut or changed."""


class _Header(Struct, frozen=True):
    version: int = 0


class _Settled(Struct, frozen=True):
    usage: LoggedUsage


class _OfCanary(Struct, frozen=True):
    conversation_id: str = ""
    canary: LoggedCanary | None = None


_encoder = msgspec.json.Encoder()
_header = msgspec.json.Decoder(_Header)
_record = msgspec.json.Decoder(DecisionRecord)
_of_canary = msgspec.json.Decoder(_OfCanary)
_NO_USAGE = LoggedUsage()
_AGAIN = "write the log again with `mitsumori decisions --out`"
_FOREIGN = "no release of mitsumori wrote it like this"
_GOALS_0 = {"QualityTarget": "quality_target", "WillingnessToPay": "willingness_to_pay"}
_CANDIDATE_0 = {
    "tier": "", "counted_tokens": None, "exact": False, "reasoning_tokens": (0, 0), "latency_s": None,
}  # fmt: skip
_PLACE = re.compile(r" - at `\$\.?(.*)`$")
_INDEX = re.compile(r"\[(?:\d+|\.\.\.)\]")
_MISSING = re.compile(r"missing required field `(\w+)`")


def serialize(record: DecisionRecord) -> str:
    """The record as it is stored: JSON in one line, in the order of the fields.

    Raises:
        InvalidInput: it contains what JSON cannot represent: NaN, infinity, a lone surrogate.
    """
    numbers = (
        record.complexity, *record.p_adequate.values(), *record.features, *record.demands
    )  # fmt: skip
    try:
        if math.isfinite(math.fsum(numbers)):
            return _encoder.encode(record).decode()
    except (UnicodeEncodeError, OverflowError, ValueError):
        pass
    raise InvalidInput("the record cannot be written as JSON")


def parse(
    content: bytes | str | Mapping[str, Any], usage: Mapping[str, Any] | None = None
) -> DecisionRecord:
    """A record of any version, in the current model.

    Args:
        content: JSON, or the parsed object.
        usage: as a ledger keeps it, beside the record; ``None`` for an export, whose records contain it.

    Raises:
        DamagedRecord: the content is not a JSON object.
        RecordError: its version is unknown, or it lacks a field that its version requires.
    """
    try:
        if isinstance(content, Mapping):
            record = _of_object(content)
        elif _header.decode(content).version == VERSION:
            record = _record.decode(content)
        else:
            record = _of_object(json.loads(content))
        found = msgspec.convert({"usage": usage}, _Settled).usage if usage else record.usage
    except msgspec.ValidationError as error:
        raise _fault(str(error)) from None
    except (msgspec.DecodeError, ValueError, RecursionError):
        raise DamagedRecord("is not JSON", _AGAIN) from None
    # An export has an empty usage where nothing was settled.
    found = None if found == _NO_USAGE else found
    return record if found is record.usage else msgspec.structs.replace(record, usage=found)


def canary_of(record: str) -> tuple[LoggedCanary, str] | None:
    """The canary of a record and its conversation, without the rest; ``None`` where there is none to read."""
    try:
        found = _of_canary.decode(record)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return None
    return None if found.canary is None else (found.canary, found.conversation_id)


def with_usage(record: str, usage: Mapping[str, Any]) -> str:
    """A record of any version as it is exported, whole, with the settled usage: JSON in one line.

    Args:
        record: as the ledger keeps it.
        usage: as the ledger keeps it; empty where nothing was settled.

    Raises:
        DamagedRecord: the record is not a JSON object.
    """
    try:
        joined = {**json.loads(record), "usage": dict(usage)}
    except (ValueError, TypeError, RecursionError):
        raise DamagedRecord("is not a JSON object", _AGAIN) from None
    return json.dumps(joined, ensure_ascii=False, sort_keys=True)


def _of_object(content: Mapping[str, Any]) -> DecisionRecord:
    match msgspec.convert(content, _Header).version:
        case 0:
            return msgspec.convert(_of_version_0(content), DecisionRecord)
        case 1:
            return msgspec.convert(content, DecisionRecord)
        case _:
            raise RecordError(
                "the record is of an unknown version",
                "read it with the release that wrote it, or a newer one",
            )


def _fault(message: str) -> RecordError:
    """An error of msgspec as one of ours, without the values that its message may quote."""
    found, missing = _PLACE.search(message), _MISSING.search(message)
    place = _INDEX.sub("[]", found[1]) if found else ""
    if missing:
        return RecordError(f"the record lacks {f'{place}.{missing[1]}'.lstrip('.')}", _FOREIGN)
    if place:
        return RecordError(f"the record is malformed at {place}", _FOREIGN)
    return DamagedRecord("is not a record of a decision", _AGAIN)


# --- Version 0 ---------------------------------------------------------------------------------


def _of_version_0(old: Mapping[str, Any]) -> dict[str, Any]:
    """A record of version 0, which has no version field, as one of version 1.

    Version 0 gained fields over time. The first records lack constraints, features, lengths, the balances of
    limits, and the latencies and token counts of candidates; later ones lack the tier, hidden reasoning, or
    the kind of the prompt log. What is unknown is left empty.
    """
    upgraded = {
        "constraints": {},
        "features": [],
        "lengths": {},
        "prompt_log": "text" if "prompt" in old else "hash" if "prompt_hash" in old else "off",
        **old,
        "version": 1,
    }
    goal, limits, candidates = old.get("goal"), old.get("limits"), old.get("candidates")
    if isinstance(goal, dict):
        upgraded["goal"] = {**goal, "kind": _GOALS_0.get(str(goal.get("kind")), "")}
    if isinstance(limits, list):
        upgraded["limits"] = [each for each in limits if isinstance(each, dict)]
    if isinstance(candidates, list):
        upgraded["candidates"] = [
            {**_CANDIDATE_0, **each} if isinstance(each, dict) else each for each in candidates
        ]
    return upgraded
