"""Promotion in the registry: which bundle is the champion, and the step that changes it.

The alias ``champion`` of the registered model ``mitsumori`` names the bundle in production; serving follows
it. Everything that can fail is done before the alias is moved, and moving it is one call, so the alias stays
in place after any failure.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from router.classifier.manifest import BundleManifest, read_manifest
from router.classifier.registry import MANIFEST_TAG, SIGNATURE_TAG
from router.classifier.signature import SIGNATURE
from router.core.errors import BadArtifact, NotPossible
from router.files import read_checked, sha256_of
from training.artifacts.bundle_signature import signature_sha256
from training.tracking.datasets import HistorySplit, data_table
from training.tracking.headline import summary, version_tags
from training.tracking.runs import start_run
from training.tracking.store import MODEL, SQLITE, asking, first_words, open_store

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

__all__ = ["CHAMPION", "ChampionAlias", "ChampionVersion", "manifest_sha256"]

CHAMPION = "champion"
_TAG_LIMIT = 5000
_DESCRIPTION_LIMIT = 5000
_PROMOTED = "Promoted on "
_REMEDY = "register the bundle again with `make train`, or name another champion with --champion"


def manifest_sha256(directory: Path) -> str:
    """The hash of a bundle's manifest, by which its registered version is recognised."""
    return sha256_of((directory / "manifest.json").read_bytes())


@dataclass(frozen=True)
class ChampionVersion:
    """The version that the alias names.

    Attributes:
        version: its number.
        sha256: of its manifest, ``None`` where the registry does not say.
        signature_sha256: of its signature, ``None`` where it is not signed.
    """

    version: int
    sha256: str | None
    signature_sha256: str | None = None


