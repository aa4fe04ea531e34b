"""A shadow or a canary as an input: the parts that the settings name, followed as the live ones are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from router.catalog.catalog import catalog_source
from router.classifier.hot_swap import BundleInput, open_bundle_source
from router.files import sha256_of
from router.routing.trial import Trial, TrialName
from router.routing.trial_plan import TrialPlan
from router.rules.routing_table import rules_source
from router.settings import Settings
from router.watched import InputSource, InputStatus, Revision, Watched

__all__ = ["TrialInput"]

P = TypeVar("P", bound=TrialPlan)
_NONE = Revision("none", "")


class _Sources(Generic[P]):
    """The sources of one plan.

    Args:
        plan: names them.
        settings: say where encoders, keys and the registry are.
    """

    def __init__(self, plan: P, settings: Settings) -> None:
        self.plan = plan
        self._sources: dict[str, InputSource[Any]] = {}
        self._found: dict[str, Revision] = {}
        self._loaded: dict[str, tuple[str, Any]] = {}
        if plan.bundle is not None:
            opened = open_bundle_source(plan.bundle, settings.registry, settings.registry_cache)
            self._sources["bundle"] = BundleInput(
                opened, settings.encoders, settings.bundle_public_keys
            )
        if plan.catalog is not None:
            self._sources["catalog"] = catalog_source(plan.catalog)
        if plan.rules is not None:
            self._sources["rules"] = rules_source(plan.rules)

    def revision(self, of: Callable[[InputSource[Any]], Revision]) -> Revision:
        """All parts as one.

        Args:
            of: the revision of one of them.
        """
        self._found = {name: of(source) for name, source in self._sources.items()}
        keys = " ".join(each.key for each in self._found.values())
        places = ", ".join(each.location for each in self._found.values())
        return Revision(sha256_of(f"{self.plan.version} {keys}".encode()), places)

    def trial(self) -> Trial[P]:
        """The parts; those that have not changed are not loaded again."""
        for name, source in self._sources.items():
            key = self._found[name].key
            if self._loaded.get(name, ("", None))[0] != key:
                self._loaded[name] = key, source.load()
        return Trial(self.plan, **{name: value for name, (_, value) in self._loaded.items()})


class _TrialSource(Generic[P]):
    """Follows the parts of whatever plan there is."""

    def __init__(self, settings: Settings) -> None:
        self.plan: P | None = None
        self._settings = settings
        self._sources: _Sources[P] | None = None

    def find(self) -> Revision:
        """The current revision of all parts."""
        if self.plan is None:
            self._sources = None
            return _NONE
        if self._sources is None or self._sources.plan != self.plan:
            self._sources = _Sources(self.plan, self._settings)
        return self._sources.revision(lambda source: source.find())

    def settled(self) -> Revision:
        """The revision of all parts once they rest."""
        if self._sources is None:
            return _NONE
        return self._sources.revision(lambda source: source.settled())

    def load(self) -> Trial[P] | None:
        """The loaded parts; ``None``: there is no plan."""
        return None if self._sources is None else self._sources.trial()


class TrialInput(Generic[P]):
    """What is tried, as the settings say. It begins with nothing, so that no trial can fail a start.

    :attr:`status` may be read from any thread, the methods are called from one at a time.

    Args:
        name: of the trial.
        settings: say where encoders, keys and the registry are; none of these can change.
    """

    def __init__(self, name: TrialName, settings: Settings) -> None:
        self._source = _TrialSource[P](settings)
        self._watched = Watched[Trial[P] | None](
            name, self._source, version=lambda trial: "" if trial is None else trial.version
        )

    @property
    def status(self) -> InputStatus | None:
        """What is tried, and what was refused; ``None``: nothing is, nor is to be."""
        status = self._watched.status
        idle = self._source.plan is None and not status.version and status.refusal is None
        return None if idle else status

    def retry_refused(self) -> None:
        """Let the next :meth:`refresh` try again what was refused. Safe in a signal handler."""
        self._watched.retry_refused()

    def reconsider(self) -> None:
        """Let the next :meth:`refresh` try again what was refused, since what it must fit has changed."""
        self._watched.reconsider()

    def refresh(self, plan: P | None, adopt: Callable[[Trial[P] | None], object]) -> None:
        """Take over what has changed, or refuse it.

        Args:
            plan: by the settings of now.
            adopt: takes what is tried, or ``None``; raises ``MitsumoriError`` to refuse it.

        Raises:
            Unavailable: a source does not answer; what is tried stays.
        """
        self._source.plan = plan
        self._watched.refresh(adopt)
