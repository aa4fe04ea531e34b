"""``python -m benchmarks [serving|fresh|training …]``: measure, print and write the report."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable

from benchmarks import fresh, ledger, ledger_postgres, serving, training
from benchmarks.report import Figure, write_report
from router.render import errors_in_one_line

PARTS: dict[str, Callable[[], Iterable[Figure]]] = {
    "serving": serving.measure,
    "ledger": ledger.measure,
    "postgres": ledger_postgres.measure,
    "training": training.measure,
    "fresh": fresh.measure,
}


def main(names: list[str]) -> int:
    unknown = [name for name in names if name not in PARTS]
    if unknown:
        print(f"error: no benchmark {unknown[0]!r}; there: {', '.join(PARTS)}", file=sys.stderr)
        return 2
    figures = [figure for name in names or PARTS for figure in PARTS[name]()]
    return 0 if write_report("bench", figures) else 1


if __name__ == "__main__":
    with errors_in_one_line():
        sys.exit(main(sys.argv[1:]))