class ChampionAlias:
    """The alias ``champion`` in one registry.

    Args:
        uri: of :func:`runs.tracking_uri`. A SQLite database that is not there is an empty
            registry, and is made only when something is registered.
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri
        # An unreachable server must fail soon; the default waits for minutes.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
        self._opened: MlflowClient | None = None

    @property
    def exists(self) -> bool:
        """Whether there is a registry to ask."""
        if not self.uri.startswith(SQLITE):
            return True
        return Path(self.uri.removeprefix(SQLITE)).is_file()

    @property
    def _client(self) -> MlflowClient:
        if self._opened is None:
            self._opened, _ = open_store(self.uri)
        return self._opened

    def _asking(self, what: str) -> AbstractContextManager[None]:
        return asking(self.uri, what, f"the alias {CHAMPION} was not moved")

    def champion(self) -> ChampionVersion | None:
        """The version in production; ``None`` where the alias names none.

        Raises:
            NotPossible: the alias names a version that was deleted.
            MitsumoriError: the registry cannot be asked.
        """
        if not self.exists:
            return None
        from mlflow.exceptions import MlflowException

        with self._asking("say who is champion"):
            models = self._client.search_registered_models(f"name = '{MODEL}'")
            named = dict(models[0].aliases).get(CHAMPION) if models else None
            if named is None:
                return None
            try:
                found = self._client.get_model_version(MODEL, str(named))
            except MlflowException as error:
                if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                    raise
                raise NotPossible(
                    f"the alias {CHAMPION} of {MODEL} names version {named}, which was deleted; point it to "
                    f"another version in MLflow, or say with --champion DIR what is in production (none: "
                    "compare with the baselines alone)",
                    reason="CHAMPION_DELETED",
                    field="champion",
                ) from None
        tags = found.tags
        return ChampionVersion(int(found.version), tags.get(MANIFEST_TAG), tags.get(SIGNATURE_TAG))

    def fetch(self, version: int, target: Path) -> Path:
        """Download the files of a version and check them all.

        Returns:
            Their directory.

        Raises:
            BadArtifact: files are missing or altered since the version was registered.
            MitsumoriError: the registry cannot be asked.
        """
        what = f"models:/{MODEL}/{version}"
        with self._asking(f"find {what}"):
            found: ModelVersion = self._client.get_model_version(MODEL, str(version))
            source = self._client.get_model_version_download_uri(MODEL, str(version))
        try:
            from mlflow.artifacts import download_artifacts

            directory = Path(
                download_artifacts(
                    artifact_uri=source,
                    dst_path=str(target),
                    tracking_uri=self._client.tracking_uri,
                )
            )
            manifest, _ = read_manifest(directory)
        except Exception as error:  # noqa: BLE001 -- as above
            raise BadArtifact(
                f"the files of {what} cannot be fetched ({first_words(error)}); {_REMEDY}",
                reason="FILE_MISSING",
                field="champion",
            ) from None
        sealed = found.tags.get(MANIFEST_TAG)
        if sealed not in (None, manifest_sha256(directory)):
            raise BadArtifact(
                f"{what}: manifest.json was altered since it was registered; {_REMEDY}",
                reason="HASH_MISMATCH",
                field="manifest.json",
            )
        read_checked(directory, manifest.files, remedy=_REMEDY)
        return directory

    def find(self, sha256: str) -> int | None:
        """The newest registered version with this manifest, ``None`` where there is none.

        Raises:
            MitsumoriError: the registry cannot be asked.
        """
        if not self.exists:
            return None
        with self._asking("list the registered versions"):
            versions = self._client.search_model_versions(f"name = '{MODEL}'")
        found = [int(one.version) for one in versions if one.tags.get(MANIFEST_TAG) == sha256]
        return max(found, default=None)

    def register(
        self,
        directory: Path,
        manifest: BundleManifest,
        gate: Mapping[str, Any],
        splits: Sequence[HistorySplit],
    ) -> int:
        """Log a bundle in a run of its own and register it as the next version.

        Args:
            directory: of the bundle.
            manifest: of the bundle, with its figures.
            gate: what the promotion gate found, as :meth:`GateVerdict.as_dict` gives it.
            splits: what of which histories it was judged on.

        Raises:
            MitsumoriError: the registry cannot be used.
        """
        # The gate's context belongs to other prompts than the figures of training.
        bounds = [one for one in gate["figures"] if one["target"] is not None]
        report = {**manifest.metrics, "gate": {**gate, "figures": bounds}}
        about = {"bundle": manifest.name, "encoder": manifest.encoder.name}
        tags = {
            **about,
            "data_sha256": manifest.training_data_sha256,
            "demonstration": str(manifest.demonstration).lower(),
        }
        said = (
            f"{summary(report, demonstration=manifest.demonstration)}\nThe table is from the training of the "
            f"bundle; the verdict is on these prompts:\n\n{data_table(splits)}\n"
        )
        with (
            self._asking("register the bundle"),
            start_run(self.uri, name=f"promote {manifest.name}", tags=tags) as run,
        ):
            run.log_datasets(splits)
            run.log_report(report)
            run.describe(said)
            run.log_bundle(directory)
            return run.register(description=said, tags={**about, **version_tags(report)})

    def renew_signature(self, version: int, directory: Path) -> bool:
        """Give a registered version the signature that its bundle has now.

        Args:
            version: registered, with the manifest of the bundle.
            directory: of the bundle, signed or not.

        Returns:
            Whether the version had another signature, or none.

        Raises:
            MitsumoriError: the registry cannot be used.
        """
        now = signature_sha256(directory)
        with self._asking("take the signature"):
            found: ModelVersion = self._client.get_model_version(MODEL, str(version))
            if now is None or now == found.tags.get(SIGNATURE_TAG):
                return False
            self._client.log_artifact(found.run_id, str(directory / SIGNATURE), "bundle")
            # Last: servers read the tag, and then find the file.
            self._client.set_model_version_tag(MODEL, str(version), SIGNATURE_TAG, now)
        return True

    def promote(
        self, version: int, before: ChampionVersion | None, tags: Mapping[str, Any]
    ) -> None:
        """Make a version the champion: set its tags, then move the alias.

        Args:
            version: registered.
            before: the champion that the version was compared with.
            tags: what the gate found, kept with the version.

        Raises:
            NotPossible: somebody else promoted another version in the meantime.
            MitsumoriError: the registry cannot be used; the alias was not moved.
        """
        try:
            now = self.champion()
        except NotPossible:
            now = None  # a deleted version serves nobody
        if (now and now.version) != (before and before.version):
            raise NotPossible(
                f"the champion changed from {_named(before)} to {_named(now)} while this bundle was judged; "
                "run the gate again",
                reason="CHAMPION_CHANGED",
                field="champion",
            )
        with self._asking("move the alias"):
            for key, value in tags.items():
                self._client.set_model_version_tag(
                    MODEL, str(version), key, str(value)[:_TAG_LIMIT]
                )
            self._describe(version, str(tags.get("gate_found", "")))
            self._client.set_registered_model_alias(MODEL, CHAMPION, str(version))

    def _describe(self, version: int, found: str) -> None:
        """Say first in the description of a version that it was promoted, when and why."""
        known = self._client.get_model_version(MODEL, str(version)).description or ""
        if known.startswith(_PROMOTED):
            known = known.partition("\n\n")[2]
        when = f"{_PROMOTED}{datetime.now(UTC):%Y-%m-%d %H:%M} UTC: it {found}."
        text = f"{when}\n\n{known}"[:_DESCRIPTION_LIMIT]
        self._client.update_model_version(MODEL, str(version), text)


def _named(version: ChampionVersion | None) -> str:
    return "none" if version is None else f"version {version.version}"
