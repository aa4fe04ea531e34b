"""What a model is placed by: its judged attempts, those of its peers, and what the bundle says of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from rich.console import Console
from scipy.special import logit

from router.classifier.bundle import Bundle
from router.classifier.manifest import ModelAbility
from router.core.model_names import canonical_name
from training.arrivals.arrival_plan import ArrivalPlan, check_attempts, standard_for
from training.arrivals.model_place import JudgedPrompts, Peers
from training.encoders.embedding import EncodedPrompts, encode_prompts
from training.evaluation.bundle_predictions import predict, unseen_prompts
from training.evaluation.predictions import p_of_models
from training.histories.history import History, read_history
from training.histories.ladders import Standard
from training.scale.attempt_table import AttemptTable, MeasuredPrompts, attempt_table
from training.scale.model_names import NamedModels

__all__ = ["ArrivalEvidence", "PromptScores", "gather_evidence"]

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.intp]


@dataclass(frozen=True)
class PromptScores:
    """What a bundle says of the prompts of an attempt table; NaN for prompts that it was not asked about.

    Attributes:
        p_adequate: float64 ``(prompts, k)``, of the arms that stand on the scale.
        demands: float64 ``(prompts, d)``.
        arm_points: float64 ``(k,)``, abilities of these arms, ascending.
    """

    p_adequate: Floats
    demands: Floats
    arm_points: Floats

    @classmethod
    def of(
        cls, bundle: Bundle, encoded: EncodedPrompts, asked: Places, prompts: int
    ) -> PromptScores:
        """Run a bundle over prompts.

        Args:
            bundle: loaded; two arms or more stand on the scale.
            encoded: ``m`` prompts.
            asked: intp ``(m,)``, their places in the table.
            prompts: how many prompts the table has.
        """
        arms = bundle.manifest.placed_arms
        found = predict(bundle, encoded, [arm.name for arm in arms])
        p_adequate = np.full((prompts, len(arms)), np.nan)
        p_adequate[asked] = found.predictions.standard
        demands = np.full((prompts, found.demands.shape[1]), np.nan)
        demands[asked] = found.demands
        return cls(p_adequate, demands, np.array([arm.ability for arm in arms], dtype=np.float64))

    def attempts(self, table: AttemptTable, own: npt.NDArray[np.bool_]) -> JudgedPrompts:
        """Attempts of one model.

        Args:
            table: all attempts, ``a`` of them.
            own: bool ``(a,)``, which are wanted.
        """
        prompt = table.prompt[own]
        return JudgedPrompts(
            self.p_adequate[prompt],
            self.arm_points,
            self.demands[prompt],
            table.history[own],
            table.adequate[own] > 0,
        )

    def peers(
        self,
        table: AttemptTable,
        own: npt.NDArray[np.bool_],
        known: Mapping[str, ModelAbility],
    ) -> Peers:
        """Attempts of known models at the prompts that a new one has attempts at, in the same history.

        Args:
            table: all attempts, ``a`` of them.
            own: bool ``(a,)``, those of the new model.
            known: models by canonical name, without the new one.
        """
        cell = table.prompt * len(table.histories) + table.history
        placed = np.array([name in known for name in table.models], dtype=bool)
        kept = placed[table.model] & ~own & np.isin(cell, cell[own])
        prompt, history = table.prompt[kept], table.history[kept]
        models = NamedModels(table.models, table.model[kept][:, None])
        strengths = {name: one.strengths for name, one in known.items() if one.strengths}
        p = p_of_models(
            self.p_adequate[prompt],
            self.arm_points,
            models.points(known, np.zeros(1)),
            models.shifts(strengths, self.demands[prompt]),
        )
        pairs = np.unique(np.column_stack([history, table.model[kept]]), axis=0)
        return Peers(
            logit(p[:, 0]),
            table.adequate[kept] > 0,
            history,
            np.bincount(pairs[:, 0], minlength=len(table.histories)),
        )


@dataclass(frozen=True)
class ArrivalEvidence:
    """Judged attempts of a model.

    Attributes:
        attempts: ``n`` of them.
        peers: of models that the bundle places, at the same prompts.
        groups: ``n`` keys of :func:`split.group_of`.
        seen: bool ``(n,)``, at training prompts of the bundle; ``None`` where it does not record them.
        histories: in the order of their numbers.
        standards: how each was graded.
    """

    attempts: JudgedPrompts
    peers: Peers
    groups: npt.NDArray[np.object_]
    seen: npt.NDArray[np.bool_] | None
    histories: Sequence[History]
    standards: Sequence[Standard]


def gather_evidence(plan: ArrivalPlan, bundle: Bundle, console: Console) -> ArrivalEvidence:
    """Read the histories, and run the bundle over the prompts that the model answered.

    Args:
        plan: which model.
        bundle: of the plan, loaded.
        console: where the progress of encoding goes.

    Raises:
        InvalidInput: a history cannot be read or used, or there are fewer judged attempts than
            :data:`arrival_plan.MIN_ATTEMPTS`.
        MitsumoriError: the cache cannot be used.
    """
    histories = [read_history(path, skip_bad_rows=plan.skip_bad_rows) for path in plan.histories]
    standards = [standard_for(plan, history) for history in histories]
    with console.status("reading"):
        # Known by number here: two files may have one name.
        numbered = [replace(one, name=str(at)) for at, one in enumerate(histories)]
        table, prompts = attempt_table(numbered, standards)
    name = canonical_name(plan.model)
    own = table.model == (table.models.index(name) if name in table.models else -1)
    check_attempts(plan, int(own.sum()))
    asked = np.unique(table.prompt[own])
    at_prompts = MeasuredPrompts(**{key: column[asked] for key, column in vars(prompts).items()})
    encoded = encode_prompts(
        bundle.encoder, at_prompts.texts.tolist(), cache=plan.cache, console=console
    )
    told = PromptScores.of(bundle, encoded, asked, table.prompts)
    others = {
        known: one
        for known, one in bundle.manifest.abilities.items()
        if known not in (plan.key, name)
    }
    unseen = unseen_prompts(bundle, plan.bundle, at_prompts)
    places = [int(one) for one in table.histories]
    return ArrivalEvidence(
        told.attempts(table, own),
        told.peers(table, own, others),
        prompts.groups[table.prompt[own]],
        None if unseen is None else ~unseen[np.searchsorted(asked, table.prompt[own])],
        [histories[at] for at in places],
        [standards[at] for at in places],
    )
