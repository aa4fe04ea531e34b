"""Bundles on disk: written as a whole, and never over anything but a bundle."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from router.classifier.manifest import BundleManifest
from router.core.errors import BadArtifact
from router.files import replace_directory, sha256_of

__all__ = ["check_target", "write_bundle"]


def write_bundle(out: Path, manifest: BundleManifest, files: Mapping[str, bytes]) -> BundleManifest:
    """Write a bundle whole or not at all.

    Args:
        out: its directory; an older bundle there is replaced, anything else is refused.
        manifest: complete but for ``files``.
        files: name → content of everything beside the manifest.

    Returns:
        The manifest as written, with the hash of every file.

    Raises:
        BadArtifact: ``out`` is a file or a directory of something else, or cannot be written.
    """
    check_target(out)
    hashes = {name: sha256_of(content) for name, content in files.items()}
    complete = manifest.model_copy(update={"files": hashes})
    try:
        with replace_directory(out) as scratch:
            for name, content in files.items():
                (scratch / name).write_bytes(content)
            text = complete.model_dump_json(indent=2) + "\n"
            (scratch / "manifest.json").write_text(text, encoding="utf-8")
    except OSError as error:
        raise BadArtifact(
            f"the bundle cannot be written to {out} ({error.strerror}); name another --out",
            reason="OUT_UNWRITABLE",
            field="out",
        ) from None
    return complete


def check_target(out: Path) -> None:
    """Refuse to replace anything but a bundle.

    Raises:
        BadArtifact: ``out`` exists and is neither empty nor a bundle.
    """
    if not out.exists():
        return
    if not out.is_dir() or (any(out.iterdir()) and not (out / "manifest.json").is_file()):
        raise BadArtifact(
            f"{out} exists and is no bundle; name another --out, or remove it",
            reason="OUT_OCCUPIED",
            field="out",
        )
