"""A bundle: a directory that holds one trained classifier and all that serving needs to run it.

``manifest.json`` describes the bundle and hashes its files; ``model.sig``, if there, signs them all.
``classifier.onnx`` maps an encoder vector, the lexical features and the token ids to a label distribution,
P(adequate) per arm, output-length quantiles and, where models have strengths, the demands of the prompt.
``model_card.md`` is for people. Bundles share encoders and name theirs by hash.
Nothing is a pickle, and no file is parsed before its hash is checked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from router.classifier.encoder import Encoder, find_encoder, load_encoder, session
from router.classifier.features.asked_length import asked_length
from router.classifier.features.lexical import FEATURES, lexical_features
from router.classifier.manifest import (
    CLASSIFIER,
    REMEDY,
    SECOND_CLASSIFIER,
    BundleManifest,
    read_manifest,
)
from router.classifier.reference_sample import REFERENCE_FILE, ReferenceSample
from router.classifier.signature import PublicKeys, signed_files
from router.core.asked_length import UNASKED, AskedLength, bounded
from router.core.errors import BadArtifact
from router.core.margins import margins, needs_second_stage
from router.core.types import NONE_LABEL, Goal, Lengths, Score
from router.files import read_checked

__all__ = [
    "Bundle",
    "Classifier",
    "Outputs",
    "SecondStage",
    "complexity",
    "load_bundle",
    "score_from_outputs",
]

_OUTPUTS = ["label_distribution", "p_adequate", "output_tokens"]
_DEMANDS = "demands"
_TWO_STAGE_FILES = (CLASSIFIER, SECOND_CLASSIFIER, REFERENCE_FILE)


def complexity(label_distribution: npt.NDArray[np.floating[Any]], tiers: Sequence[str]) -> float:
    """How much model a prompt needs, 0..1: the expected rank of the label's tier, scaled to 1 at the top.

    Adding an arm to a tier leaves the ranks of the others as they are.

    Args:
        label_distribution: ``(arms + 1,)``, ``none`` last; ``none`` ranks with the highest tier.
        tiers: the tier of each arm, ``(arms,)``, ascending.
    """
    return min(max(float(label_distribution @ _ranks(tuple(tiers))), 0.0), 1.0)


@lru_cache(maxsize=64)
def _ranks(tiers: tuple[str, ...]) -> npt.NDArray[np.float64]:
    """The rank of the tier of each label, 0..1, ``none`` last."""
    ladder = list(dict.fromkeys(tiers))
    top = len(ladder) - 1
    ranks = np.array([*map(ladder.index, tiers), top]) / max(top, 1)
    ranks.setflags(write=False)
    return ranks


class Outputs(NamedTuple):
    """What a classifier says of one prompt, ``k`` arms.

    Attributes:
        label_distribution: float32 ``(k + 1,)``, each 0..1, ``none`` last.
        p_adequate: float32 ``(k,)``, each 0..1.
        output_tokens: float32 ``(k, 3)``, the quantiles .5, .9 and .99, in tokens.
        demands: float32 ``(d,)``, see :class:`Score`; d = 0 where the graph has no such output.
    """

    label_distribution: npt.NDArray[np.float32]
    p_adequate: npt.NDArray[np.float32]
    output_tokens: npt.NDArray[np.float32]
    demands: npt.NDArray[np.float32] = np.zeros(0, dtype=np.float32)


def score_from_outputs(
    manifest: BundleManifest, outputs: Outputs, asked: AskedLength = UNASKED
) -> Score:
    """The classifier's outputs for one prompt as a :class:`Score`.

    Args:
        manifest: names the arms.
        outputs: of its classifier.
        asked: what the prompt says of the length of its answer, which bounds the lengths.
    """
    names = [arm.name for arm in manifest.arms]
    labels = outputs.label_distribution
    return Score(
        p_adequate=dict(zip(names, outputs.p_adequate.tolist(), strict=True)),
        label_distribution=dict(zip([*names, NONE_LABEL], labels.tolist(), strict=True)),
        complexity=complexity(labels, [arm.tier for arm in manifest.arms]),
        lengths={
            arm.name: bounded(Lengths(*row), asked)
            for arm, row in zip(manifest.arms, outputs.output_tokens.tolist(), strict=True)
            if arm.has_lengths
        },
        demands=tuple(outputs.demands.tolist()),
    )


@dataclass(frozen=True, slots=True)
class Classifier:
    """A loaded classifier.

    Attributes:
        session: runs its ONNX graph.
        reads_tokens: whether it reads token ids besides the vector, as classifiers do from format 2 on.
        features: how many lexical features it reads: the first ones of :data:`FEATURES`.
        demands: how many demands of a prompt it tells.
    """

    session: ort.InferenceSession
    reads_tokens: bool
    features: int
    demands: int = 0

    @classmethod
    def load(cls, graph: bytes, features: int) -> Classifier:
        """Load an ONNX graph that was fitted on the first ``features`` lexical features."""
        runner = session(graph)
        reads_tokens = any(given.name == "token_ids" for given in runner.get_inputs())
        told = [made.shape[1] for made in runner.get_outputs() if made.name == _DEMANDS]
        return cls(runner, reads_tokens, features, sum(told))

    def outputs(
        self,
        embedding: npt.NDArray[np.float32],
        features: npt.NDArray[np.float32],
        token_ids: Sequence[int],
    ) -> Outputs:
        """The outputs for one prompt.

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
        names = [*_OUTPUTS, _DEMANDS] if self.demands else _OUTPUTS
        return Outputs(*(rows[0] for rows in self.session.run(names, given)))


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

    def outputs(self, text: str, features: npt.NDArray[np.float32]) -> Outputs:
        """The outputs for a text with these lexical features."""
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
    ) -> Outputs:
        """What the first stage says of one prompt.

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
        asked: AskedLength = UNASKED,
    ) -> Score:
        """The score of one prompt by the first stage.

        Args:
            embedding: of the prompt, ``(dimensions,)``.
            features: lexical, ``(len(FEATURES),)``.
            token_ids: of :meth:`Encoder.word_ids`; empty where the text is not available.
            asked: what the prompt says of the length of its answer.
        """
        outputs = self.outputs(embedding, features, token_ids)
        return score_from_outputs(self.manifest, outputs, asked)

    def score(self, text: str) -> Score:
        """Encode and score one text by the first stage."""
        ids = self.encoder.word_ids(text)
        embedding = self.encoder.embed_ids(self.encoder.window(ids))
        return self.classify(embedding, lexical_features(text), ids, asked_length(text))

    def score_second_stage(
        self, text: str, features: npt.NDArray[np.float32], asked: AskedLength | None = None
    ) -> Score:
        """The score of a text by the second stage.

        Args:
            text: of the prompt.
            features: lexical, ``(len(FEATURES),)``.
            asked: what the prompt says of the length of its answer; ``None``: what the text says.

        Raises:
            ValueError: the bundle has one stage.
        """
        if self.second is None:
            raise ValueError(f"{self.version} has one stage")
        said = asked_length(text) if asked is None else asked
        return score_from_outputs(self.manifest, self.second.outputs(text, features), said)

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


def load_bundle(directory: Path, encoders: Path, public_keys: Path | None = None) -> Bundle:
    """Load a bundle and its encoders. Every hash is checked before the file is parsed.

    Args:
        directory: the bundle.
        encoders: the folder of encoders, laid out as ``models/encoders``.
        public_keys: PEM file with the keys of which one must have signed the bundle; ``None``: no signature
            is asked for.

    Raises:
        BadArtifact: a file is missing, altered, of another format or not signed, or the parts do not match.
    """
    signed = None if public_keys is None else signed_files(directory, PublicKeys.read(public_keys))
    manifest, version = read_manifest(directory, signed)
    count = len(manifest.features)
    if manifest.features != list(FEATURES[:count]):
        raise BadArtifact(
            f"{directory}/manifest.json: features are not the first {count} of this release; "
            "train the bundle again with `make train`",
            reason="FEATURES_DIFFER",
            field="features",
        )
    contents = read_checked(directory, manifest.files, remedy=REMEDY)
    for name in (CLASSIFIER,) if manifest.second is None else _TWO_STAGE_FILES:
        if name not in contents:
            raise BadArtifact(
                f"{directory}/manifest.json: files does not list {name}; {REMEDY}",
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
    _check_strengths(manifest, first, directory)
    return Bundle(manifest, version, encoder, first, second)


def _check_strengths(manifest: BundleManifest, classifier: Classifier, directory: Path) -> None:
    """Every model has as many strengths as prompts have demands, or none."""
    for name, one in manifest.abilities.items():
        if one.strengths and len(one.strengths) != classifier.demands:
            raise BadArtifact(
                f"{directory}/manifest.json: abilities.{name}.strengths has {len(one.strengths)} numbers, "
                f"but {CLASSIFIER} tells {classifier.demands} demands of a prompt; {REMEDY}",
                reason="BUNDLE_DAMAGED",
                field=f"abilities.{name}.strengths",
            )
