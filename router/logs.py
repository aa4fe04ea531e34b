"""Structured logs: one JSON object per line on standard error, without prompt text or secrets."""

from __future__ import annotations

import logging
import sys
from typing import Literal

import structlog

__all__ = ["configure", "logger"]


def configure(level: str, form: Literal["json", "console"]) -> None:
    """Set up logging for the process. The server calls this once, when it starts."""
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer(ensure_ascii=False)
        if form == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,  # who calls (router/rpc/access_interceptor.py)
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelNamesMapping()[level.upper()]
        ),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )


def logger() -> structlog.typing.FilteringBoundLogger:
    """The logger. Pass facts as keyword arguments; never pass prompt text or request headers."""
    log: structlog.typing.FilteringBoundLogger = structlog.get_logger()
    return log
