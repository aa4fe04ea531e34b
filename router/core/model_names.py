"""One name for one model, by which its ability is found: histories and catalogs spell it differently."""

from __future__ import annotations

import re
from functools import lru_cache

__all__ = ["canonical_name"]

_MAKERS = re.compile(
    r"^(?:meta|nousresearch|google|nvidia|salesforce|thudm|databricks|ibm-granite|deepseek-ai)-(?=[a-z])"
)
_SPELLINGS = (
    (re.compile(r"^llama-?(\d)[-.](\d)(?=-)"), r"llama-\1.\2"),
    (re.compile(r"^llama(\d)"), r"llama-\1"),
    (re.compile(r"^qwen-(\d)"), r"qwen\1"),
    (re.compile(r"^gpt(\d)"), r"gpt-\1"),
    (re.compile(r"^(gemini-.*?)-(?:preview|exp)(?:-\d\d-\d\d)?$"), r"\1"),
    (re.compile(r"-\d{4}-\d\d-\d\d$"), ""),
)
"""Ways of writing one name, and its form here. A date of publication at the end is left out."""
_KEEP_DATE = re.compile(r"^gpt-4o-2024-\d\d-\d\d$")
"""Models that differ by their date only."""


@lru_cache(maxsize=4096)
def canonical_name(name: str) -> str:
    """The name of a model in lower case, without organisation, maker and date of publication.

    ``meta-llama/Llama-3.1-8B-Instruct`` and ``Meta-Llama-3_1-8B-Instruct`` are one model.
    """
    known = name.rsplit("/", 1)[-1].lower().replace("_", "-").replace(" ", "-")
    known = _MAKERS.sub("", known)
    for pattern, form in _SPELLINGS:
        if form or not _KEEP_DATE.match(known):
            known = pattern.sub(form, known)
    return known
