"""Builds a request from plain arguments; refuses an argument that cannot be sent, by name."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping, Sequence
from typing import Literal, NamedTuple, TypeAlias

from mitsumori.arguments import choice_of, choices_of, message_of, text_of
from mitsumori.errors import InvalidArgument
from mitsumori.money import Amount
from mitsumori.v1 import prompt_pb2, router_pb2

__all__ = ["Importance", "Message", "Prompt", "route_request"]

Importance: TypeAlias = Literal["low", "medium", "high"]


class Message(NamedTuple):
    """One turn of a chat. ``role`` is ``system``, ``user``, ``assistant`` or ``tool``."""

    role: str
    text: str


Prompt: TypeAlias = str | Sequence[Message | tuple[str, str] | Mapping[str, object]]
"""A text, or the turns of a chat: as :class:`Message`, as pairs of role and text, or in the shape of
OpenAI's API, ``{"role": "user", "content": "…"}``."""

_ROLES = choices_of(prompt_pb2.Role.DESCRIPTOR)
_KEYS = frozenset({"role", "content", "name", "tool_call_id"})
"""Keys that a message may have; ``name`` and ``tool_call_id`` are not sent. Other keys are refused."""


def route_request(
    prompt: Prompt,
    *,
    scope: Mapping[str, str] | None = None,
    capabilities: Collection[str] = (),
    models: Collection[str] = (),
    tiers: Collection[str] = (),
    max_output_tokens: int | None = None,
    max_price_usd: Amount | None = None,
    max_latency_s: float | None = None,
    max_first_token_s: float | None = None,
    quality_target: float | None = None,
    willingness_to_pay_usd: Amount | None = None,
    importance: Importance = "medium",
    conversation_id: str = "",
    request_id: str | None = None,
    max_alternatives: int | None = None,
    quote_only: bool = False,
    batch: bool = False,
    regions: Collection[str] = (),
    explain: bool = False,
    task_id: str = "",
) -> router_pb2.RouteRequest:
    """The message that :meth:`mitsumori.Router.route` sends for these arguments.

    Args:
        prompt: a text, or the messages of a chat: dicts as OpenAI's API takes them, pairs of role and
            text, or :class:`Message`.
        scope: who asks, such as ``{"team": "search"}``.
        capabilities: what the model must be able to do, such as ``["tools"]``.
        models: only these models, by catalog id; empty: any.
        tiers: only models of these tiers; empty: any.
        max_output_tokens: the most that the call will allow, ≥ 1.
        max_price_usd: the most that the answer may cost at the 90th percentile of its length.
        max_latency_s: the most that the answer may take at the 90th percentile, seconds > 0.
        max_first_token_s: the same until its first token, for callers that stream.
        quality_target: P(adequate) to reach, 0 to 1; ``None`` leaves the goal to the importance.
        willingness_to_pay_usd: what an adequate answer is worth, > 0; weighed like the cost of a miss.
        importance: what a wrong answer would cost, ``low``, ``medium`` or ``high``; selects the default goal.
        conversation_id: ties the turns of a conversation together.
        request_id: for retries of your own; ``None`` makes a new one.
        max_alternatives: the most alternatives in the reply; ``None``: 5.
        quote_only: hold no money.
        batch: the work can wait.
        regions: only models that are served in one of these, such as ``["eu"]``; empty: anywhere.
        explain: have the decision explained.
        task_id: of the task whose turn it is: the hold is drawn from its cap; empty: none.

    Raises:
        InvalidArgument: one of them cannot be sent; names it.
    """
    if quality_target is not None and willingness_to_pay_usd is not None:
        raise InvalidArgument("quality_target", "give it or willingness_to_pay_usd, not both")
    constraints = message_of(
        router_pb2.Constraints,
        models=models,
        tiers=tiers,
        capabilities=capabilities,
        max_output_tokens=max_output_tokens,
        max_price_usd=max_price_usd,
        max_latency_s=max_latency_s,
        max_first_token_s=max_first_token_s,
        regions=regions,
    )
    for names in (
        constraints.allowed_models,
        constraints.allowed_tiers,
        constraints.required_capabilities,
        constraints.regions,
    ):
        names.sort()  # the order of a set is not the same in every process
    return message_of(
        router_pb2.RouteRequest,
        request_id=str(uuid.uuid4()) if request_id is None or request_id == "" else request_id,
        scope={} if scope is None else scope,
        prompt=_prompt(prompt),
        constraints=constraints,
        quality_target=quality_target,
        willingness_to_pay_usd=willingness_to_pay_usd,
        importance=importance,
        conversation_id=conversation_id,
        max_alternatives=max_alternatives,
        quote_only=quote_only,
        batch=batch,
        explain=explain,
        task_id=task_id,
    )


def _prompt(prompt: Prompt) -> prompt_pb2.Prompt:
    if isinstance(prompt, str):
        return prompt_pb2.Prompt(text=text_of(prompt, "prompt"))
    if isinstance(prompt, Mapping | bytes | bytearray) or not isinstance(prompt, Sequence):
        raise InvalidArgument("prompt", "write a text or a list of messages")
    messages = [_message(turn, f"prompt[{index}]") for index, turn in enumerate(prompt)]
    return prompt_pb2.Prompt(chat=prompt_pb2.Chat(messages=messages))


def _message(turn: object, where: str) -> prompt_pb2.Message:
    role, text = _role_and_text(turn, where)
    number = choice_of(role, f"{where}.role", _ROLES)
    if not isinstance(text, str):
        raise InvalidArgument(f"{where}.content", f"must be a text, not {_kind_of(text)}")
    message = prompt_pb2.Message(text=text_of(text, f"{where}.content"))
    message.role = number  # type: ignore[assignment]
    return message


def _role_and_text(turn: object, where: str) -> tuple[object, object]:
    if isinstance(turn, Mapping):
        for key, value in turn.items():
            if key not in _KEYS and value:
                named = _is_word(key)  # else it may be prompt text
                raise InvalidArgument(
                    f"{where}.{key}" if named else where,
                    f"{'' if named else 'has a key that '}is not supported yet: only role and content",
                )
        return turn.get("role"), turn.get("content")
    if isinstance(turn, tuple) and len(turn) == 2:
        return turn[0], turn[1]
    raise InvalidArgument(where, 'write {"role": "user", "content": "…"}')


def _is_word(key: object) -> bool:
    return isinstance(key, str) and key.isascii() and key.isidentifier()


def _kind_of(content: object) -> str:
    """The kind of a content that is not a text, for people; parts of OpenAI's API are named by their type."""
    if not isinstance(content, list):
        return type(content).__name__
    kinds = [part.get("type") if isinstance(part, Mapping) else None for part in content]
    named = ", ".join(dict.fromkeys(str(kind)[:40] for kind in kinds if _is_word(kind)))
    return f"parts ({named or 'unnamed'}): only text is supported yet"
