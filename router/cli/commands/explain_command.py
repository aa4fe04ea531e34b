"""``mitsumori explain``: why a decision of the log came out as it did."""

from __future__ import annotations

from typing import Annotated

import typer

from mitsumori.v1 import admin_pb2
from router.cli.commands.arguments import Json, Labels, labels_of
from router.cli.commands.connection import Connection, takes_connection
from router.cli.commands.request_options import LanguageOption, language_of
from router.cli.explanation_view import print_explanation
from router.cli.render import as_dict, console, print_json
from router.core.errors import NotFound
from router.decision_log.logged_explanation import explain_record
from router.decision_log.reader import LoggedDecision, read_log
from router.rpc.messages.explanation import fill_logged

__all__ = ["explain"]


@takes_connection(admin=True)
def explain(
    connection: Connection,
    decision_id: Annotated[str, typer.Argument(help="Id of the decision, as `route` prints it.")],
    labels: Labels = None,
    log: Annotated[
        str,
        typer.Option(
            help="Read this log instead of asking a server: sqlite:PATH, postgresql://…, or a file of "
            "`decisions --out`."
        ),
    ] = "",
    language: LanguageOption = "",
    json_output: Json = False,
) -> None:
    """Explain a decision of the log: what each model lost to, and what would have to change.

    The decision is made again from its record, which does not keep everything; what is missing is said.
    """
    told_in, wanted = language_of(language), labels_of(labels, "--label")
    if log:
        reply = _from_log(log, decision_id, wanted)
    else:
        with connection.admin() as client:
            reply = client.explain(decision_id, wanted)
    if json_output:
        print_json(as_dict(reply))
    else:
        print_explanation(reply.explanation, told_in)
        made = reply.create_time.ToDatetime()
        text = f"{reply.decision_id}, {made:%Y-%m-%d %H:%M:%S} UTC"
        console().print(text, style="dim", highlight=False, markup=False)


def _from_log(
    log: str, decision_id: str, labels: dict[str, str]
) -> admin_pb2.ExplainDecisionResponse:
    for row in read_log(log):
        if not isinstance(row, LoggedDecision) or row.id != decision_id:
            continue
        if labels.items() <= row.labels.items():
            reply = admin_pb2.ExplainDecisionResponse(decision_id=row.id)
            reply.create_time.FromDatetime(row.created)
            fill_logged(reply.explanation, explain_record(row.record, row.created))
            return reply
    raise NotFound("decision_id: there is no such decision in this log", field="decision_id")
