"""What the policy does with each turn of a dialogue, beside what it does with the task alone.

The dialogues are those of ``examinations/dialogues/``: sets a to c were looked at while the rules were
written, the words of d were not. Baselines read the whole conversation, as the router did before, or the last
message alone. ``BUNDLES=directory,…`` chooses other bundles.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.everyday import BUNDLES, EXAMINATIONS
from benchmarks.report import Figure
from router.core.types import Constraints, Importance, Message, Prompt
from router.routing.router import RouteQuery, Router
from router.rpc.assembly import build_router
from router.settings import Settings

__all__ = ["DIALOGUES", "LOOKED_AT", "UserTurn", "measure", "read_dialogues"]

DIALOGUES = EXAMINATIONS / "dialogues"
LOOKED_AT = ("a", "b", "c")
"""Sets against which the rules of ``router/classifier/features/turn_form.py`` were written."""
FOLLOW_UPS, CLOSINGS, GREETINGS = 0.95, 1.0, 0.0
"""Least share of follow-ups at the tier of their task and of closings that are trivial, and the most that a
greeting may change a complexity."""
HARD = 3
KINDS = ("task", "follow_up", "closing", "greeting")
HELLO = {
    "en": ("Hi! ", "hi", "Hello! How can I help?"),
    "ja": ("こんにちは！", "こんにちは", "ご用件をどうぞ。"),
}
"""A greeting before a request, one in a message of its own, and the answer to that, by language."""


@dataclass(frozen=True)
class UserTurn:
    """A message of the user with the chat before it.

    Attributes:
        set: name of its set.
        language: ``en`` or ``ja``.
        kind: ``task``, ``follow_up``, ``closing`` or ``greeting``.
        level: 0 trivial, 1 routine, 2 demanding, 3 expert.
        prompt: the chat up to the next message of the user, tool messages included.
        task: the request in hand, as it was made.
        alone: what the user wants now, written out as one message by hand.
    """

    set: str
    language: str
    kind: str
    level: int
    prompt: Prompt
    task: str
    alone: str


def read_dialogues(folder: Path = DIALOGUES) -> list[UserTurn]:
    """Every message of the user in every set of the folder."""
    found = []
    for path in sorted(folder.glob("*.jsonl")):
        for row in map(json.loads, path.read_text(encoding="utf-8").splitlines()):
            turns = row["turns"]
            said = tuple(Message(turn["role"], turn["text"]) for turn in turns)
            for place, turn in enumerate(turns):
                if turn["role"] == "user":
                    end = _end(said, place)
                    about = (
                        turn["kind"],
                        turn["level"],
                        Prompt(said[:end]),
                        turn["task"],
                        turn["alone"],
                    )
                    found.append(UserTurn(path.stem, row["language"], *about))
    return found


def _end(said: Sequence[Message], place: int) -> int:
    """Where the chat ends that a model goes on with: after the last result of a tool, if there is one."""
    end = place + 1
    for number, one in enumerate(said[place + 1 :], start=place + 2):
        if one.role == "user":
            break
        if one.role == "tool":
            end = number
    return end


def _message(text: str) -> Prompt:
    return Prompt((Message("user", text),))


def whole(prompt: Prompt) -> Prompt:
    """What the router read before: every message but those of the system."""
    return _message("\n\n".join(one.text for one in prompt.messages if one.role != "system"))


def last(prompt: Prompt) -> Prompt:
    """The last message of the user."""
    return _message([one.text for one in prompt.messages if one.role == "user"][-1])


class Judge:
    """Complexity and tier of prompts by one router without limits, each prompt once."""

    def __init__(self, router: Router) -> None:
        self._router = router
        self._known: dict[Prompt, tuple[float, str]] = {}

    def judged(self, prompt: Prompt) -> tuple[float, str]:
        """The complexity of a prompt, and the tier of the model that the policy chooses for it."""
        if prompt not in self._known:
            query = RouteQuery(
                request_id="",
                scope={},
                prompt=prompt,
                constraints=Constraints(),
                goal=None,
                importance=Importance.MEDIUM,
                conversation_id="",
                max_alternatives=0,
                quote_only=True,
            )
            assessed = self._router.assess(query)
            chosen = self._router.decide(query, assessed, assessed.candidates).decision.chosen
            self._known[prompt] = (assessed.score.complexity, chosen.model.tier)
        return self._known[prompt]

    def complexity(self, prompt: Prompt) -> float:
        """0..1."""
        return self.judged(prompt)[0]

    def tier(self, prompt: Prompt) -> str:
        """Of the chosen model."""
        return self.judged(prompt)[1]

    def third(self, prompt: Prompt) -> int:
        """0, 1 or 2: the third of the scale in which the complexity is."""
        return min(int(3 * self.complexity(prompt)), 2)


def share(some: Sequence[UserTurn], holds: Callable[[UserTurn], bool]) -> float:
    """The share of turns of which something holds; 1 of none."""
    return sum(map(holds, some)) / len(some) if some else 1.0


Reading = Callable[[Prompt], Prompt]
Holds = Callable[[UserTurn, Prompt], bool]
READINGS: dict[str, Reading] = {
    "": lambda prompt: prompt,
    "· baseline whole conversation": whole,
    "· baseline last message": last,
}


def turn_figures(title: str, judge: Judge, turns: Sequence[UserTurn]) -> Iterator[Figure]:
    """Shares of turns that get what their task alone gets, by kind, beside other readings.

    A tier depends on the length of the chat and of the answer, too: it has no target.
    """
    kinds = {kind: [one for one in turns if one.kind == kind] for kind in KINDS}
    follow_ups, tasks, ends = (
        kinds["follow_up"],
        kinds["task"],
        [*kinds["closing"], *kinds["greeting"]],
    )

    def shares(
        name: str, some: Sequence[UserTurn], target: float | None, holds: Holds
    ) -> Iterator[Figure]:
        for label, reading in READINGS.items():
            value = share(some, lambda one, read=reading: holds(one, read(one.prompt)))  # type: ignore[misc]
            goal = None if label else target
            yield Figure(label or f"{title}: {name} ({len(some)})", value, "", goal, ">=")

    yield from shares(
        "follow-ups in the third of their task",
        follow_ups,
        FOLLOW_UPS,
        lambda one, read: judge.third(read) == judge.third(_message(one.task)),
    )
    yield from shares(
        "follow-ups at the tier of their task alone",
        follow_ups,
        None,
        lambda one, read: judge.tier(read) == judge.tier(_message(one.task)),
    )
    yield from shares(
        "follow-ups at the tier of one message that says it all",
        follow_ups,
        None,
        lambda one, read: judge.tier(read) == judge.tier(_message(one.alone)),
    )
    yield from shares(
        "new tasks at their tier alone",
        tasks,
        None,
        lambda one, read: judge.tier(read) == judge.tier(_message(one.alone)),
    )
    yield from shares(
        "closings and greetings in the lowest third",
        ends,
        CLOSINGS,
        lambda _, read: judge.third(read) == 0,
    )


def greeting_figures(title: str, judge: Judge, turns: Sequence[UserTurn]) -> Iterator[Figure]:
    """The most that a greeting changes the complexity of a task, before it and in its message."""
    hard = [one for one in turns if one.kind == "task" and one.level == HARD]

    def turned(one: UserTurn) -> Prompt:
        _, greeting, reply = HELLO[one.language]
        said = (("user", greeting), ("assistant", reply), ("user", one.alone))
        return Prompt(tuple(Message(*turn) for turn in said))

    def within(one: UserTurn) -> Prompt:
        return _message(HELLO[one.language][0] + one.alone)

    for name, greeted, target in (("turn", turned, GREETINGS), ("word", within, None)):
        # A message of its own is the whole conversation, and the last message.
        for label, reading in READINGS.items() if target is not None else [("", READINGS[""])]:
            change = max(
                abs(judge.complexity(reading(greeted(one))) - judge.complexity(_message(one.alone)))
                for one in hard
            )
            goal = None if label else target
            full = f"{title}: most change by a greeting as a {name} ({len(hard)} hard tasks)"
            yield Figure(label or full, change, "", goal)


def measure() -> Iterator[Figure]:
    """Every figure for every bundle: the sets that were looked at, the other ones, by language."""
    turns = read_dialogues()
    for directory in BUNDLES:
        router = build_router(Settings(bundle=directory))
        router.warm_up()
        judge = Judge(router)
        for name, seen in (("looked at", True), ("held out", False)):
            some = [one for one in turns if (one.set in LOOKED_AT) == seen]
            for language in HELLO:
                title = f"{directory.name}, {name}, {language}"
                mine = [one for one in some if one.language == language]
                yield from turn_figures(title, judge, mine)
                yield from greeting_figures(title, judge, mine)
