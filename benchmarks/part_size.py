"""How many lines of the program would go with a part of the classifier.

Counted are the definitions that only this part has, with their comments and docstrings, and every other
line that names it in the modules listed. Blank lines are not counted, and tests are counted apart.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[1]
ESTIMATOR = "training/fitting/estimator.py"
GRAPH, SETTINGS = "training/export/classifier_graph.py", "training/pipeline/settings.py"


@dataclass(frozen=True)
class PartSource:
    """Where a part stands.

    Attributes:
        definitions: module → names of its functions and classes, none of them for the whole module.
        named: what names the part elsewhere, a regular expression.
        modules: where it is named.
        tests: whole test modules.
    """

    definitions: Mapping[str, tuple[str, ...]]
    named: str
    modules: tuple[str, ...]
    tests: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


PARTS = {
    "the head on words": PartSource(
        {"training/fitting/ngrams.py": (), ESTIMATOR: ("Words", "bag"), GRAPH: ("_words", "_sum", "_heard")},
        r"\bwords\b|\bWords\b|ngram|\bcounts\b|inverse|WORD_GRID|tf_idf|token_ids",
        (
            ESTIMATOR, GRAPH, "training/pipeline/training_data.py", "training/export/stages.py",
            "training/pipeline/encoder_fit.py", "training/pipeline/unseen_sources.py",
        ),
        {"tests/training/fitting/test_ngrams.py": ()},
    ),
    "words of lengths, which only --arms fits": PartSource(
        {},
        r"\bwords\b|ngram|\bcounts\b|inverse",
        ("training/fitting/lengths.py", "training/fitting/locations.py"),
    ),
    "the head on trees": PartSource(
        {
            "training/fitting/trees.py": (),
            GRAPH: ("_trees",),
            ESTIMATOR: ("two_sided", "form", "_fit_trees_head", "_grows_trees"),
        },
        r"\btrees\b|\bTrees\b|fit_trees",
        (ESTIMATOR, GRAPH),
        {"tests/training/fitting/test_trees.py": ()},
    ),
    "strengths and demands": PartSource(
        {"training/fitting/demands.py": (), "training/scale/model_names.py": ("shifts",)},
        r"demand|Demand|strength|Strength",
        (
            GRAPH, SETTINGS, "training/export/stages.py", "training/pipeline/encoder_fit.py",
            "training/pipeline/manifest.py", "training/evaluation/bundle_predictions.py",
            "training/arrivals/arrival.py", "training/arrivals/arrival_evidence.py",
            "training/arrivals/arrival_report.py", "training/arrivals/model_place.py",
            "training/pages/arrival_page.py", "router/classifier/bundle.py",
            "router/classifier/manifest.py", "router/classifier/model_ability.py",
            "router/core/types.py", "router/decision_log/record.py", "router/decision_log/record_json.py",
            "router/decision_log/replay.py", "router/routing/decision_recorder.py",
        ),
        {"tests/training/fitting/test_demands.py": ()},
    ),
}  # fmt: skip


def lines_of(part: PartSource) -> int:
    """Lines of the program that go with a part."""
    own = {module: _defined(module, names) for module, names in part.definitions.items()}
    count = sum(len(lines) for lines in own.values())
    for module in part.modules:
        lines = enumerate(_text(module).splitlines(), start=1)
        count += sum(
            bool(re.search(part.named, line)) for at, line in lines if at not in own.get(module, ())
        )
    return count


def test_lines_of(part: PartSource) -> int:
    """Lines of the test modules that are about a part alone."""
    return sum(len(_defined(module, names)) for module, names in part.tests.items())


def _text(module: str) -> str:
    return (ROOT / module).read_text(encoding="utf-8")


def _defined(module: str, names: tuple[str, ...]) -> set[int]:
    """Numbers of the lines of some definitions, of the whole module where none is named."""
    lines = _text(module).splitlines()
    spans = [(1, len(lines))]
    if names:
        found = {
            node.name: (
                min([node.lineno, *(one.lineno for one in node.decorator_list)]),
                node.end_lineno or node.lineno,
            )
            for node in ast.walk(ast.parse(_text(module)))
            if isinstance(node, ast.FunctionDef | ast.ClassDef)
        }
        spans = [found[name] for name in names]
    return {at for start, end in spans for at in range(start, end + 1) if lines[at - 1].strip()}
