"""Bundles signed by model-signing and verified by serving: what is refused, in which line.

Every case is put to model-signing's own verifier, too: it and serving agree.
"""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from model_signing import hashing, signing, verifying
from typer.testing import CliRunner

from router.classifier.bundle import load_bundle
from router.classifier.signature import SIGNATURE
from router.core.errors import BadArtifact, InvalidInput
from router.files import sha256_of
from router.paths import DEFAULT_BUNDLE, ENCODERS
from tests.signing_keys import SigningKey
from training.artifacts.bundle_signature import sign_bundle
from training.cli import app

Change = Callable[[Path], object]


@pytest.fixture
def key(tmp_path: Path) -> SigningKey:
    return SigningKey(tmp_path, "ours")


@pytest.fixture
def bundle(tmp_path: Path, key: SigningKey) -> Path:
    """A signed copy of the shipped bundle."""
    made = shutil.copytree(DEFAULT_BUNDLE, tmp_path / "bundle")
    sign_bundle(made, key.private)
    return made


def problem(bundle: Path, keys: Path) -> BadArtifact | None:
    """Why serving refuses a bundle; ``None`` where it serves it."""
    try:
        load_bundle(bundle, ENCODERS, keys)
    except BadArtifact as error:
        return error
    return None


def model_signing_accepts(bundle: Path, key: Path) -> bool:
    """Whether model-signing itself verifies a bundle."""
    verifier = verifying.Config().use_elliptic_key_verifier(public_key=key)
    # Serving overlooks no file, the ones of git neither.
    hashed = hashing.Config().set_ignored_paths(paths=[SIGNATURE], ignore_git_paths=False)
    try:
        verifier.set_hashing_config(hashed).verify(bundle, bundle / SIGNATURE)
    except Exception:  # noqa: BLE001 — every kind of error that it has for a bad signature
        return False
    return True


def edited(change: Callable[[dict[str, object]], object]) -> Change:
    def edit(bundle: Path) -> None:
        content = json.loads((bundle / SIGNATURE).read_text())
        change(content)
        (bundle / SIGNATURE).write_text(json.dumps(content))

    return edit


def with_payload(change: Callable[[dict[str, object]], object]) -> Change:
    """The statement of a signature, changed after it was signed."""

    def edit(content: dict[str, object]) -> None:
        envelope = content["dsseEnvelope"]
        assert isinstance(envelope, dict)
        statement = json.loads(base64.b64decode(envelope["payload"]))
        change(statement)
        envelope["payload"] = base64.b64encode(json.dumps(statement).encode()).decode()

    return edited(edit)


def rehashed_card(bundle: Path) -> None:
    """A file altered, and the manifest made to fit: the hashes alone would not notice."""
    card = bundle / "model_card.md"
    card.write_text(card.read_text() + "altered\n")
    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest["files"]["model_card.md"] = sha256_of(card.read_bytes())
    (bundle / "manifest.json").write_text(json.dumps(manifest))


