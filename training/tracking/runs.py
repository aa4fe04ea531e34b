"""One run in MLflow: parameters, metrics, datasets, pages, the bundle, and its place in the registry.

    with start_run(tracking_uri(option), name="mmlu_pro-static", tags={"encoder": "static"}) as run:
        run.log_datasets(history_splits(table.histories, train, test))
        run.log_params({"encoder": "static", "seed": 1})
        with run.nested("encoder static") as part:             # a part of the work, with its own duration
            part.log_metrics({"3 ranking/APGR low to high": 0.6})
        run.log_nested("without mmlu_pro", {"4 calibration/ECE low": 0.1})   # a part that is done
        manifest = build_manifest(..., mlflow_run_id=run.id)   # the id is known before the bundle is written
        run.log_report(evaluate(...))                          # few metrics, the whole as files
        run.log_page(report_page(...))
        run.log_bundle(directory)
        version = run.register()                               # alias «candidate»; promotion moves «champion»

The run opens when the work begins, so its duration is that of the work. A block that raises leaves a run
that is FAILED, one that is interrupted a run that is KILLED, either with a tag that says why in one line.
"""

from __future__ import annotations

import getpass
import math
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from router.classifier.manifest import CLASSIFIER
from router.classifier.registry import MANIFEST_TAG, SIGNATURE_TAG
from router.core.errors import MitsumoriError
from router.files import sha256_of
from training.artifacts.bundle_signature import signature_sha256
from training.artifacts.provenance import code_version, command_line, git_commit
from training.tracking.datasets import HistorySplit, data_table, dataset_input
from training.tracking.headline import flattened, headline_metrics, metric_name, summary
from training.tracking.signature import write_model_description
from training.tracking.store import MODEL, asking, experiment, open_store

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from mlflow import MlflowClient

__all__ = ["ALIAS", "PAGE", "REASON_TAG", "Run", "start_run"]

ALIAS = "candidate"
"""Alias of a fresh bundle in the registry; the promotion gate sets «champion»."""
PAGE = "0-evaluation.html"
"""The evaluation page: MLflow lists artifacts by name, and this is the first."""
REASON_TAG = "reason"
"""Tag of a run that failed or was killed: why, in one line."""

_VIEW = "workflowType=machine_learning"
"""MLflow's pages show runs as those of model training, not of GenAI."""
_BATCH = 100
"""MLflow's limit on parameters at a time, which tags and metrics keep too."""
_KEY_LIMIT = 250
_PARAM_LIMIT = 100
"""Longest parameter that can be read in a comparison of two runs; the whole is in ``parameters.json``."""
_TAG_LIMIT = 5000
_DESCRIPTION_LIMIT = 5000


