"""The models of a catalog for one bundle and one time of unchanged prices: what no prompt changes, once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from router.catalog.catalog import Catalog
from router.catalog.tokens import TokenCounter, TokenRule, scaled
from router.classifier.manifest import BundleManifest
from router.classifier.model_ability import arm_names, arm_of, odds_of, prompt_lines
from router.core.corrections import Corrections
from router.core.quote_table import QuoteTable, QuoteTerms, Timings
from router.core.timing import timing_at
from router.core.types import Candidate, Prompt, Score, TokenCount

__all__ = ["CandidateTable"]


class CandidateTable:
    """Makes the candidates of a call. Safe to share between threads.

    Args:
        catalog: the models.
        manifest: of the bundle.
        moment: at which the rates hold, aware.
    """

    def __init__(self, catalog: Catalog, manifest: BundleManifest, moment: datetime) -> None:
        self._catalog, self._manifest = catalog, manifest
        self._priced = catalog.at(moment)
        self._quotes = QuoteTable(self._priced.models)
        arms = arm_names(manifest)
        named = [arm_of(one.id, one.tier, arms) for one in self._priced.models]
        self._rows = [
            (model, arm, odds_of(model, arm, manifest))
            for model, arm in zip(self._priced.models, named, strict=True)
        ]
        self._lengths = [
            (arm or "", catalog.default_lengths[model.tier]) for model, arm, _ in self._rows
        ]
        # Models of the same tokenizer have the same number of tokens.
        rules: dict[tuple[TokenRule, bool], int] = {}
        self._rule_of = [
            rules.setdefault((entry.token_rule, entry.exact_tokens), len(rules))
            for entry in catalog.entries
        ]
        self._rules = list(rules)
        self._encodings = tuple({rule.encoding for rule, _ in rules})
        self._timed: tuple[Corrections, int, Timings] | None = None

    def holds(self, catalog: Catalog, manifest: BundleManifest, moment: datetime) -> bool:
        """Whether it is the table of a catalog and a bundle at a moment.

        Args:
            catalog: the same object as when the table was made.
            manifest: likewise.
            moment: aware.
        """
        return (
            self._catalog is catalog
            and self._manifest is manifest
            and self._priced.start <= moment < self._priced.end
        )

    def counts(self, tokens: TokenCounter, prompt: Prompt) -> list[TokenCount]:
        """The input tokens of a prompt by token rule, for :meth:`candidates`.

        Raises:
            InvalidInput: the prompt cannot be counted.
        """
        counted = {encoding: tokens.count(prompt, encoding) for encoding in self._encodings}
        return [scaled(counted[rule.encoding], rule, exact=exact) for rule, exact in self._rules]

    def candidates(
        self,
        counts: list[TokenCount],
        score: Score,
        corrections: Corrections,
        scope: Mapping[str, str],
        terms: QuoteTerms,
        moment: datetime,
        in_flight: Callable[[], Mapping[str, int]],
    ) -> list[Candidate]:
        """Every model in the order of the catalog, without limits.

        Args:
            counts: of :meth:`counts`.
            score: of the prompt.
            corrections: what settled usage has taught.
            scope: labels of the request, by which corrections go.
            terms: of the quotes.
            moment: of the call, aware; its hour says how fast models are.
            in_flight: returns, by id of the model, the calls that have not ended; asked only where they
                matter.
        """
        told = score.lengths
        offers = self._quotes.quotes(
            [counts[rule] for rule in self._rule_of],
            [told.get(arm, default) for arm, default in self._lengths],
            [corrections.of(model.id, scope) for model, _, _ in self._rows]
            if corrections.learned
            else None,
            terms,
            self._timings(corrections, moment, in_flight) if corrections.timings else None,
        )
        lines = prompt_lines(self._manifest, score)
        return [
            Candidate(model, arm, odds.p(score, lines), offer, basis=odds.basis)
            for (model, arm, odds), offer in zip(self._rows, offers, strict=True)
        ]

    def _timings(
        self,
        corrections: Corrections,
        moment: datetime,
        in_flight: Callable[[], Mapping[str, int]],
    ) -> Timings:
        """How long each model takes at the hour of a moment; made once for what was learned and the hour."""
        hour, latest = moment.astimezone(UTC).hour, self._timed
        if latest is None or latest[0] is not corrections or latest[1] != hour:
            rows = [
                timing_at(corrections.timings, model.id, model.speed, hour)
                for model, _, _ in self._rows
            ]
            # Two threads may make it at once; either is right.
            learned = [corrections.timings.get(model.id) for model, _, _ in self._rows]
            exponents = [0.0 if each is None else each.load_exponent for each in learned]
            latest = self._timed = corrections, hour, Timings(rows, exponents)
        timings = latest[2]
        if timings.exponents is None:
            return timings
        counts = in_flight()
        return timings.under_load([counts.get(model.id, 0) for model, _, _ in self._rows])
