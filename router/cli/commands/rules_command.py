"""``mitsumori rules``: the routing table: shown, checked, and run over cases."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from router.catalog.catalog import load_catalog
from router.cli.commands.arguments import Json
from router.cli.render import console, print_json, table
from router.core.plurals import counted
from router.core.types import Importance
from router.rules.facts import LEVELS, VARIABLES
from router.rules.review import review
from router.rules.routing_table import RoutingTable, load_rules
from router.rules.rule_cases import RuleCase, read_cases, run_case

__all__ = ["check_rules", "show_rules", "try_rules"]

RulesFile = Annotated[
    Path | None,
    typer.Option(
        "--rules", envvar="MITSUMORI_RULES", help="File of rules (default: the shipped one)."
    ),
]
CatalogFile = Annotated[
    Path | None,
    typer.Option(
        "--catalog", envvar="MITSUMORI_CATALOG", help="Catalog file (default: the shipped one)."
    ),
]


def _grid(rules: RoutingTable) -> list[list[str]]:
    """What applies by importance and complexity, to a request that is usual in all else."""
    rows = []
    for importance in Importance:
        row = [importance.value]
        for level in LEVELS:
            values = RuleCase(
                name="cell", given={"importance": importance.value, "level": level}, rules=()
            ).values
            values["scope"] = dict(rules.conditions.labels)
            row.append("; ".join(rule.text for rule in rules.ruling_on(values).rules) or "–")
        rows.append(row)
    return rows


def show_rules(
    rules: RulesFile = None,
    catalog: CatalogFile = None,
    variables: Annotated[
        bool, typer.Option("--variables", help="List what conditions may ask about instead.")
    ] = False,
    json_output: Json = False,
) -> None:
    """Show the routing table: by importance and complexity, and rule by rule."""
    if variables:
        _show_variables(json_output)
        return
    read = load_rules(rules)
    fitted = read.fitted(load_catalog(catalog))
    known = {rule.name for rule in fitted.rules}
    entries = [entry for entry in read.file.rules if entry.name in known]
    if json_output:
        print_json(
            {
                "version": read.version,
                "time_zone": read.file.time_zone,
                "rules": [
                    {
                        "name": entry.name,
                        "when": entry.when,
                        "then": entry.then.model_dump(mode="json", exclude_unset=True),
                        "text": rule.text,
                        "final": entry.final,
                        "gives_way": entry.gives_way,
                        "note": entry.note,
                    }
                    for entry, rule in zip(entries, fitted.rules, strict=True)
                ],
            }
        )
        return
    shown = console()
    columns = ["importance", *(f"complexity {level}" for level in LEVELS)]
    shown.print(
        table(f"Routing table {read.version}, requests without labels", columns, _grid(fitted))
    )
    # Whether a rule ends the table or gives way changes what it means: no terminal is too narrow for it.
    marks = [
        (name, values)
        for name, values in (
            ("final", [entry.final for entry in entries]),
            ("gives way", [entry.gives_way for entry in entries]),
        )
        if any(values)
    ]
    rows = [
        [
            escape(entry.name),
            escape(" ".join(entry.when.split())),
            escape(rule.text),
            *("yes" if values[place] else "" for _, values in marks),
        ]
        for place, (entry, rule) in enumerate(zip(entries, fitted.rules, strict=True))
    ]
    shown.print(
        table(
            f"Rules, from top to bottom, hours in {read.file.time_zone}",
            ["rule", "when", "then", *(name for name, _ in marks)],
            rows,
        )
    )


def _show_variables(json_output: bool) -> None:
    if json_output:
        print_json(
            [{"name": n, "type": kind, "what": what} for n, (kind, what) in VARIABLES.items()]
        )
        return
    rows = [[name, kind, what] for name, (kind, what) in VARIABLES.items()]
    console().print(table("What conditions may ask about", ["variable", "type", "what"], rows))


def check_rules(
    rules: RulesFile = None, catalog: CatalogFile = None, json_output: Json = False
) -> None:
    """Look for rules that fail, never hold, are never asked, contradict others or do nothing.

    Exit with code 1 if there is one.
    """
    read, models = load_rules(rules), load_catalog(catalog)
    found = review(read, models, models.at(datetime.now(UTC)).models)
    if json_output:
        print_json(
            [
                {
                    "rule": each.rule, "doubt": each.doubt.value, "line": each.place.line,
                    "column": each.place.column, "text": each.text,
                }
                for each in found
            ]
        )  # fmt: skip
    else:
        for each in found:
            place = f"{read.name}:{each.place.line}:{each.place.column}"
            text = f"{place}: {each.rule} {each.doubt.value}: {each.text}"
            console(soft_wrap=True).print(text, markup=False, highlight=False)
        if not found:
            number = counted(len(read.file.rules), "rule")
            console().print(f"{number}: nothing suspicious", highlight=False)
    if found:
        raise typer.Exit(1)


def try_rules(
    cases: Annotated[Path, typer.Argument(help="YAML file of cases.")],
    rules: RulesFile = None,
    catalog: CatalogFile = None,
    json_output: Json = False,
) -> None:
    """Run cases against the routing table.

    Exit with code 1 if one differs.

    A file of cases has a list ``cases``. Each has a ``name``, what is ``given``, such as ``importance:
    high``, and what is expected: the ``rules`` that apply, or the ``tiers`` or ``models`` that they allow.
    """
    models = load_catalog(catalog)
    fitted = load_rules(rules).fitted(models)
    priced = models.at(datetime.now(UTC)).models
    results = [run_case(case, fitted, priced) for case in read_cases(cases)]
    wrong = [each for each in results if each.differences]
    if json_output:
        facts: list[dict[str, Any]] = [
            {
                "case": each.name,
                "holds": not each.differences,
                "differences": list(each.differences),
            }
            for each in results
        ]
        print_json(facts)
    else:
        shown = console(soft_wrap=True)
        for each in wrong:
            shown.print(
                f"{each.name}: {'; '.join(each.differences)}", markup=False, highlight=False
            )
        shown.print(
            f"cases that hold: {len(results) - len(wrong)} of {len(results)}", highlight=False
        )
    if wrong:
        raise typer.Exit(1)
