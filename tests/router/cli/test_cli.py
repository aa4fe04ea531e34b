from __future__ import annotations

import importlib
import inspect
import json
import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import apsw
import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from mitsumori import CallFailed, InvalidArgument
from mitsumori.v1 import admin_pb2
from router import catalog as router_catalog
from router import paths
from router.cli.commands import models_command
from router.cli.commands.connection import server_address
from router.cli.commands.inputs_command import print_inputs
from router.cli.errors import errors_in_one_line
from router.cli.main import COMMANDS, app
from router.core.errors import InvalidInput, MitsumoriError
from router.ledger.address import ledger_place, open_ledger
from router.rpc.server import RunningServer
from router.settings import flags_of_settings
from router.settings_sources import load_settings
from tests.conftest import NOON


def invoke(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


def test_models_lists_every_model_with_its_price() -> None:
    listed = json.loads(invoke("models", "--json").output)
    nano = next(model for model in listed["models"] if model["model"] == "gpt-5-nano")
    assert (nano["input_usd_per_mtok"], nano["output_usd_per_mtok"]) == ("0.05", "0.4")
    assert nano["reasoning_tokens"]["p50"] <= nano["reasoning_tokens"]["p90"]
    assert "gpt-5-nano" in invoke("models").output


def test_models_says_how_able_each_is_and_what_that_rests_on() -> None:
    listed = json.loads(invoke("models", "--json").output)["models"]
    known = {model["model"]: model["ability"] for model in listed}
    tiers = {model["model"]: model["tier"] for model in listed}
    assert {one["source"] for one in known.values()} == {"attempts", "published", "tier"}
    published = known["ministral-8b-2512"]
    assert (published["points"], published["uncertainty"]) == (32, 10)
    assert "MMLU-Pro" in published["basis"]
    measured = next(one for one in known.values() if one["source"] == "attempts")
    assert measured["uncertainty"] > 0
    assert "of its own" in measured["basis"]
    # All that nothing is known of stand where their tier does.
    of_tier = {
        tiers[name]: {one["points"] for other, one in known.items()
                      if one["source"] == "tier" and tiers[other] == tiers[name]}
        for name, one in known.items() if one["source"] == "tier"
    }  # fmt: skip
    assert all(len(points) == 1 for points in of_tier.values())
    shown = invoke("models").output
    assert "32 ± 10 │ published" in shown
    result = invoke("models", "--bundle", "nowhere")
    assert "nowhere is not a bundle" in str(result.exception)


def test_prices_are_those_of_the_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    """DeepSeek costs twice as much from 01:00 to 04:00 and from 06:00 to 10:00 UTC."""
    told = []
    for hour in (0, 1, 3, 4):
        monkeypatch.setattr(models_command, "utc_now", lambda hour=hour: NOON.replace(hour=hour))
        models = json.loads(invoke("models", "--json").output)["models"]
        told += [each["input_usd_per_mtok"] for each in models if each["model"] == "deepseek-flash"]
    assert told == ["0.15", "0.3", "0.3", "0.15"]


def test_models_of_a_running_server_are_those_that_it_routes_to(
    server: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models_command, "utc_now", lambda: NOON)
    here = json.loads(invoke("models", "--json").output)
    there = json.loads(invoke("models", "--server", server.address, "--json").output)
    # Only a server knows which of them work.
    assert {each.pop("health") for each in here["models"]} == {None}
    assert all(each.pop("health")["state"] for each in there["models"])
    assert there == here
    assert there["bundle"].startswith("mitsumori-static@")
    refused = invoke("models", "--server", server.address, "--bundle", "x")
    assert "--server has a catalog and a bundle of its own" in str(refused.exception)


def test_doctor_finds_nothing_wrong_with_what_ships() -> None:
    checks = json.loads(invoke("doctor", "--port", "1", "--json").output)
    assert [check["check"] for check in checks] == [
        "bundle", "scoring", "tokenizer", "prices", "catalog", "tiers", "rules", "limits", "prompts",
        "ledger", "access", "port",
    ]  # fmt: skip
    assert [check for check in checks if not check["ok"]] == []


def test_doctor_refuses_the_rules_and_limits_that_serve_would_refuse(tmp_path: Path) -> None:
    rules, settings = tmp_path / "rules.yaml", tmp_path / "settings.yaml"
    rules.write_text("rules:\n  - {name: a, when: importnce == 1, then: {tier_floor: high}}\n")
    settings.write_text("provider_limits: {openai: {models: {gpt-0: {requests_per_minute: 1}}}}\n")
    words = ("doctor", "--port", "1", "--rules", str(rules), "--config", str(settings), "--json")
    result = invoke(*words)
    wrong = {c["check"]: c["detail"] for c in json.loads(result.output) if not c["ok"]}
    assert result.exit_code == 1
    assert set(wrong) == {"rules", "limits"}
    assert "importnce" in wrong["rules"]
    assert wrong["limits"].startswith("provider_limits.openai.models.gpt-0: ")


def test_a_narrow_table_of_inputs_says_what_was_refused_and_why(
    capsys: pytest.CaptureFixture[str],
) -> None:
    refusal = admin_pb2.InputRefusal(reason="RULES_WRONG", text="rules[0] (a): [importance]")
    told = admin_pb2.ServedInput(name="rules", version="fa32058ace73", refusal=refusal)
    for width in (40, 80, 120):
        print_inputs(Console(width=width, color_system=None), [told])
        last = capsys.readouterr().out.splitlines()[-1]
        assert last == "refused rules: RULES_WRONG: rules[0] (a): [importance]"
    print_inputs(Console(width=80), [admin_pb2.ServedInput(name="rules")])
    assert "refused" not in capsys.readouterr().out


def test_the_table_of_rules_shows_lists_and_what_gives_way(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    rule = "{name: a, when: '\"high\" in [importance]', then: {tier_floor: high}"
    path.write_text(f"rules:\n  - {rule}}}\n")
    shown = invoke("rules", "show", "--rules", str(path)).output
    assert "in [importance]" in shown
    assert "gives way" not in shown
    path.write_text(f"rules:\n  - {rule}, gives_way: true}}\n")
    assert "gives way" in invoke("rules", "show", "--rules", str(path)).output


def test_work_that_can_wait_is_routed_as_such(server: RunningServer) -> None:
    words = ("route", "Hello.", "--quote-only", "--batch", "--server", server.address, "--json")
    assert invoke(*words).exit_code == 0
    nothing = invoke("defer", "list", "--server", server.address)
    assert nothing.output == "No batch work waits.\n"


def test_doctor_warns_of_what_retires_and_of_old_prices_and_fails_for_neither(
    tmp_path: Path,
) -> None:
    path = tmp_path / "catalog.yaml"
    shipped = (Path(router_catalog.__file__).parent / "catalog.yaml").read_text(encoding="utf-8")
    old_price = (
        "    retires: 2026-01-01\n    replaced_by: gpt-6-luna\n\n  - id: gpt-6-luna\n    prices:\n"
        '      - {from: 2026-01-01, input_usd_per_mtok: "9", output_usd_per_mtok: "9"}\n'
    )
    path.write_text(shipped.replace("\n  - id: gpt-6-luna\n", old_price, 1))
    words = ("doctor", "--port", "1", "--catalog", str(path))
    result = invoke(*words, "--json")
    (warned,) = [check for check in json.loads(result.output) if check["warning"]]
    assert (warned["check"], warned["ok"], result.exit_code) == ("catalog", True, 0)
    assert "gpt-5-nano retired on 2026-01-01; gpt-6-luna replaces it" in warned["detail"]
    assert "prices of gpt-6-luna are older than 90 days" in warned["detail"]
    assert "prices of" not in invoke(*words, "--stale-days", "99999").output
    assert "warn catalog" in invoke(*words).output


def test_doctor_says_which_models_have_no_price_unless_they_have_retired(tmp_path: Path) -> None:
    path = tmp_path / "catalog.yaml"
    shipped = (Path(router_catalog.__file__).parent / "catalog.yaml").read_text(encoding="utf-8")
    words = ("doctor", "--port", "1", "--catalog", str(path), "--json")
    renamed = shipped.replace("- id: gpt-5-nano\n", "- id: gpt-5-nought\n")
    path.write_text(renamed)
    prices = next(c for c in json.loads(invoke(*words).output) if c["check"] == "prices")
    assert prices["detail"].startswith("no price for gpt-5-nought: they are never chosen")
    path.write_text(renamed.replace("gpt-5-nought\n", "gpt-5-nought\n    retires: 2026-01-01\n"))
    prices = next(c for c in json.loads(invoke(*words).output) if c["check"] == "prices")
    assert (prices["ok"], prices["detail"][:16]) == (True, "14 models priced")


def test_doctor_knows_a_running_server(server: RunningServer) -> None:
    result = invoke("doctor", "--port", str(server.port))
    assert result.exit_code == 0
    assert "is serving" in result.output


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("memory:", "memory:, lost when the server stops"),
        ("sqlite:{folder}/new", "sqlite:{folder}/new, which the first start of the server creates"),
        ("sqlite:{folder}/old", "sqlite:{folder}/old"),
        (
            "postgresql://me:secret@127.0.0.1:1/spend?sslmode=require",
            "postgresql://127.0.0.1:1/spend: PostgreSQL: the connection is refused; is the server running?",
        ),
    ],
)  # fmt: skip
def test_doctor_says_where_the_ledger_lies(address: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "old").touch()
    result = invoke("doctor", "--ledger", address.format(folder=tmp_path), "--port", "1", "--json")
    checks = {check["check"]: check["detail"] for check in json.loads(result.output)}
    assert checks["ledger"] == told.format(folder=tmp_path)


