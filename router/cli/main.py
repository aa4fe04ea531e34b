"""The command ``mitsumori``. Help imports no command, and a command only what it needs itself."""

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
        "List the models that can be chosen, with today's prices.",
    ),
    "doctor": (
        "doctor_command:doctor",
        "Check bundle, hashes, tokenizer files, prices and port, and say what to do.",
    ),
    "quote": (
        "quote_command:quote",
        "Price a whole batch before it is sent: per model and for the recommended routing.",
    ),
    "settle": (
        "settle_command:settle",
        "Report what a decision really took; its hold turns into spend.",
    ),
    "release": (
        "settle_command:release",
        "Give a hold back, for a call that was never made.",
    ),
    "limits list": (
        "limits_command:list_limits",
        "List every limit; with labels, those that apply and what is left of them.",
    ),
    "limits set": (
        "limits_command:set_limit",
        "Make a limit, or replace the one of the same name.",
    ),
    "limits delete": ("limits_command:delete_limit", "Remove a limit."),
    "usage": (
        "accounts_command:usage",
        "What was spent, added up by label, model, tier or day, and how good quotes and holds were.",
    ),
    "decisions": (
        "accounts_command:decisions",
        "The decision log: oldest first, or the last few, newest first.",
    ),
    "corrections": (
        "accounts_command:corrections",
        "How good quotes were per model and scope, and the factors that settled usage corrects them by.",
    ),
    "erase": (
        "accounts_command:erase",
        "Delete finished decisions of a scope, for retention or on a user's demand.",
    ),
    "backup": (
        "accounts_command:backup",
        "Copy a SQLite ledger to a file while the server goes on.",
    ),
    "replay": (
        "replay_command:replay_command",
        "What another bundle or policy would have made of logged decisions.",
    ),
    "version": ("version_command:version", "Print the version."),
}
"""Command → where it is in ``router.cli.commands``, and the first line of its docstring."""


def _loaded(words: str) -> Any:
    """A command, imported now."""
    module, _, attribute = COMMANDS[words][0].partition(":")
    found = getattr(importlib.import_module(f"router.cli.commands.{module}"), attribute)
    alone = typer.Typer(add_completion=False, rich_markup_mode=None)
    alone.command(words.split()[-1])(found)
    return typer.main.get_command(alone)


class _LazyGroup(TyperGroup):
    """Lists commands by their help lines, and imports the one that is called."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """As the base class does, with the real command in the place of its stand-in."""
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
_limits = _group("limits", "Budgets, quotas and rates.")
for _words, (_, _line) in COMMANDS.items():
    *_of, _name = _words.split()
    (_limits if _of else app).command(_name, short_help=_line)(_stand_in)
app.add_typer(_limits, name="limits")


def main() -> None:
    """Run the command; our own errors are one line on standard error and exit code 2."""
    with errors_in_one_line():
        app()