def shortened(bundle: Path) -> None:
    content = (bundle / SIGNATURE).read_bytes()
    (bundle / SIGNATURE).write_bytes(content[: len(content) // 2])


def short_signature(content: dict[str, object]) -> None:
    envelope = content["dsseEnvelope"]
    assert isinstance(envelope, dict)
    envelope["signatures"][0]["sig"] = envelope["signatures"][0]["sig"][:40]


@pytest.mark.parametrize(
    "curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()], ids=lambda curve: curve.name
)
def test_a_signed_bundle_is_served_whatever_the_curve(
    curve: ec.EllipticCurve, tmp_path: Path
) -> None:
    key = SigningKey(tmp_path, "key", curve)
    bundle = shutil.copytree(DEFAULT_BUNDLE, tmp_path / "bundle")
    sign_bundle(bundle, key.private)
    assert problem(bundle, key.public) is None
    assert model_signing_accepts(bundle, key.public)


def test_what_model_signing_signed_by_itself_is_served_too(tmp_path: Path, key: SigningKey) -> None:
    bundle = shutil.copytree(DEFAULT_BUNDLE, tmp_path / "bundle")
    signer = signing.Config().use_elliptic_key_signer(private_key=key.private)
    signer.sign(bundle, bundle / SIGNATURE)
    assert problem(bundle, key.public) is None


@pytest.mark.parametrize(
    ("change", "reason", "line"),
    [
        (
            lambda bundle: (bundle / "reference.json").write_text("{}"),
            "HASH_MISMATCH",
            "reference.json was altered or damaged: its sha256 is 44136fa355b3…, expected b74bc6b08376…; ",
        ),
        (
            rehashed_card,
            "SIGNATURE_MISMATCH",
            "model.sig is not of this bundle: manifest.json has the sha256 ",
        ),
        (
            lambda bundle: (bundle / "extra.bin").write_bytes(b"extra"),
            "FILE_NOT_SIGNED",
            ": 'extra.bin' is not signed; remove it, or sign it with `python -m training sign` again",
        ),
        (
            lambda bundle: (bundle / "two\nlines").write_bytes(b"extra"),
            "FILE_NOT_SIGNED",
            ": 'two�lines' is not signed; ",
        ),
        (
            lambda bundle: shutil.copytree(ENCODERS / "static", bundle / "folder"),
            "FILE_NOT_SIGNED",
            ": 'folder' is not signed; ",
        ),
        (
            lambda bundle: (bundle / ".gitignore").write_bytes(b"extra"),
            "FILE_NOT_SIGNED",
            ": '.gitignore' is not signed; remove it, ",
        ),
        (
            lambda bundle: (bundle / "model_card.md").unlink(),
            "SIGNED_FILE_MISSING",
            ": 'model_card.md' is signed and not there; restore it, ",
        ),
        (
            lambda bundle: (bundle / SIGNATURE).unlink(),
            "SIGNATURE_MISSING",
            " is not signed (model.sig is missing), and bundle_public_keys asks for a signature; ",
        ),
        (
            shortened,
            "SIGNATURE_DAMAGED",
            "model.sig is no signature by a key in sigstore's format; ",
        ),
        (
            edited(short_signature),
            "SIGNATURE_DAMAGED",
            "model.sig does not fit what it signs; restore it, or sign the bundle again with ",
        ),
        (
            with_payload(lambda statement: statement.update(predicateType="other")),
            "SIGNATURE_DAMAGED",
            "model.sig does not fit what it signs; ",
        ),
        (
            edited(
                lambda content: content.update(
                    verificationMaterial={"publicKey": {"hint": "two\nlines"}, "tlogEntries": []}
                )
            ),
            "SIGNATURE_DAMAGED",
            "model.sig is no signature by a key in sigstore's format; ",
        ),
        (
            edited(lambda content: content.update(mediaType="text/plain")),
            "SIGNATURE_DAMAGED",
            "model.sig is no signature by a key in sigstore's format; ",
        ),
        (
            lambda bundle: (bundle / SIGNATURE).write_text("[" * 100_000),
            "SIGNATURE_DAMAGED",
            "model.sig is no signature by a key in sigstore's format; ",
        ),
        (
            lambda bundle: (bundle / SIGNATURE).write_bytes(bytes((1 << 20) + 1)),
            "SIGNATURE_DAMAGED",
            "model.sig cannot be read (it has more than 1 MiB); ",
        ),
    ],
    ids=[
        "altered file",
        "altered file and manifest",
        "extra file",
        "extra file of an odd name",
        "extra folder",
        "extra file of git",
        "missing file",
        "no signature",
        "truncated file of the signature",
        "truncated signature",
        "altered statement",
        "odd name of the key",
        "another format",
        "deep JSON",
        "a megabyte",
    ],
)
def test_anything_else_is_refused_in_one_line(
    change: Change, reason: str, line: str, bundle: Path, key: SigningKey
) -> None:
    change(bundle)
    error = problem(bundle, key.public)
    assert error is not None
    assert (error.reason, "\n" in error.message) == (reason, False)
    assert error.message.startswith(str(bundle))
    assert line in error.message
    assert not model_signing_accepts(bundle, key.public)


def test_the_signature_of_another_bundle_is_refused(
    bundle: Path, key: SigningKey, tmp_path: Path
) -> None:
    other = shutil.copytree(DEFAULT_BUNDLE, tmp_path / "other")
    rehashed_card(other)
    sign_bundle(other, key.private)
    shutil.copy(other / SIGNATURE, bundle)
    error = problem(bundle, key.public)
    assert error is not None
    assert error.reason == "SIGNATURE_MISMATCH"
    assert "model.sig is not of this bundle: manifest.json has the sha256 " in error.message
    assert not model_signing_accepts(bundle, key.public)


def test_a_key_that_is_not_trusted_is_named(bundle: Path, tmp_path: Path) -> None:
    other = SigningKey(tmp_path, "other")
    error = problem(bundle, other.public)
    assert error is not None
    assert error.reason == "SIGNER_UNKNOWN"
    assert f"…, which is not in {other.public}; add its public key there if you trust it, or " in (
        error.message
    )
    assert not model_signing_accepts(bundle, other.public)


def test_a_signature_that_names_another_key_than_its_own_is_refused(
    bundle: Path, key: SigningKey, tmp_path: Path
) -> None:
    forger = SigningKey(tmp_path, "forger")
    ours = json.loads((bundle / SIGNATURE).read_text())["verificationMaterial"]
    sign_bundle(bundle, forger.private)
    edited(lambda content: content.update(verificationMaterial=ours))(bundle)
    error = problem(bundle, key.public)
    assert error is not None
    assert (error.reason, "does not fit what it signs" in error.message) == (
        "SIGNATURE_DAMAGED", True,
    )  # fmt: skip
    assert not model_signing_accepts(bundle, key.public)


def test_while_keys_rotate_both_are_accepted_and_then_the_new_one_alone(
    bundle: Path, key: SigningKey, tmp_path: Path
) -> None:
    new = SigningKey(tmp_path, "new", ec.SECP384R1())
    keys = tmp_path / "keys.pem"
    keys.write_text(f"# ours\n{key.public.read_text()}\n# the next\n{new.public.read_text()}")
    assert problem(bundle, keys) is None
    sign_bundle(bundle, new.private)
    assert problem(bundle, keys) is None
    keys.write_bytes(new.public.read_bytes())
    assert problem(bundle, keys) is None
    sign_bundle(bundle, key.private)
    refused = problem(bundle, keys)
    assert refused is not None
    assert refused.reason == "SIGNER_UNKNOWN"


def ed25519_key() -> str:
    key = ed25519.Ed25519PrivateKey.generate().public_key()
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def other_curve() -> str:
    key = ec.generate_private_key(ec.SECP256K1()).public_key()
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "cannot be read (No such file or directory)"),
        ("", "holds no public key"),
        ("not PEM", "holds no public key"),
        (
            "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----",
            "is damaged at key 1",
        ),
        (ed25519_key(), "has another kind of key at 1"),
        (other_curve(), "has another kind of key at 1"),
    ],
)
def test_keys_that_cannot_be_used_are_named(
    content: str | None, why: str, bundle: Path, tmp_path: Path
) -> None:
    keys = tmp_path / "keys.pem"
    if content is not None:
        keys.write_text(content)
    error = problem(bundle, keys)
    assert error is not None
    assert error.reason == "PUBLIC_KEYS_UNUSABLE"
    assert error.message.startswith(f"bundle_public_keys: {keys} {why}; put public keys ")