def test_doctor_refuses_a_ledger_that_is_damaged_or_newer_and_leaves_it_as_it_is(
    tmp_path: Path,
) -> None:
    def ledger(path: Path) -> tuple[bool, str]:
        words = ("doctor", "--ledger", f"sqlite:{path}", "--port", "1", "--json")
        checks = json.loads(invoke(*words).output)
        return next((one["ok"], one["detail"]) for one in checks if one["check"] == "ledger")

    damaged, newer = tmp_path / "damaged", tmp_path / "newer"
    damaged.write_bytes(b"no database" * 1000)
    assert ledger(damaged) == (
        False,
        f"the store {damaged} is damaged (file is not a database); restore a backup",
    )
    store = open_ledger(f"sqlite:{newer}")
    assert ledger(newer) == (True, f"sqlite:{newer}")  # while a server has it
    store.close()
    connection = apsw.Connection(str(newer))
    connection.pragma("user_version", 99)
    connection.close()
    before = newer.read_bytes()
    ok, detail = ledger(newer)
    assert (ok, f"{newer} was written by a newer version of mitsumori (schema 99" in detail) == (
        False, True,
    )  # fmt: skip
    assert newer.read_bytes() == before


def test_doctor_says_who_may_call(tmp_path: Path) -> None:
    def access(*words: str) -> tuple[bool, str]:
        checks = json.loads(invoke("doctor", "--port", "1", "--json", *words).output)
        return next((one["ok"], one["detail"]) for one in checks if one["check"] == "access")

    assert access() == (True, "no TLS, anyone who can connect may do everything")
    store = str(tmp_path / "keys.json")
    missing, detail = access("--key-store", store)
    assert (missing, "mitsumori keys create" in detail) == (False, True)
    invoke("keys", "create", "x", "--tenant", "acme", "--role", "route", "--key-store", store)
    assert access("--key-store", store) == (True, "no TLS, with credentials")
    exposed, detail = access("--key-store", store, "--host", "0.0.0.0")
    assert (exposed, "--insecure" in detail) == (False, True)


