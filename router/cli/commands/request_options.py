"""The options of ``route`` and ``quote`` that say what a request wants."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from mitsumori.explanation import LANGUAGES, Language
from mitsumori.request import Importance
from router.core.errors import InvalidInput

__all__ = [
    "BatchOption",
    "CapabilitiesOption",
    "ImportanceOption",
    "LanguageOption",
    "MaxFirstTokenOption",
    "MaxLatencyOption",
    "MaxOutputTokensOption",
    "MaxPriceOption",
    "ModelsOption",
    "QualityTargetOption",
    "RegionsOption",
    "ScopeOption",
    "TiersOption",
    "WillingnessToPayOption",
    "language_of",
]

QualityTargetOption = Annotated[
    float | None, typer.Option("--quality-target", help="P(adequate) to reach, 0 to 1.")
]
WillingnessToPayOption = Annotated[
    str | None,
    typer.Option("--willingness-to-pay", help="What an adequate answer is worth, USD."),
]
ImportanceOption = Annotated[
    Importance,
    typer.Option(
        "--importance",
        help="How costly a wrong answer would be; without a goal, it is weighed against prices.",
    ),
]
ModelsOption = Annotated[
    list[str] | None, typer.Option("--model", help="Allow only this model; repeatable.")
]
TiersOption = Annotated[
    list[str] | None, typer.Option("--tier", help="Allow only this tier; repeatable.")
]
CapabilitiesOption = Annotated[
    list[str] | None, typer.Option("--capability", help="Require this capability; repeatable.")
]
RegionsOption = Annotated[
    list[str] | None,
    typer.Option("--region", help="Allow only models served in this region; repeatable."),
]
BatchOption = Annotated[
    bool,
    typer.Option(
        "--batch", help="The work can wait: limits, rules and full providers may put it off."
    ),
]
MaxPriceOption = Annotated[
    str | None,
    typer.Option("--max-price", help="Highest price at the 90th percentile, USD."),
]
MaxLatencyOption = Annotated[
    float | None,
    typer.Option("--max-latency", help="Longest latency at the 90th percentile, seconds."),
]
MaxFirstTokenOption = Annotated[
    float | None,
    typer.Option(
        "--max-first-token", help="Longest time to the first token at the 90th percentile, seconds."
    ),
]
MaxOutputTokensOption = Annotated[
    int | None,
    typer.Option(
        "--max-output-tokens", help="Largest number of output tokens the call will allow."
    ),
]
LanguageOption = Annotated[
    str,
    typer.Option(
        "--lang",
        help="Language of the explanation, en or ja (default: that of the environment, else en).",
        show_default=False,
    ),
]
ScopeOption = Annotated[
    list[str] | None,
    typer.Option("--scope", help="Label of the caller, such as team=search; repeatable."),
]


def language_of(given: str) -> Language:
    """The language of an explanation: as given, else that of the environment, else English.

    Args:
        given: the text of ``--lang``; empty: it is not given.

    Raises:
        InvalidInput: nothing is told in it.
    """
    if given and given not in LANGUAGES:
        raise InvalidInput(f"--lang: write one of {', '.join(LANGUAGES)}", field="--lang")
    # As gettext does: the first that is set counts, such as ja_JP.UTF-8.
    places = (os.environ.get(name) for name in ("LC_ALL", "LC_MESSAGES", "LANG"))
    found = given or next(filter(None, places), "")
    return "ja" if found.partition("_")[0].partition(".")[0] == "ja" else "en"
