"""What a model of output lengths is learnt from: attempts of all models, and annotated requests.

An attempt counts as the length that today's models would have given it. An annotated request has no length,
but an annotated kind of answer: a word, a page, a document. What a kind means in tokens is measured on the
annotated prompts of histories and pulled towards the rubric, as far as there are few. A request then stands
for a few lengths drawn from those of its kind.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from training.histories.split import group_of
from training.requests.request_set import ANSWERS, Annotation, Request, prompt_key
from training.scale.length_table import LengthTable
from training.scale.model_names import NamedModels
from training.scale.talkativeness import Talkativeness, Voice, fit_talkativeness, fit_voice

__all__ = ["LengthExamples", "answer_lengths", "length_examples"]

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.intp]

RUBRIC_TOKENS = (4.0, 22.0, 100.0, 350.0, 950.0, 2_200.0)
"""Tokens of each kind of answer by ``rubric.md``, in the middle of its range."""
RUBRIC_PROMPTS = 20.0
"""How many measured prompts the rubric counts as, for each kind of answer."""
FAMILY_PROMPTS = 100.0
"""Most prompts of one family that count for a kind of answer."""
MIN_ANNOTATED = 100
"""Fewest annotated prompts of a family that tell what kinds of answers mean."""
_SPREAD_OF_FEW = 0.6
_SCATTER = (0.8, 0.9, 0.7, 0.5, 0.45, 0.5)
"""Of the attempts at one prompt, by its kind of answer: short answers vary more. Measured as the rest."""
DRAWS = 2
"""Lengths drawn for a request: one for each of its annotations."""
ATTEMPTS_PER_PROMPT, ATTEMPTS_PER_FAMILY = 4, 3_000
"""Most attempts that are taken: models of the same prompts tell little new."""


@dataclass(frozen=True)
class LengthExamples:
    """``n`` prompts and ``r`` lengths.

    Attributes:
        texts: ``n`` prompts: those of histories, then requests.
        families: names of the families of histories.
        instructed: of each of them, whether its models were told the form of the answer.
        family: intp ``(n,)``, place in ``families``; ``len(families)`` for requests.
        kinds: intp ``(n,)``, the kind of work of a request, from 0; −1 for prompts of histories.
        length: float64 ``(n,)``, of each prompt, in the logarithm of tokens, as today's models answer it.
        prompt: intp ``(r,)``, whose lengths these are.
        logs: float64 ``(r,)``, the lengths.
        voices: tier → how its models speak.
        talkativeness: model → how talkative it is, in the logarithm of tokens; 0 is the mean of today's.
    """

    texts: npt.NDArray[np.object_]
    families: tuple[str, ...]
    instructed: tuple[bool, ...]
    family: Places
    kinds: Places
    length: Floats
    prompt: Places
    logs: Floats
    voices: Mapping[str, Voice]
    talkativeness: Mapping[str, float] = field(default_factory=dict)

    def spoken_by(self, models: NamedModels, tiers: Sequence[str], tokens: Floats) -> Floats:
        """Lengths of the answers of tiers as those of models; of a model that is not known, its tier's.

        Args:
            models: that stand for ``k`` tiers at ``n`` prompts.
            tiers: names of the tiers.
            tokens: float64 ``(n, k)`` > 0, as the tiers answer.

        Returns:
            float64 ``(n, k)``.
        """
        known = np.array([self.talkativeness.get(name, np.nan) for name in models.names])
        logs = np.log(tokens)
        prompts = [self.voices[tier].length(logs[:, at]) for at, tier in enumerate(tiers)]
        said = np.stack(prompts, axis=1) + known[models.places]
        return np.exp(np.where(np.isnan(said), logs, said))

    @property
    def groups(self) -> npt.NDArray[np.object_]:
        """``n`` keys of :func:`split.group_of`."""
        return np.array([group_of(text) for text in self.texts], dtype=object)

    def rows(self, kept: npt.NDArray[np.bool_]) -> LengthExamples:
        """Some of the prompts, bool ``(n,)``, with their lengths."""
        lengths = kept[self.prompt]
        place = np.cumsum(kept) - 1
        return replace(
            self,
            texts=self.texts[kept],
            family=self.family[kept],
            kinds=self.kinds[kept],
            length=self.length[kept],
            prompt=place[self.prompt[lengths]],
            logs=self.logs[lengths],
        )


def answer_lengths(
    table: LengthTable, length: Floats, annotations: Mapping[str, Annotation]
) -> tuple[Floats, Floats]:
    """What kinds of answers mean in tokens.

    Args:
        table: the prompts.
        length: float64 ``(n,)``, of these, NaN where unknown.
        annotations: by :func:`request_set.prompt_key`.

    Returns:
        Mean and standard deviation of the logarithm of tokens, each float64 ``(6,)``.
    """
    rubric = np.log(RUBRIC_TOKENS)
    answer = np.full(len(length), -1)
    for at, text in enumerate(table.texts):
        known = annotations.get(prompt_key(text))
        if known is not None and not np.isnan(length[at]):
            answer[at] = known.answer
    families = [
        one
        for one in range(len(table.families))
        if ((table.family == one) & (answer >= 0)).sum() >= MIN_ANNOTATED
    ]
    mean, spread = rubric.copy(), np.full(len(ANSWERS), 0.8)
    for kind in range(len(ANSWERS)):
        measured = [length[(table.family == one) & (answer == kind)] for one in families]
        measured = [one for one in measured if len(one)]
        if not measured:
            continue
        weights = np.array([min(len(one), FAMILY_PROMPTS) for one in measured])
        means = np.array([one.mean() for one in measured])
        within = np.array([one.std() if len(one) > 1 else _SPREAD_OF_FEW for one in measured])
        mean[kind] = (weights @ means + RUBRIC_PROMPTS * rubric[kind]) / (
            weights.sum() + RUBRIC_PROMPTS
        )
        spread[kind] = np.sqrt(weights @ within**2 / weights.sum() + means.var())
    # A longer kind of answer is never shorter.
    return np.maximum.accumulate(mean), np.hypot(spread, _SCATTER)


def _some(prompt: Places, family: Places, rng: np.random.Generator) -> Places:
    """Places of some attempts, a few of each prompt."""
    order = rng.permutation(len(prompt))
    turn = _occurrence(prompt[order])
    order = order[turn < ATTEMPTS_PER_PROMPT]
    return np.sort(order[_occurrence(family[order]) < ATTEMPTS_PER_FAMILY])


def _occurrence(values: Places) -> Places:
    """How many equal values stand before each."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    counts = np.diff(np.append(starts, len(ordered)))
    found = np.empty(len(values), dtype=np.intp)
    found[order] = np.arange(len(ordered)) - np.repeat(starts, counts)
    return found


