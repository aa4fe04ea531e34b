"""What calls run on: settings, catalog, rules and bundle, changed as one value while the server runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from router.catalog.catalog import Catalog
from router.catalog.price_history import check_past_prices, with_retired
from router.classifier.bundle import Bundle
from router.classifier.hot_swap import ServedBundle
from router.core.errors import BadArtifact, Unavailable
from router.logs import logger
from router.routing.reservations import Reservations
from router.routing.trial import Trial, models_with_arms
from router.routing.trial_plan import CanaryPlan, ShadowPlan
from router.rpc.settings_change import settings_version
from router.rpc.snapshot import Snapshot
from router.rpc.trial_input import TrialInput
from router.rules.routing_table import Rules
from router.settings import Settings
from router.watched import InputStatus, Watched

__all__ = ["LiveState", "Parts", "Sources"]


@dataclass(frozen=True, slots=True)
class Sources:
    """Inputs that are followed; ``None``: one that is not."""

    settings: Watched[Settings] | None = None
    catalog: Watched[Catalog] | None = None
    rules: Watched[Rules] | None = None
    bundle: ServedBundle | None = None
    shadow: TrialInput[ShadowPlan] | None = None
    canary: TrialInput[CanaryPlan] | None = None


@dataclass(frozen=True, slots=True)
class Parts:
    """What a router is made of besides settings.

    Attributes:
        catalog: the models.
        rules: of the routing table; ``None``: there is none.
        bundle: the classifier.
    """

    catalog: Catalog
    rules: Rules | None
    bundle: Bundle


def _as_it_is(_before: Reservations, _settings: Settings, _parts: Parts) -> Reservations:
    raise AssertionError("nothing is followed")


def _nothing(_snapshot: Snapshot) -> None:
    return


class LiveState:
    """The snapshot that new calls run on, and how it changes.

    :meth:`current` may be called from any thread; the methods that change it from one. A change builds and
    warms a whole snapshot beside the one in use, and then swaps it in by one assignment, so that no call sees
    a part of it. Calls in flight keep theirs.

    Args:
        first: to begin with.
        sources: what is followed.
        rebuild: makes reservations of those in use, and of settings and parts; raises ``BadArtifact``
            where the parts do not fit each other.
        applied: what else follows from a new snapshot; must not fail.
    """

    def __init__(
        self,
        first: Snapshot,
        sources: Sources | None = None,
        *,
        rebuild: Callable[[Reservations, Settings, Parts], Reservations] = _as_it_is,
        applied: Callable[[Snapshot], None] = _nothing,
    ) -> None:
        self._sources = sources or Sources()
        self._rebuild, self._applied = rebuild, applied
        self._since = first.reservations.router.now()
        self._snapshot = first

    def current(self) -> Snapshot:
        """The snapshot for a call that begins now. Read it once per call."""
        return self._snapshot

    @property
    def statuses(self) -> list[InputStatus]:
        """Settings, catalog, rules, bundle and what is on trial: what is in use, and what was refused."""
        followed, now = self._sources, self._snapshot
        router = now.reservations.router
        versions = {
            "settings": (followed.settings, settings_version(now.settings)),
            "catalog": (followed.catalog, router.catalog.version),
            "rules": (followed.rules, "" if router.rules is None else router.rules.version),
            "bundle": (followed.bundle, router.bundle.version),
        }
        live = [
            InputStatus(name, version, "", self._since, None) if input_ is None else input_.status
            for name, (input_, version) in versions.items()
        ]
        trials = [each.status for each in self._trials]
        return live + [each for each in trials if each is not None]

    @property
    def _trials(self) -> list[TrialInput[ShadowPlan] | TrialInput[CanaryPlan]]:
        return [each for each in (self._sources.shadow, self._sources.canary) if each is not None]

    def retry_refused(self) -> None:
        """Let the next look try again what was refused. Safe in a signal handler."""
        followed = self._sources
        for each in (followed.settings, followed.catalog, followed.rules, followed.bundle):
            if each is not None:
                each.retry_refused()
        for trial in self._trials:
            trial.retry_refused()

    def refresh_settings(self) -> None:
        """Take over changed settings, or refuse them.

        Raises:
            Unavailable: the file keeps changing.
        """
        if self._sources.settings is not None:
            self._sources.settings.refresh(lambda settings: self._swap(settings=settings))

    def refresh_catalog(self) -> None:
        """Take over a changed catalog, or refuse it. What was refused may fit it, and is tried again.

        Raises:
            Unavailable: the file keeps changing.
        """
        followed = self._sources
        if followed.catalog is not None and followed.catalog.refresh(self._adopt_catalog):
            for each in (followed.rules, followed.bundle):
                if each is not None:
                    each.reconsider()

    def refresh_rules(self) -> None:
        """Take over changed rules, or refuse them. A refused catalog may fit them, and is tried again.

        Raises:
            Unavailable: the file keeps changing.
        """
        followed = self._sources
        if (
            followed.rules is not None
            and followed.rules.refresh(lambda rules: self._swap(rules=rules))
            and followed.catalog is not None
        ):
            followed.catalog.reconsider()

    def refresh_bundle(self) -> None:
        """Take over a changed bundle, or refuse it. A refused catalog may fit it, and is tried again.

        Raises:
            Unavailable: the source does not answer.
        """
        followed = self._sources
        if (
            followed.bundle is not None
            and followed.bundle.refresh(self._adopt_bundle)
            and followed.catalog is not None
        ):
            followed.catalog.reconsider()

    def refresh_shadow(self) -> None:
        """Take over a changed shadow, or refuse it.

        Raises:
            Unavailable: a source of it does not answer.
        """
        now, followed = self._snapshot, self._sources.shadow
        shadow, router = now.reservations.shadow, now.reservations.router
        if followed is not None and shadow is not None:
            followed.refresh(now.settings.shadow, lambda trial: shadow.adopt(trial, router))

    def refresh_canary(self) -> None:
        """Take over a changed canary, or refuse it.

        Raises:
            Unavailable: a source of it does not answer.
        """
        now, followed = self._snapshot, self._sources.canary
        canary, reservations = now.reservations.canary, now.reservations
        if followed is None or canary is None:
            return

        def adopt(trial: Trial[CanaryPlan] | None) -> None:
            canary.adopt(trial, reservations.router)
            scope = {} if trial is None else trial.plan.scope
            for note in reservations.label_names.notes(scope):
                logger().warning("canary_scope_unknown", detail=note.text)

        followed.refresh(now.settings.canary, adopt)

    def begin_trials(self) -> None:
        """Look at each trial for the first time; one that is out of reach is looked for again later."""
        for name, look in self.trials.items():
            try:
                look()
            except Unavailable as error:
                logger().warning(f"{name}_unreachable", reason=error.reason, detail=error.message)

    @property
    def trials(self) -> dict[str, Callable[[], None]]:
        """What looks at each trial, by name."""
        return {"shadow": self.refresh_shadow, "canary": self.refresh_canary}

    def _adopt_catalog(self, catalog: Catalog) -> None:
        router = self._snapshot.reservations.router
        check_past_prices(catalog, router.catalog, router.now())
        if not models_with_arms(catalog, router.bundle):
            raise BadArtifact(
                f"no model of the catalog has an arm of the bundle {router.bundle.version}, or is in one of "
                "its tiers; list models of its tiers, or serve another bundle first",
                reason="ARMS_MISSING",
                field="catalog",
            )
        self._swap(catalog=with_retired(catalog, router.catalog))

    def _adopt_bundle(self, bundle: Bundle) -> None:
        router = self._snapshot.reservations.router
        lost = models_with_arms(router.catalog, router.bundle) - models_with_arms(
            router.catalog, bundle
        )
        if lost:
            raise BadArtifact(
                f"{bundle.version} has no arm for {', '.join(sorted(lost))}, which can be chosen now; "
                "train it with their arms, or restart the server to use it anyway",
                reason="ARMS_MISSING",
                field="bundle",
            )
        self._swap(bundle=bundle)

    def _swap(
        self,
        *,
        settings: Settings | None = None,
        catalog: Catalog | None = None,
        rules: Rules | None = None,
        bundle: Bundle | None = None,
    ) -> None:
        now = self._snapshot
        before, router = now.reservations, now.reservations.router
        settings = settings or now.settings
        parts = Parts(catalog or router.catalog, rules or router.rules, bundle or router.bundle)
        made = self._rebuild(before, settings, parts)
        made.warm_up()
        self._snapshot = Snapshot(settings, made)
        self._applied(self._snapshot)
        for trial in self._trials:
            trial.reconsider()
