"""``python -m training sign``: say by a key that a bundle is as it should be."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from router.classifier.signature import SIGNATURE
from router.core.plurals import counted
from training.artifacts.bundle_signature import sign_bundle
from training.commands.options import AsJson
from training.commands.outputs import print_json

__all__ = ["sign_command"]


def sign_command(
    bundle: Annotated[Path, typer.Option(help="Directory of the bundle to sign.")],
    key: Annotated[
        Path,
        typer.Option(help="PEM file with a private key of the curve P-256, P-384 or P-521."),
    ],
    as_json: AsJson = False,
) -> None:
    """Sign a bundle in sigstore's format, for servers that set `bundle_public_keys`.

    Writes model.sig into the bundle, over every file there. Sign before you promote: the signature is
    registered with the bundle. A key's password is read from MITSUMORI_SIGNING_PASSWORD.
    """
    # Not an option: every user of the machine can read those.
    signed = sign_bundle(bundle, key, os.environ.get("MITSUMORI_SIGNING_PASSWORD"))
    if as_json:
        print_json({**asdict(signed), "signature": bundle / SIGNATURE})
        return
    Console().print(
        f"signed: {signed.version}, {counted(signed.files, 'file')}, by the key {signed.key[:12]}… into "
        f"{bundle / SIGNATURE}",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
