"""Rules of the repository that no linter checks."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import google.type.money_pb2
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import mitsumori
import router
import training

ROOT = Path(__file__).parents[1]
HEAVY = {"torch", "sklearn", "scipy", "pandas", "pyarrow", "mlflow", "matplotlib", "onnx"}
MODULES = [
    name
    for package in (mitsumori, router, training)
    for _, name, _ in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    if ".v1" not in name and not name.endswith("__main__")
]


def test_serving_imports_nothing_heavy() -> None:
    code = "import router.rpc.server, router.cli.main, sys; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert HEAVY & set(loaded) == set()


PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = {
    name: [Requirement(text) for text in texts]
    for name, texts in PROJECT["optional-dependencies"].items()
}
BASE = [Requirement(text) for text in PROJECT["dependencies"]]


def test_serving_asks_for_nothing_heavy() -> None:
    wanted = {requirement.name for requirement in BASE + EXTRAS["serve"]}
    assert {"grpcio", "onnxruntime"} <= wanted
    assert wanted & {"torch", "scikit-learn", "scipy", "pandas", "mlflow", "onnx"} == set()


def test_every_direct_dependency_is_pinned() -> None:
    pinned = {
        canonicalize_name(line.split("==")[0])
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if "==" in line
    }
    asked = [*BASE, *(requirement for extra in EXTRAS.values() for requirement in extra)]
    wanted = {canonicalize_name(requirement.name) for requirement in asked} - {"mitsumori"}
    assert wanted - pinned == set()


def imported_packages() -> set[str]:
    """Top-level names that our Python files import, our own and the standard library's left out."""
    names: set[str] = set()
    for folder in ("mitsumori", "router", "training", "benchmarks", "tests"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Import):
                    names |= {alias.name.split(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and not node.level:
                    names.add(str(node.module).split(".")[0])
    ours = {"mitsumori", "router", "training", "benchmarks", "tests", "__future__"}
    return names - ours - set(sys.stdlib_module_names)


def test_every_package_that_we_import_is_a_direct_dependency() -> None:
    installed = metadata.packages_distributions()
    asked = [*BASE, *(requirement for extra in EXTRAS.values() for requirement in extra)]
    declared = {canonicalize_name(requirement.name) for requirement in asked}
    undeclared = {
        name
        for name in imported_packages()
        if name in installed and not declared & set(map(canonicalize_name, installed[name]))
    }
    assert undeclared == set()


@pytest.mark.parametrize("name", MODULES)
def test_what_a_module_offers_is_there(name: str) -> None:
    module = importlib.import_module(name)
    offered = getattr(module, "__all__", [])
    assert len(set(offered)) == len(offered)
    assert [item for item in offered if not hasattr(module, item)] == []


@pytest.mark.parametrize("target", ["setup", "demo", "check", "test", "lint", "proto", "encoder", "train",
                                    "evaluate", "drift", "import", "collect", "judge", "replay", "mlflow",
                                    "serve", "bench", "chaos", "simulate", "soak", "fuzz", "notebooks",
                                    "reference", "test-deploy", "audit"])  # fmt: skip
def test_make_help_lists_the_target(target: str) -> None:
    listed = subprocess.run(
        ["make", "--silent", "help"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert any(line.split()[0] == target for line in listed.splitlines())


def recipe(*words: str) -> str:
    """What make would run, without running it."""
    return subprocess.run(
        ["make", "--dry-run", "--silent", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout


@pytest.mark.parametrize(
    ("words", "given"),
    [
        (("serve",), "mitsumori serve --bundle models/bundles/static"),
        (("serve", "PORT=6001"), 'models/bundles/static --port "6001"'),
        (("serve", "LEDGER=sqlite:x.sqlite"), '--ledger "sqlite:x.sqlite"'),
        (("serve", "BUNDLE=models:/mitsumori@champion"), "--bundle models:/mitsumori@champion"),
        (("serve", "REGISTRY=sqlite:///m.db"), '--registry "sqlite:///m.db"'),
        (("soak", "CALLS=5000"), '--calls "5000"'),
        (("fuzz", "MESSAGES=9", "SEED=4"), '--frames "100000" --messages "9" --seed "4"'),
        (("mlflow",), "--port 5000"),
        (("mlflow", "PORT=5001"), "--port 5001"),
        (("evaluate", "HISTORY=h", "PRICE=a=1,2 b=3,4"), '--price "a=1,2" --price "b=3,4"'),
        (("compare", "HISTORY=h", "A=a", "B=b", "PRICE=a=1,2"), '--price "a=1,2" --json'),
        (("promote", "HISTORY=h", "PRICE=a=1,2"), '--price "a=1,2"'),
        (
            (
                "collect",
                "PROMPTS=p",
                "MODELS=a,b",
                "ENDPOINT=u",
                "BUDGET=5",
                "PRICE=a=1,2",
                "YES=1",
            ),
            '--models "a,b" --endpoint "u" --budget "5" --price "a=1,2" --yes',
        ),
        (
            ("collect", "PROMPTS=p", "MODELS=a", "ENDPOINT=u", "BUDGET=5"),
            "--out build/answers.parquet",
        ),
        (
            ("judge", "HISTORY=h", "JUDGE=m", "ENDPOINT=u", "BUDGET=5", "SAMPLE=9"),
            '--judge "m" --endpoint "u" --budget "5" --sample "9"',
        ),
        (("judge", "HISTORY=h", "VERDICTS=v.csv"), '--verdicts "v.csv"'),
        (("judge", "HISTORY=h", "VERDICTS=v.csv", "OUT=o.parquet"), "--out o.parquet"),
    ],
)
def test_make_hands_its_variables_on(words: tuple[str, ...], given: str) -> None:
    run = recipe(*words)
    assert given in " ".join(run.split())
    assert ("--port" in run) == ("mlflow" in words or "PORT" in "".join(words))


def protoc(proto: Path, *flags: str) -> None:
    includes = Path(google.type.money_pb2.__file__).parents[2]
    files = sorted(str(path) for path in (proto / "mitsumori/v1").glob("*.proto"))
    subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "grpc_tools.protoc", f"-I{proto}", f"-I{includes}",
         *flags, *files],
        check=True,
        cwd=ROOT,
    )  # fmt: skip


def test_the_generated_stubs_are_those_of_the_proto_files(tmp_path: Path) -> None:
    protoc(ROOT / "proto", f"--python_out={tmp_path}", f"--pyi_out={tmp_path}",
           f"--grpc_python_out={tmp_path}")  # fmt: skip
    for committed in sorted((ROOT / "mitsumori/v1").glob("*_pb2*")):
        fresh = tmp_path / "mitsumori/v1" / committed.name
        assert fresh.read_text() == committed.read_text(), f"run `make proto`: {committed.name}"


def buf(*words: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("buf")), *words, "--config", "proto/buf.yaml"]
    return subprocess.run(
        [*command, "--path", "mitsumori"], cwd=ROOT, capture_output=True, text=True, check=False
    )


def test_buf_refuses_a_renamed_field_and_a_missing_comment(tmp_path: Path) -> None:
    changed = tmp_path / "proto" / "mitsumori" / "v1"
    changed.mkdir(parents=True)
    for path in (ROOT / "proto/mitsumori/v1").glob("*.proto"):
        text = path.read_text().replace("string decision_id = 1;", "string decision = 1;")
        (changed / path.name).write_text(text.replace("// Tokens, 1 or more.", ""))
    image = ["--include_imports", "--include_source_info"]
    protoc(ROOT / "proto", *image, f"-o{tmp_path}/now.binpb")
    protoc(tmp_path / "proto", *image, f"-o{tmp_path}/changed.binpb")
    assert buf("lint", f"{tmp_path}/now.binpb").returncode == 0
    assert "TokenCount" in buf("lint", f"{tmp_path}/changed.binpb").stdout or "tokens" in (
        buf("lint", f"{tmp_path}/changed.binpb").stdout
    )
    broken = buf("breaking", f"{tmp_path}/changed.binpb", "--against", f"{tmp_path}/now.binpb")
    assert "decision_id" in broken.stdout
    same = buf("breaking", f"{tmp_path}/now.binpb", "--against", f"{tmp_path}/now.binpb")
    assert (same.returncode, same.stdout) == (0, "")


def contract(name: str) -> list[list[str]]:
    """The layers of an import contract, top to bottom; modules of one layer in one list."""
    tables = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    found = next(one for one in tables["contracts"] if one["name"] == name)
    return [
        [module.strip() for module in layer.split("|")]
        for layer in found["layers"]
        if layer != "__main__"
    ]


@pytest.mark.parametrize(
    "name",
    ["The rooms of the service", "The rooms of training"],
)
def test_the_architecture_shows_the_rooms_as_the_contracts_list_them(name: str) -> None:
    blocks = re.findall(r"```\n(.*?)```", (ROOT / "ARCHITECTURE.md").read_text(), re.DOTALL)
    shown = [
        [[module.strip() for module in line.split("|")] for line in block.strip().splitlines()]
        for block in blocks
    ]
    assert contract(name) in shown


@pytest.mark.parametrize("page", ["ARCHITECTURE.md", "README.md", "CONTRIBUTING.md", "SECURITY.md"])
def test_every_file_and_room_that_a_page_names_is_there(page: str) -> None:
    text = (ROOT / page).read_text()
    named = set(re.findall(r"`([a-z_]+/[\w./-]*)`", text)) | set(
        re.findall(r"\]\(([\w./-]+)\)", text)
    )
    named = {path for path in named if not path.startswith("build/") and "X.Y.Z" not in path}
    assert named
    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []


def test_every_function_that_the_architecture_points_to_is_there() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    named = re.findall(r"`([\w/]+\.py)`, function `(\w+)`", text)
    assert len(named) >= 4
    for path, function in named:
        assert f"def {function}(" in (ROOT / path).read_text(encoding="utf-8"), (path, function)
