"""How many models of a catalog a bundle judges by attempts, by what is known of them, or as their tier."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from router.catalog.catalog import CatalogEntry
from router.classifier.manifest import BundleManifest
from router.classifier.model_ability import known_ability
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
    placed = len(manifest.placed_arms) >= 2
    arms = {arm.name for arm in manifest.arms}
    found: dict[str, list[str]] = {"measured": [], "known": [], "tier": []}
    for entry in entries:
        name = entry.spec.id
        own = known_ability(name, manifest) if placed else None
        if name in arms or (own is not None and not own.elsewhere):
            kind = "measured"
        elif own is not None or (placed and entry.spec.ability is not None):
            kind = "known"
        else:
            kind = "tier"
        found[kind].append(name)
    return CatalogBasis(*(tuple(found[kind]) for kind in ("measured", "known", "tier")))
