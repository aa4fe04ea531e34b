"""What calls run on: settings, catalog and bundle, changed together as one value while the server runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from router.catalog.catalog import Catalog
from router.catalog.price_history import check_past_prices, with_retired
from router.classifier.bundle import Bundle
from router.classifier.hot_swap import ServedBundle
from router.classifier.model_ability import arm_names, arm_of
from router.core.errors import BadArtifact
from router.routing.reservations import Reservations
from router.rpc.settings_change import settings_version
from router.rpc.snapshot import Snapshot
from router.settings import Settings
from router.watched import InputStatus, Watched

__all__ = ["LiveState", "Sources"]


@dataclass(frozen=True, slots=True)
class Sources:
    """Inputs that are followed; ``None``: one that is not."""

    settings: Watched[Settings] | None = None
    catalog: Watched[Catalog] | None = None
    bundle: ServedBundle | None = None


def _as_it_is(
    _before: Reservations, _settings: Settings, _catalog: Catalog, _bundle: Bundle
) -> Reservations:
    raise AssertionError("nothing is followed")


def _nothing(_snapshot: Snapshot) -> None:
    return


def _models_with_arms(catalog: Catalog, bundle: Bundle) -> set[str]:
    """Ids of the models that a bundle can judge, by an arm of theirs or of their tier."""
    arms = arm_names(bundle.manifest)
    specs = (entry.spec for entry in catalog.entries)
    return {spec.id for spec in specs if arm_of(spec.id, spec.tier, arms) is not None}


class LiveState:
    """The snapshot that new calls run on, and how it changes.

    :meth:`current` may be called from any thread; the methods that change it from one. A change builds and
    warms a whole snapshot beside the one in use, and then swaps it in by one assignment, so that no call sees
    a part of it. Calls in flight keep theirs.

    Args:
        first: to begin with.
        sources: what is followed.
        rebuild: makes reservations of those in use, and of settings, a catalog and a bundle.
        applied: what else follows from a new snapshot; must not fail.
    """

    def __init__(
        self,
        first: Snapshot,
        sources: Sources | None = None,
        *,
        rebuild: Callable[[Reservations, Settings, Catalog, Bundle], Reservations] = _as_it_is,
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
        """Settings, catalog and bundle: what is in use, and what was refused."""
        followed, now = self._sources, self._snapshot
        router = now.reservations.router
        versions = {
            "settings": (followed.settings, settings_version(now.settings)),
            "catalog": (followed.catalog, router.catalog.version),
            "bundle": (followed.bundle, router.bundle.version),
        }
        return [
            InputStatus(name, version, "", self._since, None) if input_ is None else input_.status
            for name, (input_, version) in versions.items()
        ]

    def retry_refused(self) -> None:
        """Let the next look try again what was refused. Safe in a signal handler."""
        followed = self._sources
        for each in (followed.settings, followed.catalog, followed.bundle):
            if each is not None:
                each.retry_refused()

    def refresh_settings(self) -> None:
        """Take over changed settings, or refuse them.

        Raises:
            Unavailable: the file keeps changing.
        """
        if self._sources.settings is not None:
            self._sources.settings.refresh(lambda settings: self._swap(settings=settings))

    def refresh_catalog(self) -> None:
        """Take over a changed catalog, or refuse it. A refused bundle may fit it, and is tried again.

        Raises:
            Unavailable: the file keeps changing.
        """
        followed = self._sources
        if (
            followed.catalog is not None
            and followed.catalog.refresh(self._adopt_catalog)
            and followed.bundle is not None
        ):
            followed.bundle.reconsider()

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

    def _adopt_catalog(self, catalog: Catalog) -> None:
        router = self._snapshot.reservations.router
        check_past_prices(catalog, router.catalog, router.now())
        if not _models_with_arms(catalog, router.bundle):
            raise BadArtifact(
                f"no model of the catalog has an arm of the bundle {router.bundle.version}, or is in one of "
                "its tiers; list models of its tiers, or serve another bundle first",
                reason="ARMS_MISSING",
                field="catalog",
            )
        self._swap(catalog=with_retired(catalog, router.catalog))

    def _adopt_bundle(self, bundle: Bundle) -> None:
        router = self._snapshot.reservations.router
        lost = _models_with_arms(router.catalog, router.bundle) - _models_with_arms(
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
        bundle: Bundle | None = None,
    ) -> None:
        now = self._snapshot
        before, router = now.reservations, now.reservations.router
        settings = settings or now.settings
        made = self._rebuild(before, settings, catalog or router.catalog, bundle or router.bundle)
        made.warm_up()
        self._snapshot = Snapshot(settings, made)
        self._applied(self._snapshot)
