"""A short overload: everything that is reckoned from it, and no figure that depends on the machine."""

from __future__ import annotations

from benchmarks.http2_client import CANCELLED_BY_US, Call, Outcome
from benchmarks.overload import ROUTE, Phase, measure


def test_a_short_overload_refuses_what_it_does_not_answer_and_holds_nothing_for_callers_who_have_gone() -> (
    None
):
    figures = {figure.name: figure.value for figure in measure(seconds=0.5, factors=(5.0,))}
    assert figures["baseline: capacity beside 5 × capacity"] > 0
    assert figures["5 × capacity: answered, share of the capacity"] > 0
    assert figures["5 × capacity: of those, told when to try again"] > 0
    assert figures["5 × capacity: health not answered"] == 0
    assert figures["5 × capacity: holds for callers who had gone"] < 100


def test_the_figures_of_a_phase_are_those_that_a_hand_would_reckon() -> None:
    def outcome(at_s: float, status: int, latency_s: float) -> Outcome:
        return Outcome(Call(at_s, ROUTE, b"", 1.0), status, b"", latency_s)

    phase = Phase(
        2.0,
        [outcome(0.1, 0, 0.01), outcome(0.4, 8, 0.01), outcome(0.9, 0, 0.2), outcome(1.5, 0, 0.1),
         outcome(0.2, CANCELLED_BY_US, 1.0)],
        [],
    )  # fmt: skip
    assert [each.call.at_s for each in phase.answered] == [0.1, 0.9, 1.5]
    assert [each.call.at_s for each in phase.refused] == [0.4]
    assert phase.recovered_s == 0.9
