"""What a caller installs and imports: little, typed, and without the service."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
SERVICE = {"numpy", "onnxruntime", "pydantic", "typer", "rich", "tenacity", "grpc_status", "router"}


def python(code: str, *flags: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *flags, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )


def test_the_plain_install_is_grpc_and_protobuf() -> None:
    names = {Requirement(text).name for text in PROJECT["dependencies"]}
    assert names == {"googleapis-common-protos", "grpcio", "protobuf"}


@pytest.mark.parametrize("extra", sorted(set(PROJECT["optional-dependencies"]) - {"serve"}))
def test_every_extra_brings_what_serving_needs(extra: str) -> None:
    extras = PROJECT["optional-dependencies"]
    reached, queue = set(), [extra]
    while queue:
        for text in extras[queue.pop()]:
            wanted = Requirement(text)
            if wanted.name == "mitsumori":
                queue += wanted.extras - reached
                reached |= wanted.extras
    assert "serve" in reached


def test_importing_the_client_loads_no_part_of_the_service() -> None:
    loaded = python("import mitsumori, sys; print(*sys.modules)")
    assert loaded.returncode == 0, loaded.stderr
    assert SERVICE & {name.partition(".")[0] for name in loaded.stdout.split()} == set()


SERVE = ("typer", "rich", "pydantic", "numpy", "yaml", "structlog")


@pytest.mark.parametrize(
    ("package", "missing", "extra"),
    [
        ("router", SERVE, "serve"),
        ("training", SERVE, "train"),
        ("training", ("pandas", "sklearn", "scipy"), "train"),
        ("training", ("sklearn",), "train"),
    ],
)
def test_a_command_without_what_it_needs_says_what_to_install(
    package: str, missing: tuple[str, ...], extra: str
) -> None:
    # As on a smaller install: nothing of the extra can be found.
    code = f"""
import sys
for name in {missing!r}:
    sys.modules[name] = None
from {package}.__main__ import main
main()
"""
    result = python(code)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.count("\n") == 1
    assert any(result.stderr.startswith(f"error: {name} is missing") for name in missing)
    assert result.stderr.endswith(f"pip install 'mitsumori[{extra}]'\n")


@pytest.mark.parametrize(
    ("package", "module"), [("router", "router.cli.main"), ("training", "training.cli")]
)
def test_a_missing_module_of_our_own_is_not_hidden(package: str, module: str) -> None:
    code = (
        f"import sys; sys.modules[{module!r}] = None; from {package}.__main__ import main; main()"
    )
    result = python(code)
    assert result.returncode == 1
    assert "ModuleNotFoundError" in result.stderr


CALLER = """
from decimal import Decimal
from mitsumori import CallFailed, Router, Usd

def ask(prompt: str) -> tuple[str, Usd]:
    with Router("127.0.0.1:50051") as router:
        try:
            decision = router.route([{"role": "user", "content": prompt}], max_price_usd=Decimal("0.01"))
        except CallFailed as error:
            raise SystemExit(error.reason) from None
    price: Decimal = decision.quote.price.expected.decimal
    print(price, decision.alternatives[0].quote.latency.p50_s + 1.0)
    return decision.model, decision.quote.price.worst
"""


def test_a_caller_is_checked_by_mypy(tmp_path: Path) -> None:
    def checked(code: str) -> str:
        path = tmp_path / "caller.py"
        path.write_text(code, encoding="utf-8")
        command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", str(path)]
        command += ["--cache-dir", str(tmp_path / "cache")]
        return subprocess.run(
            command, cwd=tmp_path, env={"MYPYPATH": str(ROOT)}, capture_output=True, text=True,
            check=False,
        ).stdout  # fmt: skip

    found = [line for line in checked(CALLER).splitlines() if line.startswith("caller.py")]
    assert found == []
    wrong = checked(CALLER.replace('Decimal("0.01")', "0.01"))
    assert '"max_price_usd"' in wrong
    assert '"float"' in wrong


def test_the_marker_of_typed_packages_ships() -> None:
    assert (ROOT / "mitsumori/py.typed").is_file()
