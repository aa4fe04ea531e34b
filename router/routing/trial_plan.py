"""What a shadow or a canary is made of, as the settings say it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from router.classifier.registry import RegistryAddress, is_registry_address
from router.core.canary import Margins
from router.core.errors import InvalidInput
from router.core.limits import LABEL_NAME
from router.files import sha256_of

__all__ = ["BundleAddress", "CanaryPlan", "ShadowPlan", "TrialPlan"]


def _path_or_address(value: Any) -> Any:
    # A Path keeps the text of an address unchanged: models:/ has only one slash.
    text = str(value)
    if not is_registry_address(text):
        return value
    try:
        return RegistryAddress.parse(text)
    except InvalidInput as error:
        raise ValueError(error.message) from None


BundleAddress = Annotated[Path | RegistryAddress, BeforeValidator(_path_or_address)]
"""The directory of a bundle, or its address in the registry."""
_Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class TrialPlan(BaseModel):
    """What is tried: at least one of the parts.

    Attributes:
        bundle: ``None``: the live one.
        catalog: file; ``None``: the live one.
        rules: file of a routing table; ``None``: the live one.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    bundle: BundleAddress | None = None
    catalog: Path | None = None
    rules: Path | None = None

    @model_validator(mode="after")
    def _tries_something(self) -> TrialPlan:
        if self.bundle is None and self.catalog is None and self.rules is None:
            raise ValueError("name what is tried: a bundle, a catalog or rules")
        return self

    @property
    def version(self) -> str:
        """The first digits of the SHA-256 of the plan."""
        values = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return sha256_of(values.encode())[:12]


class ShadowPlan(TrialPlan):
    """Parts that decide on copies of requests, of which nothing follows.

    Attributes:
        share: of the requests, 0..1.
    """

    share: _Share = 1.0


class CanaryPlan(TrialPlan):
    """Parts that decide a share of the requests, until they turn out to be worse.

    Attributes:
        share: of the requests of the scope, between 0 and 1.
        scope: labels that a request must carry; empty: all requests.
        quality_margin: how much lower its mean quality may be, 0..1.
        cost_margin: how much more a call may cost, as a share, ≥ 0.
        error_margin: how much larger its share of failing calls may be, 0..1.
        run: any word; another one starts a halted canary anew.
    """

    share: Annotated[float, Field(gt=0, lt=1)] = 0.05
    scope: dict[str, str] = Field(default={})
    quality_margin: _Share = Margins.quality
    cost_margin: Annotated[float, Field(ge=0, le=10, allow_inf_nan=False)] = Margins.cost
    error_margin: _Share = Margins.errors
    run: str = Field(default="", max_length=100)

    @field_validator("scope")
    @classmethod
    def _labels_have_names(cls, scope: dict[str, str]) -> dict[str, str]:
        for name, value in scope.items():
            if not LABEL_NAME.fullmatch(name):
                raise ValueError(
                    f"{name!r} is not a label: a lower-case letter, then a-z, 0-9 and _"
                )
            if not 1 <= len(value) <= 1000:
                raise ValueError(f"the value of {name} must be 1 to 1000 characters")
        return scope

    @property
    def margins(self) -> Margins:
        """How much worse than the rest it may be."""
        return Margins(self.quality_margin, self.cost_margin, self.error_margin)
