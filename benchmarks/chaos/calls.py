"""Calls that are repeated with the same body, at one replica or another, until there is an answer."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Sequence

import grpc
from google.protobuf.message import Message

from benchmarks.secured import Secured
from mitsumori import CallFailed
from mitsumori.retrying_channel import RetryingChannel
from mitsumori.v1 import router_pb2_grpc

__all__ = ["Answer", "FailoverChannel", "ReplicaChannel", "Unanswered"]

Answer = Message | CallFailed
"""The answer of a server: a reply, or a refusal."""

_TIMEOUT_S = 8.0
_NO_ANSWER = frozenset({"UNAVAILABLE", "CANCELLED", "DEADLINE_EXCEEDED"})
"""Codes that leave open whether the server acted; only another try can tell."""
_OVERLOADED = "OVERLOADED"
"""The reason of a server that had no time for a call, and has done nothing for it."""
_MOST_PAUSE_S = 0.4


def _is_answer(error: CallFailed) -> bool:
    return error.code not in _NO_ANSWER and error.reason != _OVERLOADED


class Unanswered(Exception):
    """Nobody answered until it was time to give up."""


class ReplicaChannel(RetryingChannel):
    """A connection to one replica, to one of its processes, shared by callers; one try a call.

    Args:
        address: of the replica.
        secured: has the root and the API key.
    """

    _options = (*RetryingChannel._options, ("grpc.use_local_subchannel_pool", 1))

    def __init__(self, address: str, secured: Secured) -> None:
        super().__init__(
            address, timeout_s=_TIMEOUT_S, attempts=1, tls=secured.tls, api_key=secured.key
        )
        self.stub = router_pb2_grpc.RouterServiceStub(self.channel)  # type: ignore[no-untyped-call]


class FailoverChannel:
    """The replicas as one caller sees them: it stays at one until that does not answer.

    Args:
        channels: one per replica, at least one.
        choices: how long to pause, and where to begin.
    """

    def __init__(self, channels: Sequence[ReplicaChannel], choices: random.Random) -> None:
        self._channels = channels
        self._choices = choices
        self._at = choices.randrange(len(channels))
        self.give_up_at = float("inf")
        self.unanswered: Counter[str] = Counter()

    def ask(self, call: str, request: Message) -> Answer:
        """The answer to a call, however many tries it takes.

        Raises:
            Unanswered: it is past ``give_up_at`` (of the monotonic clock).
        """
        pause_s = 0.05
        while True:
            channel = self._channels[self._at]
            try:
                reply: Message = channel.call(getattr(channel.stub, call), request)
                return reply
            except CallFailed as error:
                if _is_answer(error):
                    return error
                self.unanswered[error.code] += 1
            if time.monotonic() > self.give_up_at:
                raise Unanswered
            self._at = (self._at + 1) % len(self._channels)
            time.sleep(pause_s * self._choices.uniform(0.5, 1.0))
            pause_s = min(2 * pause_s, _MOST_PAUSE_S)

    def ask_twice(self, call: str, request: Message) -> list[Answer]:
        """The same call twice at once, at two replicas where there are two; what was answered.

        Raises:
            Unanswered: see :meth:`ask`.
        """
        chosen = [self._channels[(self._at + step) % len(self._channels)] for step in (0, 1)]
        calls = [
            getattr(channel.stub, call).future(
                request, timeout=_TIMEOUT_S, metadata=channel.credentials.metadata()
            )
            for channel in chosen
        ]
        answers: list[Answer] = []
        for channel, running in zip(chosen, calls, strict=True):
            try:
                answers.append(running.result())
            except grpc.RpcError as error:
                failed = channel.failure(error)
                if _is_answer(failed):
                    answers.append(failed)
                else:
                    self.unanswered[failed.code] += 1
        return answers or [self.ask(call, request)]
