"""The command ``mitsumori``. Help imports no command; a command imports only what it needs."""

from __future__ import annotations

import importlib
from typing import Any

import typer
from typer.core import TyperGroup

from router.cli.errors import errors_in_one_line

__all__ = ["COMMANDS", "app", "main"]

COMMANDS: dict[str, tuple[str, str]] = {
    "serve": (
        "serve_command:serve",
        "Serve Route over gRPC until SIGTERM, then finish the calls in flight.",
    ),
    "route": (
        "route_command:route",
        "Ask a running server which model should answer a prompt, and at what price.",
    ),
    "models": (
        "models_command:models",
        "List the models that can be chosen, with today's prices, their ability and speed.",
    ),
    "rules show": (
        "rules_command:show_rules",
        "Show the routing table: by importance and complexity, and rule by rule.",
    ),
    "rules check": (
        "rules_command:check_rules",
        "Look for rules that fail, never hold, are never asked, contradict others or do nothing.",
    ),
    "rules test": (
        "rules_command:try_rules",
        "Run cases against the routing table.",
    ),
    "shadow": (
        "trial_command:shadow",
        "Show how the choices of the shadow differ from those that were made.",
    ),
    "canary show": (
        "trial_command:canary",
        "Show the canary beside the rest: quality, cost and errors, and why it was halted.",
    ),
    "catalog update": (
        "catalog_command:update_catalog",
        "Show, and with --write take over, what the installed genai-prices has and a catalog file has not.",
    ),
    "doctor": (
        "doctor_command:doctor",
        "Check what the server needs, from the bundle to the port, and say how to fix what is wrong.",
    ),
    "health": (
        "health_command:health",
        "Ask a running server whether it can answer; exit with code 0 if so, else with 1.",
    ),
    "inputs": (
        "inputs_command:inputs",
        "List what a running server serves from: the versions in use, and what it refused.",
    ),
    "quote": (
        "quote_command:quote",
        "Price a batch before it is sent: per model and for the recommended routing.",
    ),
    "settle": (
        "settle_command:settle",
        "Report the usage of a decision's call; its hold turns into spend.",
    ),
    "amend": (
        "settle_command:amend",
        "Correct what a settled decision spent; its row keeps what was booked before, and why.",
    ),
    "release": (
        "settle_command:release",
        "Release the hold of a decision whose call was never made.",
    ),
    "tasks begin": (
        "tasks_command:begin_task",
        "Quote a whole task and hold its cap; turns are calls of `route` with its --task-id.",
    ),
    "tasks list": (
        "tasks_command:list_tasks",
        "List the newest tasks, with their caps and what is left of them.",
    ),
    "tasks show": (
        "tasks_command:show_task",
        "Show a task: its cap, what its turns have used of it, and what is left.",
    ),
    "tasks end": (
        "tasks_command:end_task",
        "End a task: what is left of its cap is free again, and open turns keep their holds.",
    ),
    "limits list": (
        "limits_command:list_limits",
        "List every limit; with labels, only those that apply, and their balances.",
    ),
    "limits set": (
        "limits_command:set_limit",
        "Create a limit, or replace the one with the same id.",
    ),
    "limits delete": ("limits_command:delete_limit", "Delete a limit."),
    "defer list": (
        "defer_command:list_deferred",
        "List the batch work that was refused until later and has not come back, in the order of its turns.",
    ),
    "keys list": (
        "keys_command:list_keys",
        "List every key: what it may do, and whether it is in force; the keys themselves are kept nowhere.",
    ),
    "keys create": (
        "keys_command:create_key",
        "Make a key and print it. It cannot be shown again.",
    ),
    "keys rotate": (
        "keys_command:rotate_key",
        "Make a key with the rights of another and print it; the old one expires after an overlap.",
    ),
    "keys revoke": (
        "keys_command:revoke_key",
        "End a key for good. A running server refuses it within a second.",
    ),
    "usage": (
        "accounts_command:usage",
        "Show spend by label, model, tier or day, and how accurate quotes and holds were.",
    ),
    "decisions": (
        "accounts_command:decisions",
        "List decisions, oldest first; with --last, the newest ones, newest first.",
    ),
    "explain": (
        "explain_command:explain",
        "Explain a decision of the log: what each model lost to, and what would have to change.",
    ),
    "corrections": (
        "accounts_command:corrections",
        "Show how accurate quotes were per model and scope, and the factors that now correct them.",
    ),
    "erase": (
        "accounts_command:erase",
        "Delete finished decisions with given labels, for retention or at a user's request.",
    ),
    "backup": (
        "accounts_command:backup",
        "Copy a SQLite ledger to a file while the server keeps running.",
    ),
    "verify": (
        "verify_command:verify",
        "Check a ledger against its invariants; exit with code 1 if a row violates one.",
    ),
    "replay": (
        "replay_command:replay_command",
        "Estimate what another bundle or policy would have achieved on logged decisions.",
    ),
    "version": ("version_command:version", "Print the version."),
}
"""Command → its module and function in ``router.cli.commands``, and the first line of its docstring."""


def _loaded(words: str) -> Any:
    """A command, imported now."""
    module, _, attribute = COMMANDS[words][0].partition(":")
    found = getattr(importlib.import_module(f"router.cli.commands.{module}"), attribute)
    alone = typer.Typer(add_completion=False, rich_markup_mode=None)
    alone.command(words.split()[-1])(found)
    return typer.main.get_command(alone)


class _LazyGroup(TyperGroup):
    """Lists the commands with their help lines; imports only the command that is called."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """As in the base class, but with the real command instead of its stand-in."""
        name, command, rest = super().resolve_command(ctx, args)
        words = f"{name}" if ctx.parent is None else f"{self.name} {name}"
        return name, _loaded(words) if words in COMMANDS else command, rest


def _stand_in() -> None:
    raise AssertionError("the group puts the real command in its place")


def _group(name: str, text: str) -> typer.Typer:
    """A group of commands that are not imported yet."""
    return typer.Typer(
        cls=_LazyGroup,
        name=name,
        help=text,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )


app = _group(
    "mitsumori",
    "Which model should answer this prompt, what will it cost, and may this caller spend that?",
)
_groups = {
    "tasks": _group("tasks", "One quote and one hold for a whole agent run."),
    "limits": _group("limits", "Budgets, quotas and rates."),
    "defer": _group("defer", "Batch work that waits for its turn."),
    "keys": _group("keys", "API keys: who may call, and what for."),
    "catalog": _group("catalog", "The models that can be chosen, and their prices."),
    "canary": _group("canary", "Other parts that decide a share of the requests."),
    "rules": _group("rules", "The routing table: what must hold whatever the scores say."),
}
for _words, (_, _line) in COMMANDS.items():
    *_of, _name = _words.split()
    (_groups[_of[0]] if _of else app).command(_name, short_help=_line)(_stand_in)
for _name, _group_of_commands in _groups.items():
    app.add_typer(_group_of_commands, name=_name)


def main() -> None:
    """Run the command; expected errors are one line on standard error and exit code 2."""
    with errors_in_one_line():
        app()
