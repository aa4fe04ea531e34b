"""Parts on trial: another bundle, catalog or routing table beside the live ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Generic, Literal, TypeVar

from router.catalog.catalog import Catalog
from router.classifier.bundle import Bundle
from router.classifier.model_ability import arm_names, arm_of
from router.core.errors import BadArtifact, MitsumoriError
from router.core.types import Reason
from router.files import sha256_of
from router.logs import logger
from router.routing.router import Router
from router.routing.trial_plan import TrialPlan
from router.rules.routing_table import Rules

__all__ = [
    "Fitted",
    "FittedTrial",
    "Trial",
    "TrialName",
    "models_with_arms",
]

TrialName = Literal["shadow", "canary"]


P = TypeVar("P", bound=TrialPlan)


@dataclass(frozen=True)
class Trial(Generic[P]):
    """The loaded parts of a plan; ``None``: the live one.

    Attributes:
        plan: what is tried, and on what.
        bundle: of the plan.
        catalog: of the plan.
        rules: of the plan.
    """

    plan: P
    bundle: Bundle | None = None
    catalog: Catalog | None = None
    rules: Rules | None = None

    @property
    def parts(self) -> str:
        """The parts with their versions, for people."""
        found = (
            "" if self.bundle is None else f"bundle {self.bundle.version}",
            "" if self.catalog is None else f"catalog {self.catalog.version}",
            "" if self.rules is None else f"rules {self.rules.version}",
        )
        return ", ".join(filter(None, found))

    @cached_property
    def version(self) -> str:
        """The parts, and the version of the plan."""
        return f"{self.parts} ({self.plan.version})"

    @cached_property
    def id(self) -> str:
        """A short name of the parts and the plan together, twelve hexadecimal digits."""
        return sha256_of(self.version.encode())[:12]

    def router(
        self, live: Router, notes: tuple[Reason, ...] = (), *, answers: bool = False
    ) -> Router:
        """The live router with the parts of the trial.

        Args:
            live: decides now.
            notes: reasons that its decisions have.
            answers: whether its decisions are answers, which are settled at the prices of the live catalog.

        Raises:
            BadArtifact: the parts do not fit each other or the live ones, have no arm for models that the
                live ones can choose, or would answer with models that the live catalog lacks.
        """
        made = live.beside(self.bundle, self.catalog, self.rules, notes)
        bundle = made.bundle
        lost = models_with_arms(live.catalog, live.bundle) - models_with_arms(live.catalog, bundle)
        if lost:
            raise BadArtifact(
                f"{bundle.version} has no arm for {', '.join(sorted(lost))}, which can be chosen now, and "
                "cannot be compared; try a bundle that is trained with their arms",
                reason="ARMS_MISSING",
                field="bundle",
            )
        if not models_with_arms(made.catalog, bundle):
            raise BadArtifact(
                f"no model of the catalog has an arm of the bundle {bundle.version}, or is in one of its "
                "tiers; list models of its tiers, or try it with another bundle",
                reason="ARMS_MISSING",
                field="catalog",
            )
        unknown = set(made.catalog.ids) - set(live.catalog.ids)
        if answers and unknown:
            raise BadArtifact(
                f"{', '.join(sorted(unknown))}: not in the live catalog, at whose prices calls are settled; "
                "add it there first, and leave its choice to the rules",
                reason="MODELS_UNKNOWN",
                field="catalog",
            )
        return made


def models_with_arms(catalog: Catalog, bundle: Bundle) -> set[str]:
    """Ids of the models that a bundle can judge, by an arm of theirs or of their tier."""
    arms = arm_names(bundle.manifest)
    specs = (entry.spec for entry in catalog.entries)
    return {spec.id for spec in specs if arm_of(spec.id, spec.tier, arms) is not None}


@dataclass(frozen=True, slots=True)
class Fitted(Generic[P]):
    """A trial with its router.

    Attributes:
        trial: the parts.
        live: the router that it stands beside.
        router: of the trial.
    """

    trial: Trial[P]
    live: Router
    router: Router


class FittedTrial(Generic[P]):
    """A trial beside the live parts; its router is made anew whenever those change.

    :attr:`current` may be read from any thread, the methods are called from one.

    Args:
        name: for the log. What a canary decides is an answer.
        notes: the reasons that its decisions have.
    """

    def __init__(
        self, name: TrialName, notes: Callable[[Trial[P]], tuple[Reason, ...]] = lambda _: ()
    ) -> None:
        self._name, self._notes = name, notes
        self._trial: Trial[P] | None = None
        self.current: Fitted[P] | None = None
        self.problem = ""
        """Why there is a trial but no router; empty where there is one, or no trial."""

    def adopt(self, trial: Trial[P] | None, live: Router) -> None:
        """Take another trial, or none.

        Args:
            trial: from now on.
            live: decides now.

        Raises:
            BadArtifact: its parts do not fit; what is there stays.
        """
        fitted = None if trial is None else self._fitted(trial, live)
        self._trial, self.current, self.problem = trial, fitted, ""

    def fit(self, live: Router) -> None:
        """Stand beside another live router. Where the trial does not fit it, nothing is tried meanwhile."""
        trial, now = self._trial, self.current
        if trial is None or (now is not None and now.live is live):
            return
        try:
            self.current, self.problem = self._fitted(trial, live), ""
        except MitsumoriError as error:
            self.current, self.problem = None, error.message
            logger().warning(f"{self._name}_paused", reason=error.reason, detail=error.message)

    def _fitted(self, trial: Trial[P], live: Router) -> Fitted[P]:
        made = trial.router(live, self._notes(trial), answers=self._name == "canary")
        made.warm_up()
        return Fitted(trial, live, made)
