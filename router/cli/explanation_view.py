"""An explanation of a decision on a terminal: a table of the models, and what each lost to."""

from __future__ import annotations

from mitsumori.explanation import Explanation, Language, figures, outcome, phrases_of
from mitsumori.v1 import explanation_pb2
from router.cli.render import console, table

__all__ = ["print_explanation"]

_MARKS = ("", "?", ">", ">", "?>", ">", "")
"""Of the columns, as :class:`~router.cli.render.FittedTable` reads them."""
_WITH_RISK = 5
"""The place of the column that only goals have which weigh a miss."""


def print_explanation(message: explanation_pb2.Explanation, language: Language) -> None:
    """Print an explanation.

    Args:
        message: of a reply.
        language: ``en`` or ``ja``.
    """
    shown, told, words = console(), Explanation(message), phrases_of(language)
    japanese = language == "ja"  # has few spaces: the terminal breaks it at its edge
    shown.print(told.headline(language), style="bold", highlight=False, markup=False)
    weighed = any(each.HasField("expected_cost") for each in message.models)
    places = [at for at in range(len(_MARKS)) if weighed or at != _WITH_RISK]
    rows = [
        [each.model, each.tier, *figures(each), outcome(each, words)] for each in message.models
    ]
    columns = [_MARKS[at] + words.columns[at] for at in places]
    shown.print(table("", columns, ([row[at] for at in places] for row in rows)))
    for each in message.models:
        sentences = told.of_model(each, language)
        if sentences:
            text = f"• {each.model}{words.colon}{sentences}"
            shown.print(text, highlight=False, markup=False, soft_wrap=japanese)
    for note in told.notes(language):
        shown.print(note, style="dim", highlight=False, markup=False, soft_wrap=japanese)
