"""What a model is placed by: its judged attempts, those of its peers, and what the bundle says of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from rich.console import Console
from scipy.special import logit

from router.classifier.bundle import Bundle
from training.arrivals.arrival_plan import ArrivalPlan, check_attempts, standard_for
from training.arrivals.model_place import JudgedPrompts, Peers
from training.encoders.embedding import encode_prompts
from training.evaluation.bundle_predictions import predict, unseen_prompts
from training.evaluation.predictions import p_of_models
from training.histories.history import History, read_history
from training.histories.ladders import Standard
from training.scale.attempt_table import AttemptTable, MeasuredPrompts, attempt_table
from training.scale.model_names import canonical_name, points_of_models, shifts_of_models

__all__ = ["ArrivalEvidence", "gather_evidence"]

Places = npt.NDArray[np.intp]


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
        # Histories are known by their numbers: two files may have one name.
        numbered = [replace(one, name=str(at)) for at, one in enumerate(histories)]
        table, prompts = attempt_table(numbered, standards)
    name = canonical_name(plan.model)
    own = table.model == (table.models.index(name) if name in table.models else -1)
    check_attempts(plan, int(own.sum()))
    asked, rows = np.unique(table.prompt[own], return_inverse=True)
    at_prompts = _prompts_at(prompts, asked)
    encoded = encode_prompts(
        bundle.encoder, at_prompts.texts.tolist(), cache=plan.cache, console=console
    )
    arms = bundle.manifest.placed_arms
    found = predict(bundle, encoded, [arm.name for arm in arms])
    p_adequate = found.predictions.standard
    points = np.array([arm.ability for arm in arms], dtype=np.float64)
    number = np.array([int(one) for one in table.histories], dtype=np.intp)
    attempts = JudgedPrompts(
        p_adequate[rows],
        points,
        found.demands[rows],
        number[table.history[own]],
        table.adequate[own] > 0,
    )
    unseen = unseen_prompts(bundle, plan.bundle, at_prompts)
    return ArrivalEvidence(
        attempts,
        _peers(plan, bundle, table, own, p_adequate, found.demands),
        at_prompts.groups[rows],
        None if unseen is None else ~unseen[rows],
        histories,
        standards,
    )


def _prompts_at(prompts: MeasuredPrompts, places: Places) -> MeasuredPrompts:
    return MeasuredPrompts(**{name: column[places] for name, column in vars(prompts).items()})


def _peers(
    plan: ArrivalPlan,
    bundle: Bundle,
    table: AttemptTable,
    own: npt.NDArray[np.bool_],
    p_adequate: npt.NDArray[np.float64],
    demands: npt.NDArray[np.float64],
) -> Peers:
    """The attempts of models that the bundle places, where the new model has attempts in the same history.

    Args:
        plan: which model.
        bundle: places the peers.
        table: all attempts.
        own: bool ``(a,)``, those of the new model.
        p_adequate: float64 ``(m, k)`` of the placed arms, at the ``m`` prompts that it answered, ascending.
        demands: float64 ``(m, d)`` of these.
    """
    known = {
        name: one
        for name, one in bundle.manifest.abilities.items()
        if name not in (plan.key, canonical_name(plan.model))
    }
    place = table.prompt * len(table.histories) + table.history
    placed = np.array([name in known for name in table.models], dtype=bool)
    kept = placed[table.model] & ~own & np.isin(place, place[own])
    row = np.searchsorted(np.unique(table.prompt[own]), table.prompt[kept])
    models = np.array(table.models, dtype=object)[table.model[kept]][:, None]
    arm_points = np.array([arm.ability for arm in bundle.manifest.placed_arms], dtype=np.float64)
    strengths = {name: one.strengths for name, one in known.items() if one.strengths}
    p = p_of_models(
        p_adequate[row],
        arm_points,
        points_of_models(models, known, np.zeros(1)),
        shifts_of_models(models, strengths, demands[row]) if strengths else 0.0,
    )
    number = np.array([int(one) for one in table.histories], dtype=np.intp)
    history = number[table.history[kept]]
    pairs = np.unique(np.column_stack([history, table.model[kept]]), axis=0)
    return Peers(
        logit(p[:, 0]),
        table.adequate[kept] > 0,
        history,
        np.bincount(pairs[:, 0], minlength=len(plan.histories)),
    )