@pytest.mark.parametrize("address", ["nope", "mysql://x", "sqlite:", "memory:x", "postgresql:", ""])
def test_doctor_refuses_the_ledger_that_serve_would_refuse(address: str) -> None:
    with pytest.raises(InvalidInput) as serving:
        open_ledger(address)
    result = invoke("doctor", "--ledger", address, "--port", "1", "--json")
    failed = {one["check"]: one["detail"] for one in json.loads(result.output) if not one["ok"]}
    assert (result.exit_code, failed) == (1, {"ledger": serving.value.message})


def test_doctor_refuses_a_registry_that_is_no_server() -> None:
    result = invoke("doctor", "--registry", "ftp://x", "--port", "1", "--json")
    failed = {one["check"]: one["detail"] for one in json.loads(result.output) if not one["ok"]}
    assert (result.exit_code, list(failed)) == (1, ["bundle"])
    assert "registry: " in failed["bundle"]


@pytest.mark.parametrize(
    ("address", "place"),
    [
        ("postgresql://me:secret@db/spend", "postgresql://db/spend"),
        ("postgres://db/spend?user=me&password=secret", "postgres://db/spend"),
        ("postgresql://db/spend?password=se@cret", "postgresql://…"),
        ("postgresql://me:se@secret@db/spend", "postgresql://…"),
        ("postgresql://me:se?secret@db/spend", "postgresql://…"),
        ("postgresql://me:se/secret@db/spend", "postgresql://…"),
        ("postgresql:///spend", "postgresql:///spend"),
    ],
)
def test_no_password_of_a_ledger_is_shown(address: str, place: str) -> None:
    assert ledger_place(address) == place


