"""``python -m benchmarks [service|serving|…]`` measures all parts, or those named, and writes reports.

``--json`` prints them as JSON.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable

from benchmarks import (
    ablation,
    access,
    arrivals,
    caches,
    cascade,
    conversations,
    decisions,
    everyday,
    fresh,
    gadgets,
    holds,
    languages,
    latencies,
    ledger,
    ledger_postgres,
    lengths,
    quality,
    reloads,
    scale,
    service,
    serving,
    swaps,
    telemetry,
    texts,
    training,
)
from benchmarks.arguments import Parser
from benchmarks.chaos import restarts
from benchmarks.report import Figure, write_report
from router.cli.errors import errors_in_one_line

PARTS: dict[str, Callable[[], Iterable[Figure]]] = {
    "service": service.measure,
    "serving": serving.measure,
    "holds": holds.measure,
    "access": access.measure,
    "telemetry": telemetry.measure,
    "ledger": ledger.measure,
    "postgres": ledger_postgres.measure,
    "swaps": swaps.measure,
    "restarts": restarts.measure,
    "reloads": reloads.measure,
    "texts": texts.measure,
    "quality": quality.measure,
    "lengths": lengths.measure,
    "latencies": latencies.measure,
    "cascade": cascade.measure,
    "arrivals": arrivals.measure,
    "languages": languages.measure,
    "training": training.measure,
    "everyday": everyday.measure,
    "conversations": conversations.measure,
    "caches": caches.measure,
    "decide": decisions.measure,
    "gadgets": gadgets.measure,
    "scale": scale.measure,
    "ablation": ablation.measure,
    "fresh": fresh.measure,
}


def main(words: list[str]) -> int:
    parser = Parser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="part", help=f"one of {', '.join(PARTS)}")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    asked = parser.parse_args(words)
    names: list[str] = asked.names
    unknown = [name for name in names if name not in PARTS]
    if unknown:
        print(
            f"error: no benchmark {unknown[0]!r}; choose from {', '.join(PARTS)}", file=sys.stderr
        )
        return 2
    if not names:
        figures = [figure for measure in PARTS.values() for figure in measure()]
        return 0 if write_report("bench", figures, as_json=asked.json) else 1
    # Each named part gets its own report, so that it does not replace the one of all parts.
    good = [write_report(f"bench-{name}", PARTS[name](), as_json=asked.json) for name in names]
    return 0 if all(good) else 1


if __name__ == "__main__":
    with errors_in_one_line():
        sys.exit(main(sys.argv[1:]))
