"""A bundle: a directory that holds one trained classifier and all that serving needs to run it.

``manifest.json`` names and hashes everything, ``classifier.onnx`` maps an encoder vector, the lexical
features and the token ids to a label distribution, P(adequate) per arm and output-length quantiles,
``model_card.md`` is for people. The encoder is shared between bundles and named by its hash. Nothing is a
pickle, and nothing is parsed before its hash is checked.

The rule for ``FORMAT_VERSION``: raise it by one when an older release would read a new bundle
wrongly; a test keeps loading every past format.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from router.classifier.encoder import Encoder, find_encoder, load_encoder, session
from router.classifier.features.lexical import FEATURES, lexical_features
from router.core.errors import BadArtifact
from router.core.margins import margins, needs_second_stage
from router.core.types import NONE_LABEL, Goal, Lengths, Score
from router.files import read_checked, sha256_of

__all__ = [
    "CLASSIFIER",
    "FORMAT_VERSION",
    "REFERENCE_FILE",
    "SECOND_CLASSIFIER",
    "Arm",
    "Bundle",
    "BundleManifest",
    "HistorySource",
    "ReferencePrice",
    "SecondStage",
    "SecondStageClassifier",
    "complexity",
    "load_bundle",
    "read_manifest",
    "score_outputs",
]

FORMAT_VERSION = 3
_FORMATS = (1, 2, 3)
"""What this release reads. Format 2 adds the input ``token_ids`` to the classifier, format 3 ``second``."""
_OUTPUTS = ["label_distribution", "p_adequate", "output_tokens"]
CLASSIFIER = "classifier.onnx"
SECOND_CLASSIFIER = "second.onnx"
REFERENCE_FILE = "reference.json"
"""What the first classifier says of some held-out prompts: P(adequate) per arm under ``p_adequate``."""
_TWO_STAGES = (CLASSIFIER, SECOND_CLASSIFIER, REFERENCE_FILE)
_REMEDY = "train it again with `make train`, or restore it from the release"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ReferencePrice(_Strict):
    """The prices at which an arm's cost was reckoned in training, USD per million tokens."""

    input: Decimal = Field(ge=0)
    output: Decimal = Field(ge=0)


class Arm(_Strict):
    """What the classifier predicts for: a tier, or one model with a history of its own."""

    name: str = Field(min_length=1)
    tier: str = Field(min_length=1)
    models: list[str] = Field(description="the models whose attempts taught this arm")
    reference_price: ReferencePrice | None
    attempts: int = Field(ge=0)
    adequate_share: float = Field(ge=0, le=1)
    has_lengths: bool = Field(description="whether training saw output lengths of this arm")


class HistorySource(_Strict):
    """One history that a bundle was trained on."""

    name: str
    sha256: str
    prompts: int = Field(ge=0)
    attempts: int = Field(ge=0)
    adequacy_threshold: float = Field(ge=0, le=1)
    licence: str = ""


class EncoderReference(_Strict):
    """The encoder a bundle was trained with, by identity."""

    name: str
    sha256: str
    dimensions: int = Field(gt=0)


class SecondStage(_Strict):
    """A slower encoder with a classifier of its own, asked where a choice hangs on little."""

    encoder: EncoderReference
    share: float = Field(gt=0, le=1, description="of prompts like the reference, asked about")


class Split(_Strict):
    """How prompts were divided: a hash of (seed, prompt) sends this share to the held-out side."""

    seed: int
    holdout: float = Field(gt=0, lt=1)


class BundleManifest(_Strict):
    """``manifest.json``."""

    format_version: Literal[1, 2, 3]
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    created: datetime
    demonstration: bool = Field(description="true when the history was generated, not real")
    arms: list[Arm] = Field(min_length=2, description="in ascending order of capability")
    encoder: EncoderReference
    second: SecondStage | None = Field(default=None, description="only bundles of two stages")
    features: list[str]
    adequacy_threshold: float = Field(ge=0, le=1)
    histories: list[HistorySource] = Field(min_length=1)
    training_data_sha256: str
    split: Split
    languages: dict[str, int] = Field(description="training prompts per language")
    mlflow_run_id: str | None
    metrics: dict[str, Any]
    files: dict[str, str] = Field(description="file name to SHA-256")

    @property
    def encoders(self) -> list[EncoderReference]:
        """The encoder of each stage."""
        return [self.encoder] + ([self.second.encoder] if self.second else [])

    @model_validator(mode="after")
    def _arms_are_distinct(self) -> BundleManifest:
        names = [arm.name for arm in self.arms]
        if len(set(names)) != len(names) or NONE_LABEL in names:
            raise ValueError("arm names must be distinct, and none of them 'none'")
        return self