def test_where_there_is_no_ledger_the_default_one_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    default = tmp_path / "default.sqlite"
    monkeypatch.setattr(paths, "DEFAULT_LEDGER", default)

    def told() -> list[str]:
        commands = (
            ("replay", f"sqlite:{tmp_path}/none"),
            ("backup", str(tmp_path / "copy"), "--ledger", f"sqlite:{tmp_path}/none"),
        )
        return [str(invoke(*words).exception) for words in commands]

    assert [message.partition("there is no ledger")[1] != "" for message in told()] == [True, True]
    assert [str(default) in message for message in told()] == [False, False]
    default.touch()
    assert [f"the default one is sqlite:{default}" in message for message in told()] == [True, True]


def test_doctor_says_what_to_do_about_a_missing_bundle(tmp_path: Path) -> None:
    result = invoke("doctor", "--bundle", str(tmp_path / "none"), "--port", "1")
    assert result.exit_code == 1
    assert "FAIL bundle" in result.output
    assert f"{tmp_path / 'none'} is not a bundle: there is no such directory" in result.output
    assert "name a bundle with --bundle, or train one with `make train`" in result.output


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--max-price", "cheap"), "--max-price"),
        (("--willingness-to-pay", "-1"), "--willingness-to-pay"),
        (("--scope", "team"), "--scope"),
        (("--quality-target", "0.5", "--willingness-to-pay", "1"), "not both"),
        (("--quality-target", "nan"), "quality_target"),
        (("--model", "gpt-99"), "gpt-99"),
        (("--max-latency", "-3"), "max_latency"),
    ],
)
def test_wrong_options_are_named(
    server: RunningServer, words: tuple[str, ...], message: str
) -> None:
    result = invoke("route", "hello", "--server", server.address, *words)
    assert isinstance(result.exception, MitsumoriError | CallFailed | InvalidArgument)
    assert message in str(result.exception)


