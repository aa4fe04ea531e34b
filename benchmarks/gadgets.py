"""How far gadgets move the choice of a model, and what the guard against them is worth.

A gadget is a text put before or after a prompt to make it look harder. ``python -m benchmarks.gadgets``
searches for them, against routers without and with the guard, on easy prompts of sets a to d, and writes what
it finds into ``examinations/gadgets/``; ``python -m benchmarks gadgets`` measures how many easy prompts of
the other sets they move to a higher tier under the default policy. ``BUNDLES=directory,…`` chooses others.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.arguments import Parser
from benchmarks.conversations import Judge
from benchmarks.everyday import (
    BUNDLES,
    EXAMINATIONS,
    LOOKED_AT,
    Examination,
    figure,
    order_agreement,
    p50_ms,
    ratio,
    read_examinations,
)
from benchmarks.report import Figure
from router.classifier.features.lexical import lexical_features
from router.classifier.gadget_guard import EXTREME
from router.cli.errors import errors_in_one_line
from router.core.types import Message, Prompt
from router.routing.classified_prompt import classified
from router.routing.router import Router
from router.rpc.assembly import build_router
from router.settings import Settings
from training.gadgets.search import Effort, search
from training.gadgets.units import JOINTS, KINDS, PHRASES, PLACES, Gadget, pools
from training.requests.request_set import read_requests

__all__ = ["AGAINST", "FOUND", "measure", "read_gadgets"]

FOUND = EXAMINATIONS / "gadgets"
AGAINST = ("open", "guarded")
"""Against what a gadget was searched for: a router that reads the whole text, or one with the guard."""
EASY = 1
"""Highest level of the prompts that get gadgets."""
HALVED, ORDER_LOST, SUSPECTED = 0.5, 0.002, 0.05
"""The most of the upgrade rate that may be left, of the order lost, and of honest prompts suspected."""
LOOK_US = 30.0
EFFORT = {"static": Effort(), "multilingual": Effort(steps=16, tries=10, batch=8)}
"""Of a search, by bundle: a slower encoder is asked less often."""


def _prompt(text: str) -> Prompt:
    return Prompt((Message("user", text),))


def read_gadgets(bundle: str, against: str) -> list[Gadget]:
    """What was found against a bundle; empty where nothing was searched for."""
    path = FOUND / f"{bundle}_{against}.jsonl"
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8").splitlines()
    return [Gadget(**json.loads(line)) for line in lines]


def by_hand() -> list[Gadget]:
    """Each phrase that was written by hand, before and after a prompt."""
    return [Gadget(text, place, JOINTS[0], "phrases") for text in PHRASES for place in PLACES]


def easy_prompts(exam: Examination, *, looked_at: bool) -> list[str]:
    """The easy prompts of the sets that were looked at, or of the others."""
    rows = (exam.levels <= EASY) & (np.isin(exam.sets, LOOKED_AT) == looked_at)
    return [str(text) for text in exam.texts[rows]]


# --- Search --------------------------------------------------------------------------------------


def found_against(router: Router, prompts: Sequence[str], effort: Effort) -> Iterator[Gadget]:
    """A gadget of each kind in each place."""

    def complexity(text: str) -> float:
        return classified(router.bundle, _prompt(text), router.guard).score.complexity

    units = pools(read_requests())
    for number, (kind, place) in enumerate((kind, place) for kind in KINDS for place in PLACES):
        blank = Gadget("", place, JOINTS[number % 2], kind)
        yield search(complexity, prompts, units[kind], blank, seed=number, effort=effort)


def search_all(directories: Sequence[Path], kinds_of_router: Sequence[str]) -> None:
    prompts = easy_prompts(read_examinations(), looked_at=True)
    FOUND.mkdir(parents=True, exist_ok=True)
    for directory in directories:
        guarded = build_router(Settings(bundle=directory))
        for against in kinds_of_router:
            router = guarded if against == "guarded" else replace(guarded, guard=None)
            path = FOUND / f"{directory.name}_{against}.jsonl"
            lines = []
            for gadget in found_against(router, prompts, EFFORT.get(directory.name, Effort())):
                row = {name: getattr(gadget, name) for name in ("kind", "place", "joint", "text")}
                lines.append(json.dumps(row, ensure_ascii=False) + "\n")
                print(
                    f"{directory.name}, {against}: {gadget.kind} as a {gadget.place}",
                    file=sys.stderr,
                )
            path.write_text("".join(lines), encoding="utf-8")


# --- Figures -------------------------------------------------------------------------------------


class Tiers:
    """The place of the tier that a router chooses for texts."""

    def __init__(self, router: Router) -> None:
        self._judge, self._places = Judge(router), router.catalog.tiers

    def of(self, text: str) -> int:
        return self._places.index(self._judge.tier(_prompt(text)))

    def upgraded(
        self, prompts: Sequence[str], gadgets: Sequence[Gadget], honest: Tiers
    ) -> np.ndarray:
        """Of each prompt, the share of the gadgets that raise its tier above the one of the prompt alone."""
        return np.array(
            [
                np.mean([self.of(one.on(prompt)) > honest.of(prompt) for one in gadgets])
                for prompt in prompts
            ]
        )


def upgrade_figures(
    title: str,
    prompts: Sequence[str],
    gadgets: Sequence[Gadget],
    open_: Tiers,
    guarded: Tiers,
    target: float | None = HALVED,
) -> Iterator[Figure]:
    """The upgrade rate with and without the guard; the tier without a gadget is that of the open router."""
    without = open_.upgraded(prompts, gadgets, open_)
    with_guard = guarded.upgraded(prompts, gadgets, open_)
    named = f"{title} ({len(gadgets)})"
    yield figure(f"{named}: upgraded", ratio(with_guard), len(prompts))
    yield figure("· baseline without the guard", ratio(without), len(prompts))
    left = with_guard.mean() / max(without.mean(), 1e-9)
    yield Figure(f"{named}: upgrades that are left", float(left), "×", target)


def honest_figures(
    title: str, exam: Examination, open_: Router, guarded: Router
) -> Iterator[Figure]:
    """What the guard does to prompts without gadgets."""
    assert guarded.guard is not None
    before = [classified(open_.bundle, _prompt(text), None) for text in exam.texts]
    after = [classified(guarded.bundle, _prompt(text), guarded.guard) for text in exam.texts]
    suspected = np.array([one.suspected for one in after], dtype=float)
    yield figure(f"{title}: suspected", ratio(suspected), len(suspected), "", SUSPECTED, "<=")
    old = np.array([one.score.complexity for one in before])
    new = np.array([one.score.complexity for one in after])
    changed = (old != new).astype(float)
    yield figure(f"{title}: scored otherwise", ratio(changed), len(changed))
    for language in sorted(set(exam.languages)):
        rows = exam.languages == language
        levels = exam.levels[rows]
        ordered = [order_agreement(levels, some[rows]) for some in (new, old)]
        for label, statistic in zip(
            (f"{title}, {language}: order", "· baseline without the guard"), ordered, strict=True
        ):
            yield figure(label, statistic, len(levels))
        one = np.ones((len(levels), 1))
        lost = float((ordered[1](one) - ordered[0](one))[0])
        yield Figure(f"{title}, {language}: order lost", lost, "", ORDER_LOST)


def some(exam: Examination, rows: np.ndarray) -> Examination:
    return Examination(exam.sets[rows], exam.texts[rows], exam.languages[rows], exam.levels[rows])


def time_figures(title: str, guarded: Router, texts: list[str]) -> Iterator[Figure]:
    """What the guard costs each call; one that is suspected is also read in two parts more."""
    guard = guarded.guard
    assert guard is not None
    features = {text: lexical_features(text) for text in texts}
    works = {
        "guard": lambda text: guard.suspects(EXTREME, features[text]),
        "whole": lambda text: classified(guarded.bundle, _prompt(text), None),
    }
    found = p50_ms(works, texts)
    yield Figure(f"{title}: a look of the guard, p50", 1000 * found["guard"], "µs", LOOK_US)
    yield Figure("· baseline features, encode and classify, p50", 1000 * found["whole"], "µs")


def measure() -> Iterator[Figure]:
    """Every figure for every bundle, on prompts on which nothing was searched or chosen."""
    exam = read_examinations()
    prompts = easy_prompts(exam, looked_at=False)
    unseen = ~np.isin(exam.sets, LOOKED_AT)
    for directory in BUNDLES:
        guarded = build_router(Settings(bundle=directory))
        guarded.warm_up()
        open_ = replace(guarded, guard=None)
        tiers = Tiers(open_), Tiers(guarded)
        name = directory.name
        groups = {f"{name}: by hand": by_hand()}
        for against in AGAINST:
            gadgets = read_gadgets(name, against)
            groups |= {
                f"{name}: searched against {against}, {kind}": [
                    one for one in gadgets if one.kind == kind
                ]
                for kind in KINDS
            } | {f"{name}: searched against {against}, all": gadgets}
        for title, group in groups.items():
            if group:
                # A part of a set is shown; what was searched for against the guard passes it by design.
                target = HALVED if title.endswith(("by hand", "against open, all")) else None
                yield from upgrade_figures(title, prompts, group, *tiers, target)
        yield from honest_figures(f"{name}: unseen sets", some(exam, unseen), open_, guarded)
        yield from honest_figures(f"{name}: sets looked at", some(exam, ~unseen), open_, guarded)
        yield from time_figures(name, guarded, exam.texts.tolist())


def main(words: list[str]) -> int:
    parser = Parser(prog="python -m benchmarks.gadgets", description=__doc__)
    parser.add_argument(
        "against", nargs="*", metavar="against", help="open, guarded; without: both"
    )
    asked: list[str] = parser.parse_args(words).against
    unknown = [name for name in asked if name not in AGAINST]
    if unknown:
        print(f"error: against {unknown[0]!r}; choose from {', '.join(AGAINST)}", file=sys.stderr)
        return 2
    search_all(BUNDLES, asked or AGAINST)
    return 0


if __name__ == "__main__":
    with errors_in_one_line():
        sys.exit(main(sys.argv[1:]))
