from __future__ import annotations

import re
from pathlib import Path

from router.cli.metrics_reference import metrics_reference
from router.settings import Settings
from router.telemetry.metric_names import METRICS

PAGE = Path(__file__).parents[3] / "docs/operations/metrics.md"


def test_the_page_is_that_of_the_metrics() -> None:
    assert PAGE.read_text(encoding="utf-8") == metrics_reference(), "run `make reference`"


def test_every_metric_has_a_line_in_each_table() -> None:
    rows = re.findall(r"^\| `([\w.]+)` \|", metrics_reference(), re.MULTILINE)
    assert rows == [metric.name for metric in METRICS] + [metric.instrument for metric in METRICS]


def test_the_page_names_settings_that_exist() -> None:
    named = re.findall(r"`((?:metrics|otlp|trace)_\w+)`", metrics_reference())
    # Ids in the log are no settings.
    assert set(named) - set(Settings.model_fields) == {"trace_id"}
