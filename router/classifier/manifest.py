"""``manifest.json``: what a bundle is, what it was trained on, and the hashes of its files.

Raise ``FORMAT_VERSION`` by one when an older release would misread a new bundle; a test loads every past
format.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from router.classifier.registry import MAX_MANIFEST_BYTES
from router.classifier.signature import check_signed
from router.core.ability import LARGEST, SMALLEST
from router.core.errors import BadArtifact
from router.core.types import NONE_LABEL
from router.files import read_bounded, sha256_of

__all__ = [
    "CLASSIFIER",
    "FORMAT_VERSION",
    "LEAST_GAP",
    "MANIFEST",
    "REMEDY",
    "SECOND_CLASSIFIER",
    "Arm",
    "BundleManifest",
    "EncoderReference",
    "Evidence",
    "HistorySource",
    "ModelAbility",
    "ReferencePrice",
    "SecondStageManifest",
    "Split",
    "read_manifest",
]

FORMAT_VERSION = 4
_FORMATS = (1, 2, 3, 4)
"""Formats that this release reads. 2 added the input ``token_ids``, 3 the second stage, 4 abilities."""
MANIFEST = "manifest.json"
CLASSIFIER = "classifier.onnx"
SECOND_CLASSIFIER = "second.onnx"
LEAST_GAP = 1.0
"""Points between the abilities of two arms. The slope between arms that are closer would be noise."""
REMEDY = "train it again with `make train`, or restore it from the release"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ReferencePrice(_Strict):
    """The prices of an arm during training, USD per million tokens."""

    input: Decimal = Field(ge=0, description="of input tokens")
    output: Decimal = Field(ge=0, description="of output tokens")


class Arm(_Strict):
    """What the classifier predicts for: a tier, or one model with enough history of its own."""

    name: str = Field(min_length=1, description="the tier, or the id of the model")
    tier: str = Field(min_length=1, description="the tier that it belongs to")
    models: list[str] = Field(description="the models whose attempts taught this arm")
    reference_price: ReferencePrice | None = Field(description="None where no price was known")
    attempts: int = Field(ge=0, description="attempts in training")
    adequate_share: float = Field(ge=0, le=1, description="of these attempts")
    has_lengths: bool = Field(description="whether training saw output lengths of this arm")
    ability: float | None = Field(
        default=None,
        ge=SMALLEST,
        le=LARGEST,
        description="points on the scale of ability; None: not placed on it",
    )


class ModelAbility(_Strict):
    """A model on the scale of ability, placed by training or by ``add-arm``."""

    points: float = Field(ge=SMALLEST, le=LARGEST, description="its ability")
    uncertainty: float = Field(
        ge=0, le=1000, description="standard deviation, in points; 0 in older bundles: not told"
    )
    attempts: int = Field(gt=0, description="judged attempts that it rests on")
    strengths: tuple[Annotated[float, Field(ge=-50, le=50)], ...] = Field(
        default=(), description="logits per unit of each demand of a prompt; empty: none are known"
    )
    elsewhere: tuple[str, ...] = Field(
        default=(), description="histories of its attempts; empty: those of the bundle"
    )


class Evidence(_Strict):
    """What P(adequate) rests on."""

    measured: int = Field(ge=0, description="prompts with judged attempts")
    annotated: int = Field(ge=0, description="requests annotated by level")
    weight: float = Field(
        ge=0, description="attempts per arm that an annotation counts as at even odds"
    )
    share: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="of the weight of all examples, what annotation has; None in older bundles",
    )


class HistorySource(_Strict):
    """One history that a bundle was trained on."""

    name: str = Field(description="file name without its suffix")
    sha256: str = Field(description="of the file")
    prompts: int = Field(ge=0, description="distinct prompts")
    attempts: int = Field(ge=0, description="attempts at them with a known quality")
    adequacy_threshold: float = Field(ge=0, le=1, description="least quality that is adequate")
    licence: str = Field(default="", description="empty where it was not given")


class EncoderReference(_Strict):
    """The encoder that a bundle was trained with."""

    name: str = Field(description="such as static or multilingual")
    sha256: str = Field(description="its identity, see EncoderManifest.sha256")
    dimensions: int = Field(gt=0, description="length of its vectors")


class SecondStageManifest(_Strict):
    """A slower encoder with its own classifier, used where the first stage leaves the choice close."""

    encoder: EncoderReference = Field(description="the slower encoder")
    share: float = Field(gt=0, le=1, description="share of the reference prompts that it scores")


class Split(_Strict):
    """How prompts were split: a hash of (seed, prompt) decides."""

    seed: int = Field(description="first part of the hash")
    holdout: float = Field(gt=0, lt=1, description="share of prompts held out of training")


class BundleManifest(_Strict):
    """``manifest.json``."""

    format_version: Literal[1, 2, 3, 4]
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="of the bundle")
    created: datetime = Field(description="when training wrote it")
    demonstration: bool = Field(description="true when the history was generated, not real")
    arms: list[Arm] = Field(min_length=2, description="in ascending order of capability")
    encoder: EncoderReference = Field(description="of the first stage")
    second: SecondStageManifest | None = Field(default=None, description="None: one stage")
    features: list[str] = Field(description="names of the lexical features, in order")
    adequacy_threshold: float = Field(ge=0, le=1, description="least quality that is adequate")
    histories: list[HistorySource] = Field(min_length=1, description="what it was trained on")
    training_data_sha256: str = Field(description="over all histories")
    split: Split = Field(description="training prompts and held-out ones")
    languages: dict[str, int] = Field(description="training prompts per language")
    abilities: dict[str, ModelAbility] = Field(
        default={}, description="models on the scale of ability, by their id without its host"
    )
    evidence: Evidence | None = Field(default=None, description="None before format 4")
    mlflow_run_id: str | None = Field(description="None where the run was not tracked")
    metrics: dict[str, Any] = Field(description="held-out figures, as in the model card")
    files: dict[str, str] = Field(description="file name to SHA-256")

    @property
    def encoders(self) -> list[EncoderReference]:
        """The encoders, one per stage."""
        return [self.encoder] + ([self.second.encoder] if self.second else [])

    @property
    def placed_arms(self) -> list[Arm]:
        """The arms whose ability is known, ascending; fewer than two of them place no other model."""
        return [arm for arm in self.arms if arm.ability is not None]

    @model_validator(mode="after")
    def _arms_are_distinct(self) -> BundleManifest:
        names = [arm.name for arm in self.arms]
        if len(set(names)) != len(names) or NONE_LABEL in names:
            raise ValueError("arm names must be distinct, and none of them 'none'")
        return self

    @model_validator(mode="after")
    def _abilities_ascend(self) -> BundleManifest:
        for weaker, abler in pairwise(self.placed_arms):
            least = round((weaker.ability or 0.0) + LEAST_GAP, 6)
            if (abler.ability or 0.0) < least:
                raise ValueError(
                    f"arms.{self.arms.index(abler)}.ability: {abler.ability:g} of {abler.name} must be at "
                    f"least {least:g}, a point above that of {weaker.name}"
                )
        return self

    @model_validator(mode="after")
    def _fields_are_of_the_format(self) -> BundleManifest:
        since = {
            "second": (3, self.second),
            "arms.ability": (4, self.placed_arms),
            "abilities": (4, self.abilities),
            "evidence": (4, self.evidence),
        }
        for name, (version, value) in since.items():
            if value and self.format_version < version:
                raise ValueError(
                    f"{name}: bundles have it from format {version} on, and this is format "
                    f"{self.format_version}"
                )
        return self


def read_manifest(
    directory: Path, signed: Mapping[str, str] | None = None
) -> tuple[BundleManifest, str]:
    """The manifest of a bundle, and its version ``name@hash``.

    Args:
        directory: the bundle.
        signed: file name → SHA-256 by the bundle's signature; the manifest must then be the signed one, and
            list what was signed. ``None``: no signature is asked for.

    Raises:
        BadArtifact: the directory or manifest is missing, damaged, of a newer format or not as signed.
    """
    path = directory / MANIFEST
    try:
        content = read_bounded(path, MAX_MANIFEST_BYTES)
    except OSError as error:
        missing = (
            f"{path} is missing or unreadable ({error.strerror}): {directory} is not a bundle; {REMEDY}"
            if directory.is_dir()
            else f"{directory} is not a bundle: there is no such directory; name a bundle with --bundle, or "
            "train one with `make train`"
        )
        raise BadArtifact(
            missing,
            reason="BUNDLE_MISSING",
            field=str(path),
        ) from None
    if signed is not None:
        check_signed(directory, {MANIFEST: sha256_of(content)}, signed)
    try:
        version = json.loads(content)["format_version"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise BadArtifact(
            f"{path} is not a bundle manifest; {REMEDY}", reason="BUNDLE_DAMAGED", field=str(path)
        ) from None
    if type(version) is not int or version not in _FORMATS:
        raise BadArtifact(
            f"{path} has bundle format {version!r}, this release reads formats 1 to {FORMAT_VERSION}; "
            "upgrade mitsumori or train the bundle again",
            reason="FORMAT_UNKNOWN",
            field=str(path),
        )
    try:
        # Strict: neither true nor "4" is a number.
        manifest = BundleManifest.model_validate_json(content, strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        problem = first["msg"].removeprefix("Value error, ")
        raise BadArtifact(
            f"{path}: {place + ': ' if place else ''}{problem}; {REMEDY}",
            reason="BUNDLE_DAMAGED",
            field=str(path),
        ) from None
    if signed is not None:
        check_signed(directory, manifest.files, signed)
    return manifest, f"{manifest.name}@{sha256_of(content)[:12]}"
