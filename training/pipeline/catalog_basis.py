"""How many models of a catalog a bundle judges by attempts, by what is known of them, or as their tier."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from router.catalog.catalog import CatalogEntry
from router.classifier.manifest import BundleManifest
from router.classifier.model_ability import ability_of, arm_names, arm_of, known_place
from router.core.plurals import counted

__all__ = ["CatalogBasis", "catalog_basis"]


@dataclass(frozen=True)
class CatalogBasis:
    """Ids of the models of a catalog, by what their P(adequate) rests on.

    Attributes:
        measured: attempts in the histories of the bundle.
        known: an ability that is known from elsewhere: attempts in other histories, or published scores.
        tier: nothing but their tier.
    """

    measured: tuple[str, ...]
    known: tuple[str, ...]
    tier: tuple[str, ...]

    @property
    def counts(self) -> dict[str, int]:
        """How many models of each kind."""
        return {
            "measured": len(self.measured),
            "known": len(self.known),
            "tier": len(self.tier),
        }

    def __str__(self) -> str:
        """One line for people."""
        total = len(self.measured) + len(self.known) + len(self.tier)
        return (
            f"of the {counted(total, 'model', 'models')} of the catalog {len(self.measured)} "
            f"{'was' if len(self.measured) == 1 else 'were'} measured in these histories, {len(self.known)} "
            f"{'is' if len(self.known) == 1 else 'are'} placed by an ability known from elsewhere, and "
            f"{len(self.tier)} {'takes' if len(self.tier) == 1 else 'take'} P(adequate) of the tier"
        )


def catalog_basis(manifest: BundleManifest, entries: Iterable[CatalogEntry]) -> CatalogBasis:
    """What P(adequate) of each model rests on when the bundle is served.

    Args:
        manifest: of the bundle.
        entries: of the catalog.
    """
    arms, now = arm_names(manifest), datetime.now(UTC)
    found: dict[str, list[str]] = {"measured": [], "known": [], "tier": []}
    for entry in entries:
        model = entry.at(now)
        source = ability_of(model, arm_of(model.id, model.tier, arms), manifest).source
        place = known_place(model.id, manifest)
        elsewhere = source == "published" or bool(place and place.elsewhere)
        kind = "tier" if source == "tier" else "known" if elsewhere else "measured"
        found[kind].append(model.id)
    return CatalogBasis(*(tuple(found[kind]) for kind in ("measured", "known", "tier")))
