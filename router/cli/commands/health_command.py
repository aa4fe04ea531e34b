"""``mitsumori health``: a probe for containers and scripts."""

from __future__ import annotations

from typing import Annotated

import grpc
import typer
from grpc_health.v1 import health_pb2, health_pb2_grpc

from router.cli.commands.arguments import Json
from router.cli.commands.connection import Connection, takes_connection
from router.cli.render import print_json
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
    every: Annotated[
        bool,
        typer.Option(
            "--all",
            help="List every service, and every process where several serve; exit with 0 if all can answer.",
        ),
    ] = False,
    timeout: Annotated[float, typer.Option(help="Seconds for the whole call.", min=0.001)] = 3.0,
    json_output: Json = False,
) -> None:
    """Ask a running server whether it can answer; exit with code 0 if so, else with 1."""
    with connection.anonymous(timeout_s=timeout) as server:
        try:
            stub = health_pb2_grpc.HealthStub(server.channel)
            if every:
                listed = stub.List(health_pb2.HealthListRequest(), timeout=timeout).statuses
                found = {name: listed[name].status for name in sorted(listed)}
            else:
                asked = health_pb2.HealthCheckRequest(service=service)
                found = {service: stub.Check(asked, timeout=timeout).status}
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.NOT_FOUND:
                raise InvalidInput(
                    f"--service: {connection.address} has no service {shown(service)}; leave it out for the "
                    "server as a whole, or ask for mitsumori.process or mitsumori.ledger",
                    field="service",
                ) from None
            typer.echo(f"error: {server.failure(error).message}", err=True)
            raise typer.Exit(1) from None
    names = health_pb2.HealthCheckResponse.ServingStatus.Name
    if json_output:
        print_json([{"service": name, "status": names(number)} for name, number in found.items()])
    else:
        for name, number in found.items():
            status = names(number)
            typer.echo(f"{status:<12} {name or 'the server as a whole'}" if every else status)
    if set(found.values()) != {health_pb2.HealthCheckResponse.SERVING}:
        raise typer.Exit(1)
