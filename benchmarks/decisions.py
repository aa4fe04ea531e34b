"""The time of a decision: the facts, the routing table and the choice, over 50 models and 200 rules.

What comes before, such as the classifier and the quotes, is done ahead and not measured. No two decisions are
on the same prompt.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, NamedTuple

import yaml
from rich.progress import track

from benchmarks.everyday_calls import Prompts
from benchmarks.report import Figure
from router.catalog.catalog import Catalog
from router.clock import utc_now
from router.core.decision import decide
from router.core.goals import by_price
from router.core.types import Constraints, Importance, Message, Prompt
from router.routing.router import Assessment, RouteQuery, Router
from router.rpc.assembly import build_router
from router.rules.facts import LANGUAGES, LEVELS, TASKS, Facts
from router.rules.routing_table import RoutingTable
from router.settings import Settings

__all__ = ["MODELS", "RULES", "Deciding", "catalog_text", "measure", "rules_text"]

MODELS: Final = 50
RULES: Final = 200
TARGET_US: Final = 200.0
DECISIONS: Final = 2_000
TEAMS: Final = 60
_TIERS = ("low", "medium", "high")
_PROVIDERS = ("openai", "anthropic", "google", "mistral", "deepseek", "self-hosted")


def catalog_text(models: int) -> str:
    """A catalog in YAML with models of every tier, of six providers, in two regions.

    Args:
        models: how many, ≥ 1.
    """
    chance = random.Random(50)
    entries = []
    for place in range(models):
        tier = place % len(_TIERS)
        price = round(0.05 * 6**tier * chance.uniform(0.5, 2), 3)
        entries.append(
            {
                "id": f"model-{place:02}",
                "provider": _PROVIDERS[place % len(_PROVIDERS)],
                "tier": _TIERS[tier],
                "tokenizer": {"encoding": "o200k_base", "factor": 1},
                "context_window": 128_000,
                "max_output_tokens": 16_000,
                "capabilities": ["tools", "vision"] if place % 2 else ["tools"],
                "speed": {"first_token_s": 0.5, "output_tokens_per_s": chance.randint(30, 200)},
                "regions": [("eu", "us")[place % 2]],
                "prices": [
                    {
                        "from": date(2026, 1, 1),
                        "input_usd_per_mtok": f"{price}",
                        "output_usd_per_mtok": f"{4 * price:.3f}",
                    }
                ],
            }
        )
    lengths = {tier: {"p50": 300, "p90": 1200, "p99": 3000} for tier in _TIERS}
    whole = {"tiers": list(_TIERS), "default_lengths": lengths, "models": entries}
    return yaml.safe_dump(whole, sort_keys=False)


def rules_text(rules: int) -> str:
    """A routing table in YAML as a company with many teams writes it; of 200 rules about six hold at a time.

    Args:
        rules: how many, ≥ 1.
    """
    chance = random.Random(200)
    conditions: list[Callable[[], str]] = [
        lambda: (
            f'scope.team == "team-{chance.randrange(TEAMS)}" && level == "{chance.choice(LEVELS)}"'
        ),
        lambda: f'scope.team == "team-{chance.randrange(TEAMS)}" && !batch',
        lambda: f'"{chance.choice(TASKS)}" in tasks && importance == "{chance.choice(_TIERS)}"',
        lambda: f"input_tokens > {chance.randint(100, 5000)} && complexity < {chance.random():.2f}",
        lambda: f'language == "{chance.choice(LANGUAGES)}" && turns > {chance.randint(1, 9)}',
        lambda: (
            f"hour >= {chance.randint(12, 23)} && weekday > {chance.randint(3, 6)} && !names_models"
        ),
    ]
    effects: list[Callable[[], dict[str, Any]]] = [
        lambda: {"forbidden_models": [f"model-{chance.randrange(MODELS):02}"]},
        lambda: {"max_latency_s": chance.randint(60, 300)},
        lambda: {"max_price_usd": f"{chance.uniform(0.5, 2):.2f}"},
        lambda: {"miss_cost_usd": f"{chance.uniform(0.01, 3):.2f}"},
        lambda: {"capabilities": ["tools"]},
        lambda: {"explore": 0.01},
    ]
    entries = [
        {
            "name": f"rule-{place:03}",
            "when": conditions[place % len(conditions)](),
            "then": chance.choice(effects)(),
        }
        for place in range(rules)
    ]
    return yaml.safe_dump({"rules": entries}, sort_keys=False)


class Times(NamedTuple):
    """Microseconds of one decision, and the number of rules that held.

    Attributes:
        rules: of the facts and the routing table.
        choice: of the choice.
        by_price: of sorting the candidates by price, nothing else.
        held: how many rules held.
    """

    rules: float
    choice: float
    by_price: float
    held: int

    @property
    def whole(self) -> float:
        """Of the whole decision."""
        return self.rules + self.choice


@dataclass(frozen=True)
class Deciding:
    """Requests that were assessed, to be decided one after the other.

    Attributes:
        table: that is asked.
        catalog: of the candidates.
        assessed: by request.
    """

    table: RoutingTable
    catalog: Catalog
    assessed: Sequence[tuple[RouteQuery, Assessment, Facts]]

    @classmethod
    def over(cls, router: Router, count: int, seed: int) -> Deciding:
        """Everyday prompts, of changing teams and importance.

        Args:
            router: assesses them.
            count: of requests.
            seed: of the prompts.
        """
        assert router.rules is not None
        prompts, chance = Prompts(seed), random.Random(seed)
        made = []
        for _ in track(range(count), description="assessing", transient=True):
            scope = {
                "team": f"team-{chance.randrange(TEAMS)}",
                "user": f"u-{chance.randrange(999)}",
            }
            prompt = Prompt((Message("user", prompts.text()),))
            query = RouteQuery(
                "", scope, prompt, Constraints(), None, chance.choice(list(Importance)), "", 0
            )
            assessed = router.assess(query)
            tokens = max(
                each.quote.input_tokens.tokens for each in assessed.candidates if each.quote
            )
            facts = Facts(
                query.importance,
                assessed.score.complexity,
                assessed.features,
                scope,
                query.constraints,
                None,
                tokens,
                1,
                query.batch,
                assessed.moment + timedelta(hours=chance.randrange(168)),
            )
            made.append((query, assessed, facts))
        return cls(router.rules.fitted(router.catalog), router.catalog, made)

    def times(self) -> list[Times]:
        """The time of each decision."""
        clock, found = time.perf_counter_ns, []
        for query, assessed, facts in self.assessed:
            begun = clock()
            ruling = self.table.ruling(facts)
            asked = clock()
            decide(
                assessed.candidates,
                query.constraints,
                ruling.goal or assessed.goal,
                ruling=ruling,
                complexity=assessed.score.complexity,
                top_tier=self.catalog.tiers[-1],
                moment=assessed.moment,
            )
            chosen = clock()
            sorted([each for each in assessed.candidates if each.quote is not None], key=by_price)
            steps = [(b - a) / 1000 for a, b in pairwise((begun, asked, chosen, clock()))]
            found.append(Times(steps[0], steps[1], steps[2], len(ruling.rules)))
        return found


def _router(folder: Path, models: int, rules: int) -> Router:
    catalog, table = folder / f"catalog-{models}.yaml", folder / f"rules-{rules}.yaml"
    catalog.write_text(catalog_text(models), encoding="utf-8")
    table.write_text(rules_text(rules), encoding="utf-8")
    return build_router(Settings(catalog=catalog, rules=table, ledger="memory:"), now=utc_now)


def measure(decisions: int = DECISIONS) -> Iterator[Figure]:
    """Figures of a decision over many models and rules, and of one over those that ship.

    Args:
        decisions: how many are measured.
    """
    with TemporaryDirectory() as folder:
        many = Deciding.over(_router(Path(folder), MODELS, RULES), decisions, seed=16)
    few = Deciding.over(build_router(Settings(ledger="memory:"), now=utc_now), decisions, seed=17)
    for each in (many, few):
        each.times()  # once, so that nothing is measured that happens at the first call only
    measured, shipped = many.times(), few.times()

    def p50(values: Iterable[float]) -> float:
        return statistics.median(values)

    told = f"{len(few.catalog.ids)} models, {len(few.table.rules)} rules"
    yield Figure(
        f"baseline: {MODELS} candidates sorted by price, p50",
        p50(each.by_price for each in measured),
        "µs",
    )
    yield Figure(f"baseline: what ships ({told}), p50", p50(each.whole for each in shipped), "µs")
    size = f"{MODELS} models, {RULES} rules"
    whole = [each.whole for each in measured]
    yield Figure(f"decision over {size}, p50", p50(whole), "µs", TARGET_US)
    yield Figure(f"decision over {size}, p99", statistics.quantiles(whole, n=100)[98], "µs")
    yield Figure("of it facts and rules, p50", p50(each.rules for each in measured), "µs")
    yield Figure("of it the choice, p50", p50(each.choice for each in measured), "µs")
    held = statistics.mean(each.held for each in measured)
    yield Figure("rules that held, mean", held, "rules")