def test_a_private_key_is_not_accepted_where_public_keys_belong(
    bundle: Path, key: SigningKey
) -> None:
    error = problem(bundle, key.private)
    assert error is not None
    assert " holds a private key, and only public keys belong there; " in error.message


def test_a_bundle_that_is_no_longer_whole_is_not_signed(tmp_path: Path, key: SigningKey) -> None:
    bundle = shutil.copytree(DEFAULT_BUNDLE, tmp_path / "bundle")
    (bundle / "notes.txt").write_text("mine")
    with pytest.raises(
        BadArtifact, match=r"'notes\.txt' is no part of the bundle: manifest\.json does"
    ):
        sign_bundle(bundle, key.private)
    (bundle / "notes.txt").unlink()
    (bundle / "model_card.md").write_text("other")
    with pytest.raises(BadArtifact, match=r"model_card\.md was altered or damaged"):
        sign_bundle(bundle, key.private)
    assert not (bundle / SIGNATURE).exists()


def test_an_encrypted_key_needs_its_password(
    tmp_path: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = SigningKey(tmp_path, "locked", password="open sesame")
    with pytest.raises(InvalidInput, match="is encrypted; it must hold a private key"):
        sign_bundle(bundle, key.private)
    with pytest.raises(InvalidInput, match="does not open with the password; "):
        sign_bundle(bundle, key.private, "wrong")
    monkeypatch.setenv("MITSUMORI_SIGNING_PASSWORD", "open sesame")
    words = ["sign", "--bundle", str(bundle), "--key", str(key.private)]
    done = CliRunner().invoke(app, words)
    assert (done.exit_code, problem(bundle, key.public)) == (0, None)
    assert done.output.startswith("signed: mitsumori-static@")
    assert f", 5 files, by the key {sha256_of(key.public.read_bytes())[:12]}… into " in done.output
    told = json.loads(CliRunner().invoke(app, [*words, "--json"]).output)
    assert (told["files"], told["key"]) == (5, sha256_of(key.public.read_bytes()))


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "cannot be read "),
        ("no key", "is no private key in PEM; "),
        ("pub", "is no private key"),
    ],
)
def test_a_key_that_cannot_sign_is_named(
    content: str | None, why: str, bundle: Path, key: SigningKey, tmp_path: Path
) -> None:
    path = tmp_path / "other.key"
    if content is not None:
        path.write_text(key.public.read_text() if content == "pub" else content)
    with pytest.raises(InvalidInput, match=rf"^--key: {path} {why}"):
        sign_bundle(bundle, path)
