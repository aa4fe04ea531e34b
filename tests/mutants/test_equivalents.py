"""The list of equivalent mutants fits the code, without running any mutant."""

from __future__ import annotations

from tests.mutants.__main__ import ROOMS, equivalents, places
from tests.mutants.operators import mutants_of


def test_every_entry_of_the_list_is_a_mutant_of_today() -> None:
    known = equivalents()
    listed = {file for file, _, _ in known}
    made = {
        (place.name, mutant.before, mutant.after)
        for place in places(ROOMS)
        if place.name in listed
        for mutant in mutants_of(
            place.path.read_text(encoding="utf-8"), str(place.path), place.functions
        )
    }
    assert known - made == set()
