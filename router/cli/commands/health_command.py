"""``mitsumori health``: a probe for containers and scripts."""

from __future__ import annotations

from typing import Annotated

import grpc
import typer
from grpc_health.v1 import health_pb2, health_pb2_grpc

from router.cli.commands.connection import Connection, takes_connection
from router.core.errors import InvalidInput, shown

__all__ = ["health"]


@takes_connection()
def health(
    connection: Connection,
    service: Annotated[
        str,
        typer.Option(
            help="Service to ask about, such as mitsumori.process, which holds while the store is away; "
            "empty: the server as a whole.",
            show_default=False,
        ),
    ] = "",
    timeout: Annotated[float, typer.Option(help="Seconds for the whole call.", min=0.001)] = 3.0,
) -> None:
    """Ask a running server whether it can answer; exit with code 0 if so, else with 1."""
    with connection.channel() as channel:
        try:
            request = health_pb2.HealthCheckRequest(service=service)
            reply = health_pb2_grpc.HealthStub(channel).Check(request, timeout=timeout)
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.NOT_FOUND:
                raise InvalidInput(
                    f"--service: {connection.address} has no service {shown(service)}; leave it out for the "
                    "server as a whole, or ask for mitsumori.process or mitsumori.ledger",
                    field="service",
                ) from None
            typer.echo(f"{connection.address} does not answer ({error.code().name})", err=True)
            raise typer.Exit(1) from None
    status = health_pb2.HealthCheckResponse.ServingStatus.Name(reply.status)
    typer.echo(status)
    if status != "SERVING":
        raise typer.Exit(1)