def complexity(label_distribution: npt.NDArray[np.floating[Any]], tiers: Sequence[str]) -> float:
    """How much model a prompt needs, 0..1: the mean position of the label's tier on the ladder of tiers.

    A further arm of a tier does not move the others, so that a score keeps its meaning for rules.

    Args:
        label_distribution: ``(arms + 1,)``, ``none`` last; ``none`` counts as the top of the ladder.
        tiers: of the arms, ``(arms,)``.
    """
    ladder = list(dict.fromkeys(tiers))
    top = len(ladder) - 1
    position = np.array([*map(ladder.index, tiers), top]) / max(top, 1)
    return float(np.clip(label_distribution @ position, 0.0, 1.0))


def score_outputs(
    manifest: BundleManifest,
    label_distribution: npt.NDArray[np.float32],
    p_adequate: npt.NDArray[np.float32],
    output_tokens: npt.NDArray[np.float32],
) -> Score:
    """One row of the classifier's outputs as a :class:`Score`.

    Args:
        manifest: names the arms.
        label_distribution: ``(arms + 1,)``.
        p_adequate: ``(arms,)``.
        output_tokens: ``(arms, 3)``, the quantiles .5, .9 and .99.
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
    """A classifier as loaded.

    Attributes:
        session: of ``classifier.onnx``.
        reads_tokens: whether it reads token ids beside the vector: those from format 2 on do.
        features: how many lexical features it reads, the first ones of :data:`FEATURES`.
    """

    session: ort.InferenceSession
    reads_tokens: bool
    features: int

    @classmethod
    def of(cls, session: ort.InferenceSession, features: int) -> Classifier:
        """Of a session, with what it reads."""
        return cls(
            session, any(given.name == "token_ids" for given in session.get_inputs()), features
        )

    def outputs(
        self,
        embedding: npt.NDArray[np.float32],
        features: npt.NDArray[np.float32],
        token_ids: Sequence[int],
    ) -> list[npt.NDArray[np.float32]]:
        """As :meth:`Bundle.outputs`."""
        given: dict[str, npt.NDArray[Any]] = {
            "embedding": embedding[None, :],
            "features": features[None, : self.features],
        }
        if self.reads_tokens:
            given["token_ids"] = np.asarray(token_ids, dtype=np.int64)
        return [rows[0] for rows in self.session.run(_OUTPUTS, given)]


@dataclass(frozen=True)
class SecondStageClassifier:
    """The second stage as loaded.

    Attributes:
        encoder: its own.
        classifier: its own.
        reference: float64 ``(r, k)``, P(adequate) of held-out prompts by the first stage.
        share: of such prompts that it is asked about under any goal, 0..1.
    """

    encoder: Encoder
    classifier: Classifier
    reference: npt.NDArray[np.float64]
    share: float

    def outputs(
        self, text: str, features: npt.NDArray[np.float32]
    ) -> list[npt.NDArray[np.float32]]:
        """As :meth:`Bundle.outputs`, by the second classifier; ``features`` are those of ``text``."""
        ids = self.encoder.word_ids(text)
        embedding = self.encoder.embed_ids(self.encoder.window(ids))
        return self.classifier.outputs(embedding, features, ids)


@dataclass(frozen=True)
class Bundle:
    """A loaded bundle with its encoders. Thread-safe.

    What its own methods say is said by the first stage, or the only one; of two, :attr:`second` is asked
    about the prompts whose choice hangs on little, which depends on the goal of the caller.
    """

    manifest: BundleManifest
    version: str
    encoder: Encoder
    classifier: Classifier
    second: SecondStageClassifier | None = None

    def outputs(
        self,
        embedding: npt.NDArray[np.float32],
        features: npt.NDArray[np.float32],
        token_ids: Sequence[int],
    ) -> list[npt.NDArray[np.float32]]:
        """Label distribution ``(k + 1,)``, P(adequate) ``(k,)`` and length quantiles ``(k, 3)``.

        Args:
            embedding: of the prompt, ``(dimensions,)``.
            features: lexical, ``(len(FEATURES),)``; a bundle of before reads the first ones of them.
            token_ids: of :meth:`Encoder.word_ids`; none where the text is not at hand, which leaves out
                what the words say.
        """
        return self.classifier.outputs(embedding, features, token_ids)

    def classify(
        self,
        embedding: npt.NDArray[np.float32],
        features: npt.NDArray[np.float32],
        token_ids: Sequence[int] = (),
    ) -> Score:
        """Score one prompt; the arguments are those of :meth:`outputs`."""
        return score_outputs(self.manifest, *self.outputs(embedding, features, token_ids))

    def score(self, text: str) -> Score:
        """Encode and classify one text."""
        ids = self.encoder.word_ids(text)
        embedding = self.encoder.embed_ids(self.encoder.window(ids))
        return self.classify(embedding, lexical_features(text), ids)

    def second_score(self, text: str, features: npt.NDArray[np.float32]) -> Score:
        """What the second stage says of a text with these features, ``(len(FEATURES),)``.

        Raises:
            ValueError: the bundle has one stage.
        """
        if self.second is None:
            raise ValueError(f"{self.version} has one stage")
        return score_outputs(self.manifest, *self.second.outputs(text, features))

    def every_score(self, text: str) -> list[Score]:
        """What each stage says of one text: all of the bundle is run."""
        if self.second is None:
            return [self.score(text)]
        return [self.score(text), self.second_score(text, lexical_features(text))]

    def asks_second(
        self,
        score: Score,
        features: npt.NDArray[np.float32],
        prices: Mapping[str, int],
        goal: Goal,
    ) -> bool:
        """Whether the second stage is asked about a prompt; never where there is none.

        It is where the choice hangs on little, and always where the first encoder does not read the script.

        Args:
            score: by the first stage.
            features: lexical, ``(len(FEATURES),)``.
            prices: arm → nano-dollars of its cheapest model, of the arms that can be chosen.
            goal: what the choice aims for.
        """
        if self.second is None or not prices:
            return False
        if not self.encoder.reads(features):
            return True
        names = [arm.name for arm in self.manifest.arms]
        known = np.array(list(prices.values()), dtype=np.float64)
        here = np.array([[score.p_adequate[arm] for arm in prices]])
        usual = self.second.reference[:, [names.index(arm) for arm in prices]]
        asked = needs_second_stage(
            margins(here, known, goal), margins(usual, known, goal), self.second.share
        )
        return bool(asked[0])


def read_manifest(directory: Path) -> tuple[BundleManifest, str]:
    """The manifest of a bundle, and the version string ``name@hash`` that replies carry.

    Raises:
        BadArtifact: the directory or manifest is missing, damaged, or of a newer format.
    """
    path = directory / "manifest.json"
    try:
        content = path.read_bytes()
    except OSError:
        raise BadArtifact(
            f"{path} is missing or unreadable: {directory} is no bundle; {_REMEDY}",
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
            f"{path} has bundle format {version!r}, this release reads formats 1 to 3; "
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
    """Load a bundle and the encoder it names; every hash is checked before anything is parsed.

    Args:
        directory: the bundle.
        encoders: the folder of encoders, as in ``models/encoders``.

    Raises:
        BadArtifact: something is missing, altered, of another format, or does not fit together.
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
    for name in (CLASSIFIER,) if manifest.second is None else _TWO_STAGES:
        if name not in contents:
            raise BadArtifact(
                f"{directory}/manifest.json: files does not name {name}; {_REMEDY}",
                reason="BUNDLE_DAMAGED",
                field="files",
            )
    encoder = load_encoder(find_encoder(encoders, manifest.encoder.name, manifest.encoder.sha256))
    second = None
    if manifest.second is not None:
        slower = manifest.second.encoder
        second = SecondStageClassifier(
            load_encoder(find_encoder(encoders, slower.name, slower.sha256)),
            Classifier.of(session(contents[SECOND_CLASSIFIER]), count),
            _reference(directory, contents[REFERENCE_FILE], len(manifest.arms)),
            manifest.second.share,
        )
    first = Classifier.of(session(contents[CLASSIFIER]), count)
    return Bundle(manifest, version, encoder, first, second)


def _reference(directory: Path, content: bytes, arms: int) -> npt.NDArray[np.float64]:
    """P(adequate) ``(r, arms)`` of the reference prompts, r ≥ 1."""
    try:
        found = np.asarray(json.loads(content)["p_adequate"], dtype=np.float64)
    except (ValueError, KeyError, TypeError):
        found = np.zeros(0)
    if found.ndim != 2 or not len(found) or found.shape[1] != arms:
        raise BadArtifact(
            f"{directory}/{REFERENCE_FILE}: p_adequate is no table of {arms} arms; {_REMEDY}",
            reason="BUNDLE_DAMAGED",
            field=REFERENCE_FILE,
        )
    return found