def _shortened(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def _texts(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            found |= _texts(value, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"[:_KEY_LIMIT]] = str(value)
    return found


@dataclass(frozen=True)
class Run:
    """An open run.

    Attributes:
        client: of the store.
        uri: of the store, for messages.
        id: of the run; goes into the bundle's manifest.
        experiment: its id.
        artifacts: address of the run's files.
    """

    client: MlflowClient
    uri: str
    id: str
    experiment: str
    artifacts: str

    @property
    def link(self) -> str:
        """The run's page, as a link that works on every page of MLflow."""
        return f"{self._path}?{_VIEW}"

    @property
    def _path(self) -> str:
        return f"#/experiments/{self.experiment}/runs/{self.id}"

    def set_tags(self, tags: Mapping[str, str | None]) -> None:
        """Tags of the run; ``None`` values are left out."""
        with asking(self.uri, "take the tags"):
            for key, value in _known(tags).items():
                self.client.set_tag(self.id, key, value)

    def describe(self, text: str) -> None:
        """The description of the run, in Markdown, which its page shows first."""
        self.set_tags({"mlflow.note.content": text})

    def describe_report(
        self,
        report: Mapping[str, Any],
        splits: Sequence[HistorySplit],
        *,
        demonstration: bool,
    ) -> None:
        """Describe the run by the verdict of a report, the five figures that decide it, and the data.

        Args:
            report: as ``evaluate`` writes it.
            splits: what of the histories was used.
            demonstration: whether made-up data is behind it.
        """
        said = summary(report, demonstration=demonstration)
        page = f"[The evaluation page]({self._path}/artifacts/{PAGE}?{_VIEW})"
        self.describe(f"{said}\n{page}\n\n{data_table(splits)}\n")

    def log_params(self, params: Mapping[str, Any], *, unlisted: Sequence[str] = ()) -> None:
        """Settings of the run, shortened; keys of nested ones have dots. ``parameters.json`` is the whole.

        Args:
            params: by name.
            unlisted: how names begin that are in the file only, because nobody compares them.
        """
        from mlflow.entities import Param

        with asking(self.uri, "take the parameters"):
            entries = [
                Param(key, _shortened(value, _PARAM_LIMIT))
                for key, value in _texts(params).items()
                if not key.startswith(tuple(unlisted))
            ]
            for start in range(0, len(entries), _BATCH):
                self.client.log_batch(self.id, params=entries[start : start + _BATCH])
            self.client.log_dict(self.id, dict(params), "parameters.json")

    def log_metrics(self, metrics: Mapping[str, float | None]) -> None:
        """Figures under their names as MLflow takes them (:func:`headline.metric_name`).

        What is ``None``, NaN or infinite is left out.
        """
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        with asking(self.uri, "take the metrics"):
            entries = [
                Metric(metric_name(key), float(value), now, 0)
                for key, value in metrics.items()
                if value is not None and math.isfinite(value)
            ]
            for start in range(0, len(entries), _BATCH):
                self.client.log_batch(self.id, metrics=entries[start : start + _BATCH])

    def log_datasets(self, splits: Sequence[HistorySplit]) -> None:
        """What of each history the run uses, as datasets without a prompt."""
        with asking(self.uri, "take the datasets"):
            self.client.log_inputs(self.id, [dataset_input(split) for split in splits])

    def log_report(self, report: Mapping[str, Any], name: str = "evaluation") -> None:
        """The headline metrics of a report; the whole as ``NAME.json``, all numbers as ``NAME.parquet``."""
        import pandas as pd

        self.log_metrics(headline_metrics(report))
        figures = flattened(report)
        table = pd.DataFrame({"figure": list(figures), "value": list(figures.values())})
        with (
            asking(self.uri, "take the report"),
            tempfile.TemporaryDirectory(prefix="mitsumori-") as scratch,
        ):
            self.client.log_dict(self.id, dict(report), f"{name}.json")
            path = Path(scratch) / f"{name}.parquet"
            table.to_parquet(path, index=False)
            self.client.log_artifact(self.id, str(path))

    def log_page(self, page: str) -> None:
        """The evaluation page, as the first artifact."""
        with asking(self.uri, "take the page"):
            self.client.log_text(self.id, page, PAGE)

    def log_figures(self, figures: Mapping[str, Figure]) -> None:
        """Each figure as ``plots/NAME.png``."""
        with asking(self.uri, "take the pictures"):
            for name, figure in figures.items():
                self.client.log_figure(self.id, figure, f"plots/{name}.png")

    def log_bundle(self, directory: Path) -> None:
        """The files of a bundle, as the artifact ``bundle``; the hashes of manifest and signature as tags.

        Serving fetches ``bundle/manifest.json``, the files that it names and the signature. Beside them lie
        ``MLmodel`` and an example of the inputs, by which MLflow's pages show the signature.
        """
        content = (directory / "manifest.json").read_bytes()
        with (
            asking(self.uri, "take the bundle"),
            tempfile.TemporaryDirectory(prefix="mitsumori-") as scratch,
        ):
            self.client.log_artifacts(self.id, str(directory), "bundle")
            about = {"manifest_sha256": sha256_of(content), "data": CLASSIFIER}
            # What is no graph has no signature; serving refuses it by its hashes or by a trial.
            if write_model_description(directory, Path(scratch), self.id, about):
                self.client.log_artifacts(self.id, scratch, "bundle")
            self.client.set_tag(self.id, MANIFEST_TAG, sha256_of(content))
            signature = signature_sha256(directory)
            if signature is not None:
                self.client.set_tag(self.id, SIGNATURE_TAG, signature)

    def register(
        self,
        model: str = MODEL,
        *,
        alias: str = ALIAS,
        description: str = "",
        tags: Mapping[str, str] | None = None,
    ) -> int:
        """Make the logged bundle the next version of the registered model, and name it.

        The version is the bundle directory itself, not a copy in an MLflow flavour: serving loads
        bundles, with their hashes. The hash of the manifest is a tag of the version, so that what the
        artifact store gives out later can be told from what was registered. A version that cannot be
        named is taken back.

        Args:
            model: name of the registered model; made where there is none.
            alias: of the version, taken from an older one.
            description: of the version, in Markdown; a link to the run is added.
            tags: of the version.

        Returns:
            The number of the version.
        """
        from mlflow.exceptions import MlflowException

        with asking(self.uri, "register the bundle"):
            try:
                self.client.get_registered_model(model)
            except MlflowException:
                self.client.create_registered_model(model, description="Bundles of Mitsumori")
            logged = self.client.get_run(self.id).data.tags
            sealed = {tag: logged[tag] for tag in (MANIFEST_TAG, SIGNATURE_TAG) if tag in logged}
            shortened = {key: _shortened(value, _TAG_LIMIT) for key, value in (tags or {}).items()}
            linked = f"[The run that registered it]({self.link})"
            room = _DESCRIPTION_LIMIT - len(linked) - 2
            made = self.client.create_model_version(
                model,
                f"{self.artifacts}/bundle",
                run_id=self.id,
                tags={**shortened, **sealed},
                description=f"{_shortened(description, room)}\n\n{linked}".strip(),
            )
            try:
                self.client.set_registered_model_alias(model, alias, str(made.version))
            except BaseException:
                with suppress(Exception):
                    self.client.delete_model_version(model, str(made.version))
                raise
        return int(made.version)

    @contextmanager
    def nested(self, name: str, tags: Mapping[str, str | None] | None = None) -> Iterator[Run]:
        """A run below this one, for a part of its work; it ends as :func:`start_run` says.

        Args:
            name: of the part, for people, such as ``encoder static``.
            tags: of the part.
        """
        with asking(self.uri, f"open the part {name!r}"):
            part = _created(
                self.client,
                self.uri,
                self.experiment,
                name,
                {**(tags or {}), "mlflow.parentRunId": self.id},
                _now_ms(),
            )
        with _ended(part):
            yield part

    def log_nested(
        self,
        name: str,
        metrics: Mapping[str, float | None],
        *,
        params: Mapping[str, Any] | None = None,
        tags: Mapping[str, str | None] | None = None,
    ) -> None:
        """A part of the work that is done, with its few figures, as a run below this one.

        Args:
            name: of the part, for people, such as ``without mmlu_pro``.
            metrics: name → figure, as :meth:`log_metrics` takes them.
            params: settings of the part.
            tags: of the part.
        """
        with self.nested(name, tags) as part:
            part.log_metrics(metrics)
            if params:
                part.log_params(params)


def _now_ms() -> int:
    return int(time.time() * 1000)


def _known(tags: Mapping[str, str | None]) -> dict[str, str]:
    return {key: _shortened(value, _TAG_LIMIT) for key, value in tags.items() if value is not None}


def _created(
    client: MlflowClient,
    uri: str,
    experiment_id: str,
    name: str,
    tags: Mapping[str, str | None],
    start_ms: int,
) -> Run:
    """Create a run, which is RUNNING from ``start_ms``, milliseconds since 1970."""
    made = client.create_run(experiment_id, run_name=name, tags=_known(tags), start_time=start_ms)
    return Run(client, uri, made.info.run_id, experiment_id, made.info.artifact_uri)


def _reason(error: BaseException) -> str:
    """Why a run ended early, in one line; of an error that is not ours the type: it may quote a prompt."""
    if isinstance(error, MitsumoriError):
        return error.message.splitlines()[0]
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    return type(error).__name__


@contextmanager
def _ended(run: Run) -> Iterator[None]:
    """Mark a run by how the block ends."""
    try:
        yield
    except BaseException as error:
        # The store may be what failed: the error that ended the block is the one to be told.
        with suppress(Exception):
            run.set_tags({REASON_TAG: _reason(error)})
        with suppress(Exception):
            killed = isinstance(error, KeyboardInterrupt)
            run.client.set_terminated(run.id, "KILLED" if killed else "FAILED")
        raise
    with asking(run.uri, "end the run"):
        run.client.set_terminated(run.id, "FINISHED")


@contextmanager
def start_run(uri: str, *, name: str, tags: Mapping[str, str | None]) -> Iterator[Run]:
    """Open a run from now on; FINISHED when the block ends well, FAILED when it raises, KILLED by Ctrl-C.

    Args:
        uri: of :func:`store.tracking_uri`.
        name: of the run, for people.
        tags: such as ``data_sha256``, ``encoder``, ``demonstration``; ``None`` values are left out. The
            command, the version of the code and the git commit are added.

    Raises:
        MitsumoriError: the tracking store cannot be used.
    """
    began = _now_ms()
    command = command_line()
    ours = {
        "command": command,
        "code_version": code_version(),
        "mlflow.source.name": " ".join(
            command.split()[:4]
        ),  # the pages show what follows the last slash
        "mlflow.source.type": "LOCAL",
        "mlflow.source.git.commit": git_commit(),
        "mlflow.user": getpass.getuser(),
    }
    with asking(uri, "open a run"):
        client, artifacts = open_store(uri)
        run = _created(client, uri, experiment(client, artifacts), name, {**ours, **tags}, began)
    with _ended(run):
        yield run
