"""``mitsumori shadow | canary show``: what other parts do beside the live ones of a running server."""

from __future__ import annotations

from datetime import UTC

from mitsumori.v1 import admin_pb2
from router.cli.commands.arguments import Json
from router.cli.commands.connection import Connection, takes_connection
from router.cli.render import as_dict, console, print_json, table
from router.core.money import NANOS_PER_USD, short_usd
from router.core.plurals import counted

__all__ = ["canary", "shadow"]


@takes_connection(admin=True)
def shadow(connection: Connection, json_output: Json = False) -> None:
    """Show how the choices of the shadow differ from those that were made.

    The setting shadow names a bundle, a catalog or rules that decide on copies of requests. The choices of
    both sides are judged by the live parts and by those of the shadow; ± is twice the standard error. The
    figures are those of the process that answers: each process and each replica has its own.
    """
    with connection.admin() as client:
        found = client.shadow()
    if json_output:
        print_json(as_dict(found))
        return
    out = console()
    if not found.version:
        out.print("There is no shadow. The setting shadow names what is tried.", highlight=False)
        return
    since = f"{found.since_time.ToDatetime(UTC):%Y-%m-%d %H:%M:%S} UTC"
    lines = [f"Shadow: {found.parts}, since {since}"]
    if found.problem:
        lines.append(f"It does not decide at the moment: {found.problem}")
    lines.append(
        f"{counted(found.calls, 'request')}: the same model for {_share(found.same_model, found.calls)}, "
        f"the same tier for {_share(found.same_tier, found.calls)}"
    )
    failed = ", ".join(f"{reason} {count:,}" for reason, count in sorted(found.failures.items()))
    if failed:
        lines.append(f"It could not decide on some: {failed}")
    if found.dropped:
        lines.append(f"{found.dropped:,} more came faster than it decides")
    out.print("\n".join(lines), highlight=False)
    if not found.calls:
        return
    tiers = [[each.live, each.shadow, f"{each.calls:,}"] for each in found.tiers]
    out.print(table("Tiers", ("chosen", "by the shadow", ">requests"), tiers))
    rows = [
        ["chosen, by the live parts", *_compared(found.live)],
        ["by the shadow, by its parts", *_compared(found.shadow)],
        ["difference, by the live parts", *_compared(found.by_live, sign="+")],
        ["difference, by its parts", *_compared(found.by_shadow, sign="+")],
    ]
    columns = ("choices", ">expected price", ">P(adequate)", ">requests")
    out.print(table("Price and quality", columns, rows))


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else "–"


def _compared(found: admin_pb2.ComparedChoices, sign: str = "") -> list[str]:
    price, quality = found.price_usd, found.p_adequate
    if not price.count:
        return ["–", "–", "0"]
    usd = _usd(price.mean, sign)
    within = [f" ± {_usd(2 * price.standard_error)}", f" ± {2 * quality.standard_error:.4f}"]
    if not price.HasField("standard_error"):
        within = ["", ""]
    return [usd + within[0], f"{quality.mean:{sign}.4f}{within[1]}", f"{price.count:,}"]


def _usd(usd: float, sign: str = "") -> str:
    text = short_usd(round(abs(usd) * NANOS_PER_USD))
    return f"−{text}" if usd < 0 else f"{sign}{text}"


@takes_connection(admin=True)
def canary(connection: Connection, json_output: Json = False) -> None:
    """Show the canary beside the rest: quality, cost and errors, and why it was halted.

    The setting canary names a bundle, a catalog or rules that decide a share of the requests. Once the
    evidence that it is worse than its margins reaches 1 it is halted: the live parts decide everything until
    the setting changes.
    """
    with connection.admin() as client:
        found = client.canary()
    if json_output:
        print_json(as_dict(found))
        return
    out = console()
    if not found.version:
        out.print("There is no canary. The setting canary names what is tried.", highlight=False)
        return
    scope = " ".join(f"{name}={value}" for name, value in sorted(found.scope.items()))
    lines = [f"Canary: {found.parts}: {100 * found.share:.3g}% of {scope or 'all requests'}"]
    if found.HasField("halt"):
        time = f"{found.halt.halt_time.ToDatetime(UTC):%Y-%m-%d %H:%M:%S} UTC"
        lines.append(f"Halted at {time}: {found.halt.text}")
        lines.append("It decides nothing until its settings change; another run starts it anew.")
    elif found.problem:
        lines.append(f"It does not decide at the moment: {found.problem}")
    else:
        lines.append("It decides.")
    out.print("\n".join(lines), highlight=False)
    columns = (
        "per settled call", ">canary", ">calls", ">rest", ">calls", ">worse by at most", ">evidence",
    )  # fmt: skip
    out.print(table("Canary and rest", columns, [_row(each) for each in found.comparisons]))


def _row(each: admin_pb2.CanaryComparison) -> list[str]:
    def shown(mean: float, calls: int) -> str:
        if not calls:
            return "–"
        return {
            "cost": _usd(mean),
            "errors": f"{mean:.2%}",
        }.get(each.check, f"{mean:.4f}")

    return [
        each.check,
        shown(each.canary_mean, each.canary_calls),
        f"{each.canary_calls:,}",
        shown(each.rest_mean, each.rest_calls),
        f"{each.rest_calls:,}",
        f"{each.margin:.3g}" if each.check == "quality" else f"{100 * each.margin:.3g}%",
        f"{each.evidence:.2f}",
    ]
