"""A bundle: a directory that holds one trained classifier and all that serving needs to run it.

``manifest.json`` describes the bundle and hashes its files. ``classifier.onnx`` maps an encoder vector, the
lexical features and the token ids to a label distribution, P(adequate) per arm and output-length quantiles.
``model_card.md`` is for people. Bundles share encoders and name theirs by hash. Nothing is a pickle, and no
file is parsed before its hash is checked.

Raise ``FORMAT_VERSION`` by one when an older release would misread a new bundle; a test loads every past
format.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from router.classifier.encoder import Encoder, find_encoder, load_encoder, session
from router.classifier.features.lexical import FEATURES, lexical_features
from router.classifier.reference_sample import REFERENCE_FILE, ReferenceSample
from router.core.ability import LARGEST, SMALLEST
from router.core.errors import BadArtifact
from router.core.margins import margins, needs_second_stage
from router.core.types import NONE_LABEL, Goal, Lengths, Score
from router.files import read_checked, sha256_of

__all__ = [
    "CLASSIFIER",
    "FORMAT_VERSION",
    "SECOND_CLASSIFIER",
    "Arm",
    "Bundle",
    "BundleManifest",
    "Evidence",
    "HistorySource",
    "ModelAbility",
    "ReferencePrice",
    "SecondStage",
    "SecondStageManifest",
    "complexity",
    "load_bundle",
    "read_manifest",
    "score_from_outputs",
]

FORMAT_VERSION = 4
_FORMATS = (1, 2, 3, 4)
"""Formats that this release reads. 2 added the input ``token_ids``, 3 the second stage, 4 abilities."""
_OUTPUTS = ["label_distribution", "p_adequate", "output_tokens"]
CLASSIFIER = "classifier.onnx"
SECOND_CLASSIFIER = "second.onnx"
_TWO_STAGE_FILES = (CLASSIFIER, SECOND_CLASSIFIER, REFERENCE_FILE)
_REMEDY = "train it again with `make train`, or restore it from the release"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


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
    """A model that training placed on the scale of ability."""

    points: float = Field(ge=SMALLEST, le=LARGEST, description="its ability")
    uncertainty: float = Field(ge=0, description="standard deviation, in points")
    attempts: int = Field(gt=0, description="judged attempts that it rests on")


class Evidence(_Strict):
    """What P(adequate) rests on."""

    measured: int = Field(ge=0, description="prompts with judged attempts")
    annotated: int = Field(ge=0, description="requests annotated by level")
    weight: float = Field(ge=0, description="attempts per arm that an annotation counts as")


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
        default={}, description="models by name that training placed on the scale of ability"
    )
    evidence: Evidence | None = Field(default=None, description="None before format 4")
    mlflow_run_id: str | None = Field(description="None where the run was not tracked")
    metrics: dict[str, Any] = Field(description="held-out figures, as in the model card")
    files: dict[str, str] = Field(description="file name to SHA-256")

    @property
    def encoders(self) -> list[EncoderReference]:
        """The encoders, one per stage."""
        return [self.encoder] + ([self.second.encoder] if self.second else [])

    @cached_property
    def placed_arms(self) -> list[Arm]:
        """The arms whose ability is known, ascending; fewer than two of them place no other model."""
        placed = [arm for arm in self.arms if arm.ability is not None]
        return sorted(placed, key=lambda arm: arm.ability or 0.0)

    @model_validator(mode="after")
    def _arms_are_distinct(self) -> BundleManifest:
        names = [arm.name for arm in self.arms]
        if len(set(names)) != len(names) or NONE_LABEL in names:
            raise ValueError("arm names must be distinct, and none of them 'none'")
        return self


def complexity(label_distribution: npt.NDArray[np.floating[Any]], tiers: Sequence[str]) -> float:
    """How much model a prompt needs, 0..1: the expected rank of the label's tier, scaled to 1 at the top.

    Adding an arm to a tier leaves the ranks of the others as they are.

    Args:
        label_distribution: ``(arms + 1,)``, ``none`` last; ``none`` ranks with the highest tier.
        tiers: the tier of each arm, ``(arms,)``, ascending.
    """
    ladder = list(dict.fromkeys(tiers))
    top = len(ladder) - 1
    position = np.array([*map(ladder.index, tiers), top]) / max(top, 1)
    return float(np.clip(label_distribution @ position, 0.0, 1.0))


def score_from_outputs(
    manifest: BundleManifest,
    label_distribution: npt.NDArray[np.float32],
    p_adequate: npt.NDArray[np.float32],
    output_tokens: npt.NDArray[np.float32],
) -> Score:
    """The classifier's outputs for one prompt as a :class:`Score`.

    Args:
        manifest: names the arms.
        label_distribution: ``(arms + 1,)``, each 0..1, ``none`` last.
        p_adequate: ``(arms,)``, each 0..1.
        output_tokens: ``(arms, 3)``, the quantiles .5, .9 and .99, in tokens.
    """
    names = [arm.name for arm in manifest.arms]
    return Score(
        p_adequate=dict(zip(names, map(float, p_adequate), strict=True)),
        label_distribution=dict(
            zip([*names, NONE_LABEL], map(float, label_distribution), strict=True)
        ),
        complexity=complexity(label_distribution, [arm.tier for arm in manifest.arms]),
        lengths={
            arm.name: Lengths(*map(float, row))
            for arm, row in zip(manifest.arms, output_tokens, strict=True)
            if arm.has_lengths
        },
    )


@dataclass(frozen=True, slots=True)
class Classifier:
    """A loaded classifier.

    Attributes:
        session: runs its ONNX graph.
        reads_tokens: whether it reads token ids besides the vector, as classifiers do from format 2 on.
        features: how many lexical features it reads: the first ones of :data:`FEATURES`.
    """

    session: ort.InferenceSession
    reads_tokens: bool
    features: int

    @classmethod
    def load(cls, graph: bytes, features: int) -> Classifier:
        """Load an ONNX graph that was fitted on the first ``features`` lexical features."""
        runner = session(graph)
        reads_tokens = any(given.name == "token_ids" for given in runner.get_inputs())
        return cls(runner, reads_tokens, features)

    def outputs(
        self,
        embedding: npt.NDArray[np.float32],
        features: npt.NDArray[np.float32],
        token_ids: Sequence[int],
    ) -> list[npt.NDArray[np.float32]]:
        """The outputs for one prompt; see :meth:`Bundle.outputs`.

        Args:
            embedding: ``(dimensions,)``.
            features: lexical, ``(len(FEATURES),)``.
            token_ids: of :meth:`Encoder.word_ids`; may be empty.
        """
        given: dict[str, npt.NDArray[Any]] = {
            "embedding": embedding[None, :],
            "features": features[None, : self.features],
        }
        if self.reads_tokens:
            given["token_ids"] = np.asarray(token_ids, dtype=np.int64)
        return [rows[0] for rows in self.session.run(_OUTPUTS, given)]


@dataclass(frozen=True)
class SecondStage:
    """A loaded second stage.

    Attributes:
        encoder: of this stage.
        classifier: of this stage.
        reference: float64 ``(r, k)``, P(adequate) of ``r`` held-out prompts by the first stage.
        share: share of prompts like these that the second stage scores, 0..1, whatever the goal.
    """

    encoder: Encoder
    classifier: Classifier
    reference: npt.NDArray[np.float64]
    share: float

    def outputs(
        self, text: str, features: npt.NDArray[np.float32]
    ) -> list[npt.NDArray[np.float32]]:
        """The outputs for a text with these lexical features; see :meth:`Bundle.outputs`."""
        ids = self.encoder.word_ids(text)
        embedding = self.encoder.embed_ids(self.encoder.window(ids))
        return self.classifier.outputs(embedding, features, ids)


@dataclass(frozen=True)
class Bundle:
    """A loaded bundle with its encoders. Thread-safe.

    The methods use the first stage unless their name says otherwise. The caller asks
    :meth:`needs_second_stage`, which depends on the goal and the prices, whether to use the second.

    Attributes:
        manifest: describes the bundle.
        version: ``name@hash``, as in replies and the decision log.
        encoder: of the first stage.
        classifier: of the first stage.
        second: the second stage; ``None`` in a bundle of one stage.
    """

    manifest: BundleManifest
    version: str
    encoder: Encoder
    classifier: Classifier
    second: SecondStage | None = None

    def outputs(
        self,
        embedding: npt.NDArray[np.float32],
        features: npt.NDArray[np.float32],
        token_ids: Sequence[int],
    ) -> list[npt.NDArray[np.float32]]:
        """Label distribution ``(k + 1,)``, P(adequate) ``(k,)`` and length quantiles ``(k, 3)``.

        Args:
            embedding: of the prompt, ``(dimensions,)``.
            features: lexical, ``(len(FEATURES),)``; an older bundle reads only the first of them.
            token_ids: of :meth:`Encoder.word_ids`; empty where the text is not available, which drops the
                evidence of its words.
        """
        return self.classifier.outputs(embedding, features, token_ids)

    def classify(
        self,
        embedding: npt.NDArray[np.float32],
        features: npt.NDArray[np.float32],
        token_ids: Sequence[int] = (),
    ) -> Score:
        """The score of one prompt by the first stage.

        Args:
            embedding: of the prompt, ``(dimensions,)``.
            features: lexical, ``(len(FEATURES),)``.
            token_ids: of :meth:`Encoder.word_ids`; empty where the text is not available.
        """
        return score_from_outputs(self.manifest, *self.outputs(embedding, features, token_ids))

    def score(self, text: str) -> Score:
        """Encode and score one text by the first stage."""
        ids = self.encoder.word_ids(text)
        embedding = self.encoder.embed_ids(self.encoder.window(ids))
        return self.classify(embedding, lexical_features(text), ids)

    def score_second_stage(self, text: str, features: npt.NDArray[np.float32]) -> Score:
        """The score by the second stage of a text with these lexical features, ``(len(FEATURES),)``.

        Raises:
            ValueError: the bundle has one stage.
        """
        if self.second is None:
            raise ValueError(f"{self.version} has one stage")
        return score_from_outputs(self.manifest, *self.second.outputs(text, features))

    def score_all_stages(self, text: str) -> list[Score]:
        """The score of one text by every stage, so that the whole bundle runs."""
        if self.second is None:
            return [self.score(text)]
        return [self.score(text), self.score_second_stage(text, lexical_features(text))]

    def needs_second_stage(
        self,
        score: Score,
        features: npt.NDArray[np.float32],
        prices: Mapping[str, int],
        goal: Goal,
    ) -> bool:
        """Whether the second stage should score a prompt as well.

        It should where the first stage leaves the choice close, and always where the first encoder does not
        read the script. Never in a bundle of one stage.

        Args:
            score: by the first stage.
            features: lexical, ``(len(FEATURES),)``.
            prices: arm → expected nano-dollars of its cheapest model, for the arms that can be chosen.
            goal: what the choice aims for.
        """
        if self.second is None or not prices:
            return False
        if not self.encoder.reads_script(features):
            return True
        names = [arm.name for arm in self.manifest.arms]
        price_list = np.array(list(prices.values()), dtype=np.float64)
        prompt = np.array([[score.p_adequate[arm] for arm in prices]])
        reference = self.second.reference[:, [names.index(arm) for arm in prices]]
        needed = needs_second_stage(
            margins(prompt, price_list, goal),
            margins(reference, price_list, goal),
            self.second.share,
        )
        return bool(needed[0])


def read_manifest(directory: Path) -> tuple[BundleManifest, str]:
    """The manifest of a bundle, and its version ``name@hash``.

    Raises:
        BadArtifact: the directory or manifest is missing, damaged, or of a newer format.
    """
    path = directory / "manifest.json"
    try:
        content = path.read_bytes()
    except OSError:
        missing = (
            f"{path} is missing or unreadable: {directory} is not a bundle; {_REMEDY}"
            if directory.is_dir()
            else f"{directory} is not a bundle: there is no such directory; name a bundle with --bundle, or "
            "train one with `make train`"
        )
        raise BadArtifact(
            missing,
            reason="BUNDLE_MISSING",
            field=str(path),
        ) from None
    try:
        raw = json.loads(content)
        version = raw["format_version"]
    except (ValueError, KeyError, TypeError):
        raise BadArtifact(
            f"{path} is not a bundle manifest; {_REMEDY}", reason="BUNDLE_DAMAGED", field=str(path)
        ) from None
    if version not in _FORMATS:
        raise BadArtifact(
            f"{path} has bundle format {version!r}, this release reads formats 1 to {FORMAT_VERSION}; "
            "upgrade mitsumori or train the bundle again",
            reason="FORMAT_UNKNOWN",
            field=str(path),
        )
    try:
        manifest = BundleManifest.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "manifest"
        raise BadArtifact(
            f"{path}: {place}: {first['msg']}; {_REMEDY}", reason="BUNDLE_DAMAGED", field=str(path)
        ) from None
    return manifest, f"{manifest.name}@{sha256_of(content)[:12]}"


def load_bundle(directory: Path, encoders: Path) -> Bundle:
    """Load a bundle and its encoders. Every hash is checked before the file is parsed.

    Args:
        directory: the bundle.
        encoders: the folder of encoders, laid out as ``models/encoders``.

    Raises:
        BadArtifact: a file is missing, altered or of another format, or the parts do not match.
    """
    manifest, version = read_manifest(directory)
    count = len(manifest.features)
    if manifest.features != list(FEATURES[:count]):
        raise BadArtifact(
            f"{directory}/manifest.json: features are not the first {count} of this release; "
            "train the bundle again with `make train`",
            reason="FEATURES_DIFFER",
            field="features",
        )
    contents = read_checked(directory, manifest.files, remedy=_REMEDY)
    for name in (CLASSIFIER,) if manifest.second is None else _TWO_STAGE_FILES:
        if name not in contents:
            raise BadArtifact(
                f"{directory}/manifest.json: files does not list {name}; {_REMEDY}",
                reason="BUNDLE_DAMAGED",
                field="files",
            )
    encoder = load_encoder(find_encoder(encoders, manifest.encoder.name, manifest.encoder.sha256))
    second = None
    if manifest.second is not None:
        slower = manifest.second.encoder
        second = SecondStage(
            load_encoder(find_encoder(encoders, slower.name, slower.sha256)),
            Classifier.load(contents[SECOND_CLASSIFIER], count),
            ReferenceSample.from_json(
                contents[REFERENCE_FILE],
                len(manifest.arms),
                file=f"{directory}/{REFERENCE_FILE}",
            ).p_adequate,
            manifest.second.share,
        )
    first = Classifier.load(contents[CLASSIFIER], count)
    return Bundle(manifest, version, encoder, first, second)
