"""What fixes the scale: reference models, today's models of each tier, published scores, levels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from router.core.errors import BadArtifact
from training.scale.ability import PublishedScore

__all__ = ["Reference", "read_reference"]

_PATH = Path(__file__).with_name("scale.yaml")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class _Published(_Strict):
    history: str
    source: str = Field(min_length=1)
    date: date
    attempts: float = Field(gt=0)
    scores: dict[str, Annotated[float, Field(gt=0, lt=1)]]


class _Levels(_Strict):
    discrimination: float = Field(gt=0)
    difficulty: list[float] = Field(min_length=4, max_length=4)

    @field_validator("difficulty")
    @classmethod
    def _harder(cls, value: list[float]) -> list[float]:
        if sorted(set(value)) != value:
            raise ValueError("each level must be harder than the one before")
        return value


class _File(_Strict):
    reference: dict[str, float] = Field(min_length=2, max_length=2)
    tiers: dict[str, Annotated[list[str], Field(min_length=1)]] = Field(min_length=2)
    levels: _Levels
    published: list[_Published]

    @field_validator("reference")
    @classmethod
    def _apart(cls, value: dict[str, float]) -> dict[str, float]:
        if len(set(value.values())) < len(value):
            raise ValueError("the two models must have different points")
        return value


@dataclass(frozen=True)
class Reference:
    """The contents of ``scale.yaml``.

    Attributes:
        models: reference model → its points, by definition.
        tiers: tier → the models that stand for it today, in ascending order.
        discrimination: of annotated requests, logits per 100 points.
        difficulty: of the four levels, logits at 0 points.
        published: scores of others.
    """

    models: Mapping[str, float]
    tiers: Mapping[str, tuple[str, ...]]
    discrimination: float
    difficulty: tuple[float, ...]
    published: tuple[PublishedScore, ...]


@lru_cache(maxsize=1)
def read_reference() -> Reference:
    """The reference that ships with the project.

    Raises:
        BadArtifact: ``scale.yaml`` cannot be read.
    """
    try:
        read = _File.model_validate(yaml.safe_load(_PATH.read_text(encoding="utf-8")))
    except (OSError, yaml.YAMLError, ValidationError) as error:
        first = str(error).splitlines()[0]
        raise BadArtifact(
            f"{_PATH} cannot be used ({first}); restore it from the release", field=str(_PATH)
        ) from None
    return Reference(
        read.reference,
        {tier: tuple(models) for tier, models in read.tiers.items()},
        read.levels.discrimination,
        tuple(read.levels.difficulty),
        tuple(
            PublishedScore(model, one.history, share, one.attempts)
            for one in read.published
            for model, share in one.scores.items()
        ),
    )
