"""The image, the compose file and the systemd unit, as far as they can be read without running them."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from router.settings import Settings
from tests.deploy.programs import program, run

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
SERVICES: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))[
    "services"
]
UNIT = ROOT / "deploy/systemd/mitsumori.service"
SETTINGS = {f"MITSUMORI_{name.upper()}" for name in Settings.model_fields} | {"MITSUMORI_CONFIG"}


def test_the_image_holds_what_is_audited() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    [audited] = re.findall(r"^SERVING := (\S+)$", makefile, re.MULTILINE)
    assert f"ARG EXTRAS={audited}\n" in DOCKERFILE


def test_the_chart_runs_the_version_of_this_checkout() -> None:
    chart = yaml.safe_load((ROOT / "deploy/helm/mitsumori/Chart.yaml").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert chart["appVersion"] == chart["version"] == project["version"]


def test_the_image_does_not_run_as_root_and_asks_for_its_health() -> None:
    last = DOCKERFILE.rpartition("\nFROM ")[2]
    assert "USER 10001:10001" in last
    assert 'CMD ["mitsumori", "health"]' in last
    assert last.index("USER") < last.index("ENTRYPOINT")


def test_the_image_takes_only_what_it_is_built_from() -> None:
    taken = set(re.findall(r"^!(\S+)", (ROOT / ".dockerignore").read_text(), re.MULTILINE))
    copied = {
        word.rstrip("/")
        for line in re.findall(r"^COPY ([^-].*)$", DOCKERFILE, re.MULTILINE)
        for word in line.split()[:-1]
    }
    assert taken == copied
    assert all((ROOT / name).exists() for name in taken)


def test_every_variable_is_a_setting() -> None:
    texts = [DOCKERFILE, UNIT.read_text(encoding="utf-8"), *SERVICES["mitsumori"]["environment"]]
    named = set(re.findall(r"\b(MITSUMORI_[A-Z_]+)\b", " ".join(texts)))
    assert named - SETTINGS == set()
    assert "MITSUMORI_LEDGER" in named


def test_a_server_without_tls_and_credentials_is_said_to_be_one_where_only_this_machine_reaches_it() -> (
    None
):
    assert "MITSUMORI_INSECURE" not in DOCKERFILE
    assert SERVICES["mitsumori"]["environment"]["MITSUMORI_INSECURE"] == "true"


def test_compose_opens_nothing_to_other_machines() -> None:
    published = {name: service.get("ports", []) for name, service in SERVICES.items()}
    assert published["postgres"] == []
    assert all(port.startswith("127.0.0.1:") for port in published["mitsumori"])


def test_compose_runs_the_server_with_a_read_only_root() -> None:
    server = SERVICES["mitsumori"]
    assert server["read_only"] is True
    assert server["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in server["security_opt"]
    assert server["depends_on"]["postgres"]["condition"] == "service_healthy"


def test_no_password_is_written_down() -> None:
    assert (
        re.findall(r"PASSWORD: (?!\$\{POSTGRES_PASSWORD:\?)", (ROOT / "compose.yaml").read_text())
        == []
    )


@pytest.mark.deploy
def test_hadolint_finds_nothing_in_the_dockerfile() -> None:
    done = run(program("hadolint"), "Dockerfile", cwd=ROOT)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.deploy
def test_systemd_reads_the_unit_and_finds_little_exposed(tmp_path: Path) -> None:
    analyze = program("systemd-analyze", needed=False)
    # The service's program is not installed here.
    text = UNIT.read_text(encoding="utf-8").replace("/opt/mitsumori/bin/mitsumori", "/bin/true")
    unit = tmp_path / UNIT.name
    unit.write_text(text, encoding="utf-8")
    verified = run(analyze, "verify", unit)
    assert (verified.returncode, verified.stderr) == (0, "")
    # Tenths of systemd's exposure level, 0 (none) to 100.
    exposed = run(analyze, "security", "--offline=yes", "--threshold=20", unit)
    assert exposed.returncode == 0, exposed.stdout
