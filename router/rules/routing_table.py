"""The routing table: ordered rules with conditions, fitted to a catalog."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from router.catalog.catalog import Catalog
from router.catalog.catalog_file import closest
from router.core.bounded_cache import BoundedCache, bytes_of_pairs
from router.core.errors import BadArtifact, shown
from router.core.money import short_usd, usd_to_nanos
from router.core.ruling import NO_RULING, Effects, Rule, Ruling
from router.core.types import Goal, MissCost, QualityTarget
from router.files import MAX_TEXT_BYTES, read_bounded, sha256_of
from router.logs import logger
from router.rules.conditions import BadCondition, Conditions
from router.rules.facts import Facts
from router.rules.places import Places
from router.rules.rule_file import RuleFile, ThenEntry, bad_rules, parse_rule_file
from router.watched import FileSource, Watched

__all__ = ["RoutingTable", "Rules", "load_rules", "parse_rules", "rules_source", "watch_rules"]


_SELDOM_THE_SAME = frozenset({"complexity", "input_tokens"})
"""Facts of which nearly every request has others."""
_KNOWN_BYTES = 1 << 20


@dataclass(frozen=True)
class Rules:
    """A file of rules that has been read and checked by itself; it still has to fit the catalog.

    Attributes:
        file: its content.
        places: where its values stand.
        conditions: of its rules, in their order.
        name: what messages call it.
        version: the first digits of its SHA-256.
        ships: whether it is the table that ships. Of that, rules are left out whose tiers a catalog lacks.
    """

    file: RuleFile
    places: Places
    conditions: Conditions
    name: str
    version: str
    ships: bool = False

    def fitted(self, catalog: Catalog) -> RoutingTable:
        """The rules over the models of a catalog.

        Raises:
            BadArtifact: a rule names what the catalog does not have, or allows nothing; says where.
        """
        entries = self.file.rules
        conditions = self.conditions
        if self.ships:
            tiers = {None, *catalog.tiers}
            entries = tuple(e for e in entries if {e.then.tier_floor, e.then.tier_ceiling} <= tiers)
            if len(entries) < len(self.file.rules):
                conditions = Conditions([entry.when for entry in entries])
        rules = tuple(self._rule(self.file.rules.index(entry), catalog) for entry in entries)
        return RoutingTable(
            rules,
            tuple(entry.final for entry in entries),
            conditions,
            ZoneInfo(self.file.time_zone),
            self.version,
        )

    def _rule(self, index: int, catalog: Catalog) -> Rule:
        entry = self.file.rules[index]
        then = entry.then
        providers = {each.spec.provider for each in catalog.entries}
        known: Mapping[str, Iterable[str]] = {
            "models": catalog.ids,
            "forbidden_models": catalog.ids,
            "providers": providers,
            "forbidden_providers": providers,
            "tier_floor": catalog.tiers,
            "tier_ceiling": catalog.tiers,
            "capabilities": catalog.capabilities,
            "regions": catalog.regions,
        }
        for name, allowed in known.items():
            given: frozenset[str] | str | None = getattr(then, name)
            some = sorted(given) if isinstance(given, frozenset) else [given] if given else []
            for each in some:
                if each not in set(allowed):
                    problem = f"{shown(each)} is not in the catalog; {closest(each, allowed)}"
                    raise self._error(index, name, problem)
        effects = _effects(then, catalog.tiers)
        if (then.tier_floor or then.tier_ceiling) and not effects.tiers:
            problem = f"the floor {then.tier_floor} is above the ceiling {then.tier_ceiling}"
            raise self._error(index, "tier_floor", problem)
        return Rule(entry.name, effects, _text(then, catalog.tiers), entry.gives_way)

    def _error(self, index: int, field: str, problem: str) -> BadArtifact:
        rule, place = self.file.rules[index].name, self.places.of(("rules", index, "then", field))
        return bad_rules(self.name, f"rules[{index}] ({rule}): then.{field}: {problem} ({place})")


@dataclass(frozen=True)
class RoutingTable:
    """Rules in force. Thread-safe.

    Attributes:
        rules: in the order of the file.
        final: by rule, whether those below are not asked where it holds.
        conditions: by rule.
        zone: in which hours and days are told.
        version: of the file.
    """

    rules: tuple[Rule, ...]
    final: tuple[bool, ...]
    conditions: Conditions
    zone: ZoneInfo
    version: str
    _known: BoundedCache[Hashable, Ruling] = field(
        default_factory=lambda: BoundedCache(_KNOWN_BYTES), init=False, repr=False, compare=False
    )
    _said: set[int] = field(default_factory=set, init=False, repr=False, compare=False)

    def ruling(self, facts: Facts) -> Ruling:
        """The rules that apply to a request."""
        if not self.rules:
            return NO_RULING
        names = self.conditions.names
        values = facts.values(self.zone, self.conditions.labels, names)
        if not _SELDOM_THE_SAME.isdisjoint(names):
            return self._asked(values)
        # Most requests have the facts of an earlier one.
        key = tuple([_hashable(value) for value in values.values()])
        found = self._known.get(key)
        if found is None:
            found = self._asked(values)
            self._known.put(key, found, bytes_of_pairs(values.get("scope", {}).items()))
        return found

    def _asked(self, values: Mapping[str, Any]) -> Ruling:
        """The same, and a line in the log for each rule whose condition fails for the first time."""
        ruling = self.ruling_on(values)
        if len(self.conditions.failed) > len(self._said):
            for index in sorted(self.conditions.failed - self._said):
                self._said.add(index)
                logger().warning(
                    "rule_failed",
                    rule=self.rules[index].name,
                    rules=self.version,
                    detail="its condition has no value for some requests, and does not hold for them; "
                    "mitsumori rules check says for which",
                )
        return ruling

    def ruling_on(self, values: Mapping[str, Any]) -> Ruling:
        """The rules that apply, given the value of every variable that the conditions name."""
        applied = []
        for rule, final, holds in zip(
            self.rules, self.final, self.conditions.hold(values), strict=True
        ):
            if holds:
                applied.append(rule)
                if final:
                    break
        return Ruling(tuple(applied), self.version)


def _hashable(value: Any) -> Hashable:
    if isinstance(value, dict):
        return frozenset(value.items())
    return tuple(value) if isinstance(value, list) else value


def _effects(then: ThenEntry, tiers: Sequence[str]) -> Effects:
    allowed = frozenset[str]()
    if then.tier_floor is not None or then.tier_ceiling is not None:
        lowest = tiers.index(then.tier_floor) if then.tier_floor is not None else 0
        highest = tiers.index(then.tier_ceiling) if then.tier_ceiling is not None else len(tiers)
        allowed = frozenset(tiers[lowest : highest + 1])
    return Effects(
        models=then.models,
        forbidden_models=then.forbidden_models,
        providers=then.providers,
        forbidden_providers=then.forbidden_providers,
        tiers=allowed,
        capabilities=then.capabilities,
        regions=then.regions,
        max_price_nanos=None if then.max_price_usd is None else usd_to_nanos(then.max_price_usd),
        max_latency_s=then.max_latency_s,
        goal=_goal(then),
        defer=then.defer,
        explore=then.explore,
    )


def _goal(then: ThenEntry) -> Goal | None:
    if then.quality_target is not None:
        return QualityTarget(then.quality_target)
    return None if then.miss_cost_usd is None else MissCost(usd_to_nanos(then.miss_cost_usd))


def _text(then: ThenEntry, tiers: Sequence[str]) -> str:
    """The effects as a phrase for people."""
    parts = []
    if then.models:
        parts.append("only " + ", ".join(sorted(then.models)))
    if then.providers:
        parts.append("only models of " + ", ".join(sorted(then.providers)))
    if forbidden := sorted(then.forbidden_models | then.forbidden_providers):
        parts.append("not " + ", ".join(forbidden))
    parts += _tiers_text(then, tiers)
    if then.capabilities:
        parts.append("with " + ", ".join(sorted(then.capabilities)))
    if then.regions:
        parts.append("served in " + " or ".join(sorted(then.regions)))
    if then.max_price_usd is not None:
        parts.append(f"at most {short_usd(usd_to_nanos(then.max_price_usd))}")
    if then.max_latency_s is not None:
        parts.append(f"within {then.max_latency_s:g} s")
    if then.quality_target is not None:
        parts.append(f"P(adequate) of {100 * then.quality_target:g}% or more")
    if then.miss_cost_usd is not None:
        parts.append(f"a miss costs {short_usd(usd_to_nanos(then.miss_cost_usd))}")
    if then.defer:
        parts.append("batch work waits")
    if then.explore is not None:
        parts.append(
            f"{100 * then.explore:g}% left to chance" if then.explore else "no exploration"
        )
    return ", ".join(parts)


def _tiers_text(then: ThenEntry, tiers: Sequence[str]) -> Iterable[str]:
    floor, ceiling = then.tier_floor, then.tier_ceiling
    if floor is not None:
        yield f"tier {floor}" + (" or above" if floor != tiers[-1] else "")
    if ceiling is not None:
        yield f"tier {ceiling}" + (" or below" if ceiling != tiers[0] else "")


def parse_rules(content: bytes, *, name: str) -> Rules:
    """Read the content of a file of rules.

    Args:
        content: YAML.
        name: what messages call it.

    Raises:
        BadArtifact: the content is wrong; names the file, the rule, the line and the column.
    """
    file, places = parse_rule_file(content, name=name)
    try:
        conditions = Conditions([entry.when for entry in file.rules])
    except BadCondition as error:
        rule = f"rules[{error.index}] ({file.rules[error.index].name})"
        place = places.within(("rules", error.index, "when"), error.line, error.column)
        raise bad_rules(name, f"{rule}: when: {error.why} ({place})") from None
    return Rules(file, places, conditions, name, sha256_of(content)[:12])


def load_rules(path: Path | None = None) -> Rules:
    """Read a file of rules.

    Args:
        path: of the file; ``None``: the one that ships.

    Raises:
        BadArtifact: the file is missing or wrong.
    """
    name = str(path or "rules.yaml (shipped)")
    shipped = resources.files(__package__) / "rules.yaml"
    try:
        content = read_bounded(path, MAX_TEXT_BYTES) if path else shipped.read_bytes()
    except OSError as error:
        raise _unreadable(Path(name), str(error.strerror)) from None
    return replace(parse_rules(content, name=name), ships=path is None)


def watch_rules(path: Path) -> Watched[Rules]:
    """A file of rules that may change.

    Args:
        path: of the file.

    Raises:
        BadArtifact: the file is missing or wrong.
    """
    return Watched("rules", rules_source(path), version=lambda rules: rules.version)


def rules_source(path: Path) -> FileSource[Rules]:
    """A file of rules as a source of an input."""
    return FileSource(
        [path], lambda contents: parse_rules(contents[path], name=str(path)), _unreadable
    )


def _unreadable(path: Path, why: str) -> BadArtifact:
    return BadArtifact(
        f"{path} cannot be read ({why}); name a file of rules with --rules",
        reason="RULES_MISSING",
        field=str(path),
    )
