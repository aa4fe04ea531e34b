"""One training run in MLflow: parameters, metrics, pictures, the bundle, and its place in the registry.

    with start_run(tracking_uri(option), name="mmlu_pro-static", tags={"encoder": "static"}) as run:
        manifest = build_manifest(..., mlflow_run_id=run.id)   # the id is known before the bundle is written
        run.log_params({"encoder": "static", "hyperparameters": {"c": 0.003}})
        run.log_report(evaluate(...))                          # numbers as metrics, the whole as JSON
        run.log_figures(render(...))
        run.log_bundle(directory)
        version = run.register()                               # alias «candidate»; promotion moves «champion»

A block that raises leaves a run marked FAILED. The client is told its address at each call instead of
setting MLflow's global state, so two runs in one process do not meet. Nothing is sent anywhere but to the
tracking store.
"""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from router.classifier.mlflow_registry import MANIFEST_TAG
from router.core.errors import MitsumoriError
from router.files import sha256_of
from training.artifacts.provenance import git_commit

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from mlflow import MlflowClient

__all__ = [
    "ALIAS",
    "MODEL",
    "Run",
    "flattened",
    "open_store",
    "start_run",
    "tracking_uri",
]

MODEL = "mitsumori"
"""Name of the experiment, and of the registered model that promotion and serving go by."""
ALIAS = "candidate"
"""Alias of a fresh bundle in the registry; the promotion gate sets «champion»."""

DATABASE = Path("build/mlflow/mlflow.db")
_SQLITE = "sqlite:///"
_BATCH = 500
_KEY_LIMIT = 250
_PARAM_LIMIT = 6000


def tracking_uri(option: str | None = None) -> str:
    """Where runs are kept: the option, else ``MLFLOW_TRACKING_URI``, else SQLite under ``build/``."""
    return option or os.environ.get("MLFLOW_TRACKING_URI") or f"{_SQLITE}{DATABASE}"


