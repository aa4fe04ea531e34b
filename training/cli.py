"""``python -m training``: the commands of a data scientist."""

from __future__ import annotations

import typer

from router.cli.errors import errors_in_one_line
from training.commands.abilities_command import abilities_command
from training.commands.add_arm_command import add_arm_command
from training.commands.collect_command import collect_command
from training.commands.compare_command import compare_command
from training.commands.drift_command import drift_command
from training.commands.embed_command import embed_command
from training.commands.encoder_command import encoder_command
from training.commands.evaluate_command import evaluate_command
from training.commands.fit_command import fit_command
from training.commands.guard_command import guard_command
from training.commands.import_command import import_command
from training.commands.judge_command import judge_command
from training.commands.label_command import label_command
from training.commands.promote_command import promote_command
from training.commands.sign_command import sign_command

__all__ = ["app", "main"]

app = typer.Typer(
    name="training",
    help="From histories of attempts to a bundle that routes.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("evaluate")(evaluate_command)
app.command("compare")(compare_command)
app.command("promote")(promote_command)
app.command("sign")(sign_command)
app.command("add-arm")(add_arm_command)
app.command("abilities")(abilities_command)
app.command("embed")(embed_command)
app.command("encoder")(encoder_command)
app.command("drift")(drift_command)
app.command("import")(import_command)
app.command("collect")(collect_command)
app.command("judge")(judge_command)
app.command("label")(label_command)
app.command("fit")(fit_command)
app.command("guard")(guard_command)


def main() -> None:
    """Run a command; an error of ours is one line on stderr and exit code 2, with no traceback."""
    with errors_in_one_line():
        app()
