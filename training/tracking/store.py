"""The store of MLflow: where it is, a client of it, and its errors as one line.

The client is told its address at each call instead of setting MLflow's global state, so two runs in one
process do not meet. Nothing is sent anywhere but to the tracking store.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from router.classifier.registry import DEFAULT_STORE
from router.core.errors import MitsumoriError

if TYPE_CHECKING:
    from mlflow import MlflowClient

__all__ = [
    "MODEL",
    "SQLITE",
    "asking",
    "experiment",
    "first_words",
    "open_store",
    "tracking_uri",
]

MODEL = "mitsumori"
"""Name of the experiment, and of the registered model that promotion and serving go by."""
SQLITE = "sqlite:///"
_WORDS_LIMIT = 160


def tracking_uri(option: str | None = None) -> str:
    """Where runs are kept: the option, else ``MLFLOW_TRACKING_URI``, else SQLite under ``build/``."""
    return option or os.environ.get("MLFLOW_TRACKING_URI") or f"{SQLITE}{DEFAULT_STORE}"


def _quiet() -> None:
    """MLflow announces every table it makes, and reports its use, unless told otherwise."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("DO_NOT_TRACK", "true")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    import mlflow  # noqa: F401 -- its import sets the levels of its loggers

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)


def _prepared(uri: str) -> tuple[str, str | None]:
    """An absolute address, and where artifacts go; for a server that is the server's business."""
    if not uri.startswith(SQLITE):
        return uri, None
    database = Path(uri.removeprefix(SQLITE)).absolute()
    database.parent.mkdir(parents=True, exist_ok=True)
    return f"{SQLITE}{database}", (database.parent / "artifacts").as_uri()


def open_store(uri: str) -> tuple[MlflowClient, str | None]:
    """A client of a tracking store and its registry, and where artifacts of new experiments go.

    A SQLite database is made where there is none.
    """
    _quiet()
    from mlflow import MlflowClient

    address, artifacts = _prepared(uri)
    return MlflowClient(tracking_uri=address, registry_uri=address), artifacts


def experiment(client: MlflowClient, artifacts: str | None) -> str:
    """The id of our experiment, made where there is none; MLflow's pages show it as one of model training."""
    found = client.get_experiment_by_name(MODEL)
    if found is not None:
        return str(found.experiment_id)
    kind = {"mlflow.experimentKind": "custom_model_development"}
    return str(client.create_experiment(MODEL, artifact_location=artifacts, tags=kind))


@contextmanager
def asking(uri: str, what: str, so: str = "") -> Iterator[None]:
    """Turn any exception of MLflow into one line.

    Args:
        uri: of the store.
        what: was asked of it, after «cannot».
        so: what follows from that; nothing where it is empty.

    Raises:
        MitsumoriError: the store cannot do it.
    """
    try:
        yield
    except MitsumoriError:
        raise
    except Exception as error:  # noqa: BLE001 -- MLflow lets through what its database raises
        raise MitsumoriError(
            f"MLflow at {uri} cannot {what} ({first_words(error)}){so and f'; {so}'}. Check "
            f"MLFLOW_TRACKING_URI or --tracking-uri; a store on this machine is {SQLITE}{DEFAULT_STORE}",
            reason="TRACKING_UNUSABLE",
            field="tracking",
        ) from None


def first_words(error: BaseException) -> str:
    """The first line of an error, cut where it is long."""
    first = (str(error).splitlines() or [type(error).__name__])[0]
    return first if len(first) <= _WORDS_LIMIT else f"{first[:_WORDS_LIMIT]}…"