def length_examples(
    table: LengthTable,
    requests: Sequence[Request],
    annotations: Mapping[str, Annotation],
    tiers: Mapping[str, Sequence[str]],
    *,
    seed: int = 0,
) -> LengthExamples:
    """Examples from the attempts of all models and from annotated requests.

    Args:
        table: the attempts, at least one.
        requests: those that are in no history are taken.
        annotations: of prompts of histories.
        tiers: tier → the models that stand for it today.
        seed: of the draws.
    """
    rng = np.random.default_rng(seed)
    today = {model for models in tiers.values() for model in models}
    known: Talkativeness = fit_talkativeness(table, today)
    mean, spread = answer_lengths(table, known.length, annotations)
    chosen = _some(table.prompt, table.family[table.prompt], rng)
    seen = {group_of(text) for text in table.texts}
    new = [request for request in requests if group_of(request.prompt) not in seen]
    answers = [[one.answer for one in request.annotations] for request in new]
    drawn = np.array(
        [[one[at % len(one)] for at in range(DRAWS)] for one in answers], dtype=np.intp
    ).reshape(-1, DRAWS)
    noise = rng.normal(size=drawn.shape)
    kinds = {kind: at for at, kind in enumerate(sorted({request.kind for request in new}))}
    there = np.flatnonzero(~np.isnan(known.length))
    place = np.full(len(table.texts), -1)
    place[there] = np.arange(len(there))
    own = len(there) + np.arange(len(new))
    return LengthExamples(
        texts=np.concatenate(
            [table.texts[there], np.array([request.prompt for request in new], dtype=object)]
        ),
        families=table.families,
        instructed=table.instructed,
        family=np.concatenate([table.family[there], np.full(len(new), len(table.families))]),
        kinds=np.concatenate(
            [np.full(len(there), -1), np.array([kinds[one.kind] for one in new], dtype=np.intp)]
        ),
        length=np.concatenate(
            [known.length[there], np.array([mean[one].mean() for one in answers])]
        ),
        prompt=np.concatenate([place[table.prompt[chosen]], np.repeat(own, DRAWS)]),
        logs=np.concatenate([known.attempt[chosen], (mean[drawn] + spread[drawn] * noise).ravel()]),
        voices={tier: fit_voice(table, known, models) for tier, models in tiers.items()},
        talkativeness=known.models,
    )