def flattened(values: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """The numbers of a nested report under keys that MLflow takes.

    ``{"pairs": {"low>high": {"apgr": .6}}}`` gives ``{"pairs/low_to_high/apgr": .6}``: ``>`` is
    written ``_to_``, the parts of an interval end in ``/low`` and ``/high``. What is no number is left out.
    """
    found: dict[str, float] = {}
    for name, value in values.items():
        key = re.sub(
            r"[^\w\-. /]", "_", f"{prefix}{str(name).replace('>', '_to_')}", flags=re.ASCII
        )
        if isinstance(value, Mapping):
            found |= flattened(value, f"{key}/")
        elif isinstance(value, list) and len(value) == 2:
            found |= flattened(dict(zip(("low", "high"), value, strict=True)), f"{key}/")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            found[key[:_KEY_LIMIT]] = float(value)
    return found


def _texts(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            found |= _texts(value, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"[:_KEY_LIMIT]] = str(value)[:_PARAM_LIMIT]
    return found


@dataclass(frozen=True)
class Run:
    """An open run. ``id`` goes into the bundle's manifest."""

    client: MlflowClient
    id: str
    artifacts: str

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Settings of the run; nested ones get keys with dots."""
        from mlflow.entities import Param

        entries = [Param(key, value) for key, value in _texts(params).items()]
        for start in range(0, len(entries), 100):  # MLflow's limit on parameters at a time
            self.client.log_batch(self.id, params=entries[start : start + 100])

    def log_report(self, report: Mapping[str, Any], name: str = "evaluation") -> None:
        """The numbers of a report as metrics, and the whole of it as ``NAME.json``."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        entries = [Metric(key, value, now, 0) for key, value in flattened(report).items()]
        for start in range(0, len(entries), _BATCH):
            self.client.log_batch(self.id, metrics=entries[start : start + _BATCH])
        self.client.log_dict(self.id, dict(report), f"{name}.json")

    def log_figures(self, figures: Mapping[str, Figure]) -> None:
        """Each figure as ``plots/NAME.png``."""
        for name, figure in figures.items():
            self.client.log_figure(self.id, figure, f"plots/{name}.png")

    def log_text(self, text: str, name: str) -> None:
        """A text as the artifact ``name``, such as a page that MLflow's UI shows."""
        self.client.log_text(self.id, text, name)

    def log_bundle(self, directory: Path) -> None:
        """The files of a bundle, as the artifact ``bundle``, with the hash of its manifest as a tag.

        Serving fetches ``bundle/manifest.json`` and the files that it names, nothing else.
        """
        self.client.log_artifacts(self.id, str(directory), "bundle")
        content = (directory / "manifest.json").read_bytes()
        self.client.set_tag(self.id, MANIFEST_TAG, sha256_of(content))

    def register(
        self, model: str = MODEL, *, alias: str = ALIAS, tags: Mapping[str, str] | None = None
    ) -> int:
        """Make the logged bundle the next version of the registered model, and name it.

        The version is the bundle directory itself, not a copy in an MLflow flavour: serving loads
        bundles, with their hashes. The hash of the manifest is a tag of the version, so that what the
        artifact store gives out later can be told from what was registered.

        Args:
            model: name of the registered model; made where there is none.
            alias: of the version, taken from an older one.
            tags: of the version.

        Returns:
            The number of the version.
        """
        from mlflow.exceptions import MlflowException

        try:
            self.client.get_registered_model(model)
        except MlflowException:
            self.client.create_registered_model(model, description="Bundles of Mitsumori")
        logged = self.client.get_run(self.id).data.tags
        sealed = {MANIFEST_TAG: logged[MANIFEST_TAG]} if MANIFEST_TAG in logged else {}
        made = self.client.create_model_version(
            model, f"{self.artifacts}/bundle", run_id=self.id, tags={**(tags or {}), **sealed}
        )
        self.client.set_registered_model_alias(model, alias, str(made.version))
        return int(made.version)


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
    if not uri.startswith(_SQLITE):
        return uri, None
    database = Path(uri.removeprefix(_SQLITE)).absolute()
    database.parent.mkdir(parents=True, exist_ok=True)
    return f"{_SQLITE}{database}", (database.parent / "artifacts").as_uri()


def _experiment(client: MlflowClient, artifacts: str | None) -> str:
    found = client.get_experiment_by_name(MODEL)
    if found is not None:
        return str(found.experiment_id)
    return str(client.create_experiment(MODEL, artifact_location=artifacts))


def open_store(uri: str) -> tuple[MlflowClient, str | None]:
    """A client of a tracking store and its registry, and where artifacts of new experiments go.

    A SQLite database is made where there is none.
    """
    _quiet()
    from mlflow import MlflowClient

    address, artifacts = _prepared(uri)
    return MlflowClient(tracking_uri=address, registry_uri=address), artifacts


@contextmanager
def start_run(uri: str, *, name: str, tags: Mapping[str, str | None]) -> Iterator[Run]:
    """Open a run; it is FINISHED when the block ends well and FAILED when it raises.

    Args:
        uri: of :func:`tracking_uri`.
        name: of the run, for people.
        tags: such as ``data_sha256``, ``encoder``, ``demonstration``; ``None`` values are left out.
            The git commit is added.

    Raises:
        MitsumoriError: the tracking store cannot be used.
    """
    try:
        client, artifacts = open_store(uri)
        made = client.create_run(
            _experiment(client, artifacts),
            run_name=name,
            tags={
                key: value
                for key, value in {**tags, "mlflow.source.git.commit": git_commit()}.items()
                if value is not None
            },
        )
    except Exception as error:  # noqa: BLE001 -- MLflow lets through what its database raises
        first = str(error).splitlines()[0]
        raise MitsumoriError(
            f"MLflow at {uri} cannot be used ({first}); name another store with MLFLOW_TRACKING_URI, "
            f"such as {_SQLITE}{DATABASE}",
            reason="TRACKING_UNUSABLE",
            field="tracking",
        ) from None
    run = Run(client, made.info.run_id, made.info.artifact_uri)
    try:
        yield run
    except BaseException:
        client.set_terminated(run.id, "FAILED")
        raise
    client.set_terminated(run.id, "FINISHED")