@pytest.mark.parametrize(
    "error",
    [
        InvalidInput("--port: is wrong"),
        CallFailed("--port: is wrong", code="INVALID_ARGUMENT"),
        InvalidArgument("--port", "is wrong"),
    ],
    ids=["ours", "the server's", "the client's"],
)
def test_an_error_is_one_line_and_exit_code_2(
    error: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left, errors_in_one_line():
        raise error
    assert left.value.code == 2
    assert capsys.readouterr() == ("", "error: --port: is wrong\n")


NO_UTF_8 = "an argument or the input is not UTF-8 text; write it in UTF-8"
NO_CHARACTER = "the output is in ascii, which lacks a character; set PYTHONIOENCODING=utf-8"
HALF_A_PAIR = "holds half of a surrogate pair, which cannot be sent; decode the text correctly"


def test_an_output_that_lacks_a_character_is_not_taken_for_an_input(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as left, errors_in_one_line():
        "選ばれました".encode("ascii")
    assert left.value.code == 2
    assert capsys.readouterr() == ("", f"error: {NO_CHARACTER}\n")


@pytest.mark.parametrize(
    ("words", "given", "errors", "message"),
    [
        ((b"route", b"-"), b"caf\xe9", "strict", NO_UTF_8),
        # Python reads other bytes of arguments, and here of standard input, as halves of pairs.
        ((b"route", b"-"), b"caf\xe9", "surrogateescape", f"prompt: {HALF_A_PAIR}"),
        ((b"route", b"caf\xe9"), b"", "strict", f"prompt: {HALF_A_PAIR}"),
        (
            (b"route", b"hi", b"--scope", b"team=caf\xe9"),
            b"",
            "strict",
            f"scope.team: {HALF_A_PAIR}",
        ),
        ((b"release", b"caf\xe9"), b"", "strict", f"decision_id: {HALF_A_PAIR}"),
    ],
)
def test_what_is_no_utf_8_is_one_line_and_exit_code_2(
    words: tuple[bytes, ...], given: bytes, errors: str, message: str
) -> None:
    told = subprocess.run(
        [sys.executable, "-m", "router", *words, "--server", "127.0.0.1:1"],
        input=given, capture_output=True, check=False,
        env={**os.environ, "PYTHONIOENCODING": f"utf-8:{errors}"},
    )  # fmt: skip
    assert (told.returncode, told.stdout) == (2, b"")
    assert told.stderr.decode() == f"error: {message}\n"


@pytest.mark.parametrize("words", COMMANDS)
def test_every_command_has_help(words: str) -> None:
    result = invoke(*words.split(), "--help")
    assert result.exit_code == 0
    assert "Usage" in result.output


@pytest.mark.parametrize("words", COMMANDS)
def test_the_list_of_commands_says_what_each_one_says_of_itself(words: str) -> None:
    where, line = COMMANDS[words]
    module, _, name = where.partition(":")
    command = getattr(importlib.import_module(f"router.cli.commands.{module}"), name)
    assert (inspect.getdoc(command) or "").splitlines()[0] == line


SLOW = {"onnxruntime", "tokenizers", "genai_prices", "numpy", "pydantic_settings", "yaml", "apsw"}


def imported_by(*words: str) -> set[str]:
    """Modules that a command has imported by its end."""
    code = (
        "import sys\nfrom router.cli.main import main\n"
        f"sys.argv = ['mitsumori', *{words!r}]\n"
        "try:\n    main()\nexcept SystemExit:\n    print('MODULES', *sys.modules)"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(told.stdout.partition("MODULES ")[2].split())


@pytest.mark.parametrize("words", [("--help",), ("limits", "--help")])
def test_help_imports_nothing_that_takes_time(words: tuple[str, ...]) -> None:
    loaded = imported_by(*words)
    assert "router.cli.main" in loaded
    assert loaded & (SLOW | {"grpc", "google.protobuf", "rich", "router.settings"}) == set()


def test_top_level_help_needs_no_pydantic() -> None:
    assert "pydantic" not in imported_by("--help")


@pytest.mark.parametrize(
    "words", [("limits", "list"), ("release", "d-1"), ("usage",), ("route", "hi")]
)
def test_a_client_command_imports_nothing_of_the_service(words: tuple[str, ...]) -> None:
    loaded = imported_by(*words, "--server", "127.0.0.1:1")
    assert "grpc" in loaded
    assert loaded & (SLOW | {"router.settings"}) == set()


def test_serve_and_doctor_have_a_flag_for_every_setting_that_one_word_can_hold() -> None:
    for command in ("serve", "doctor"):
        text = invoke(command, "--help").output
        flags = [f"--{name.replace('_', '-')}" for name in flags_of_settings()]
        assert [flag for flag in flags if f"  {flag} " not in text] == []


def test_a_flag_reaches_its_setting() -> None:
    checks = json.loads(invoke("doctor", "--log-prompts", "text", "--port", "1", "--json").output)
    assert "what the decision log keeps of prompts: text" in [check["detail"] for check in checks]


def test_clients_look_for_the_server_where_serve_would_listen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("MITSUMORI_HOST", "MITSUMORI_PORT", "MITSUMORI_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    settings = load_settings()
    assert server_address("") == f"{settings.host}:{settings.port}"
    monkeypatch.setenv("MITSUMORI_PORT", "6001")
    assert server_address("") == f"127.0.0.1:{load_settings().port}"
    monkeypatch.setenv("MITSUMORI_HOST", "10.0.0.7")
    assert server_address("") == "10.0.0.7:6001"
    assert server_address("elsewhere:1") == "elsewhere:1"


@pytest.mark.parametrize(
    ("host", "address"), [("0.0.0.0", "127.0.0.1:7"), ("::", "[::1]:7"), ("fe80::1", "[fe80::1]:7")]
)
def test_a_server_that_listens_everywhere_is_called_here(
    host: str, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MITSUMORI_HOST", host)
    monkeypatch.setenv("MITSUMORI_PORT", "7")
    assert server_address("") == address


@pytest.mark.parametrize("port", ["0", "many", "65536", "9" * 5_000])
def test_a_port_that_cannot_be_called_is_named(port: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MITSUMORI_PORT", port)
    with pytest.raises(InvalidInput, match=r"MITSUMORI_PORT.*--server") as caught:
        server_address("")
    assert len(caught.value.message) < 120


def test_the_environment_reaches_the_command(
    server: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MITSUMORI_SERVER", raising=False)
    monkeypatch.setenv("MITSUMORI_HOST", "127.0.0.1")
    monkeypatch.setenv("MITSUMORI_PORT", str(server.port))
    assert json.loads(invoke("route", "What is 2 + 2?", "--quote-only", "--json").output)


def test_what_a_script_does_to_holds_and_limits_answers_in_json(server: RunningServer) -> None:
    def told(*words: str) -> object:
        return json.loads(invoke(*words, "--server", server.address, "--json").output)

    assert told("health") == [{"service": "", "status": "SERVING"}]
    decision = told("route", "Hello.", "--request-id", "script-1")
    assert isinstance(decision, dict)
    for now in (True, False):
        released = {"decision": "script-1", "released_now": now}
        assert told("release", "script-1") == released
    made = told("limits", "set", "of-a-script", "--hard", "500", "--scope", "team=a")
    assert isinstance(made, dict)
    assert made["limit"]["limit_id"] == "of-a-script"
    assert told("erase", "--before", "2020-01-01", "--label", "team=a") == {"erased": 0}


def test_verify_answers_in_json(tmp_path: Path) -> None:
    address = f"sqlite:{tmp_path}/ledger"
    with closing(open_ledger(address)):
        pass
    result = invoke("verify", "--ledger", address, "--json")
    assert result.exit_code == 0
    assert json.loads(result.output) == {
        "ledger": address, "decisions": 0, "notes": [], "violations": [],
    }  # fmt: skip
