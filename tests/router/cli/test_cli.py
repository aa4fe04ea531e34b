from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from mitsumori import CallFailed, InvalidArgument
from router.cli.main import app
from router.cli.render import errors_in_one_line
from router.core.errors import InvalidInput, MitsumoriError
from router.rpc.server import RunningServer


def invoke(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


def test_models_lists_every_model_with_its_price() -> None:
    listed = json.loads(invoke("models", "--json").output)
    nano = next(model for model in listed["models"] if model["model"] == "gpt-5-nano")
    assert (nano["input_usd_per_mtok"], nano["output_usd_per_mtok"]) == ("0.05", "0.4")
    assert nano["reasoning_tokens"]["p50"] <= nano["reasoning_tokens"]["p90"]
    assert "gpt-5-nano" in invoke("models").output


def test_doctor_finds_nothing_wrong_with_what_ships() -> None:
    checks = json.loads(invoke("doctor", "--port", "1", "--json").output)
    assert [check["check"] for check in checks] == [
        "bundle", "scoring", "tokenizer", "prices", "tiers", "prompts", "port",
    ]  # fmt: skip
    assert [check for check in checks if not check["ok"]] == []


def test_doctor_knows_a_running_server(server: RunningServer) -> None:
    result = invoke("doctor", "--port", str(server.port))
    assert result.exit_code == 0
    assert "is serving" in result.output


def test_doctor_says_what_to_do_about_a_missing_bundle(tmp_path: Path) -> None:
    result = invoke("doctor", "--bundle", str(tmp_path / "none"), "--port", "1")
    assert result.exit_code == 1
    assert "FAIL bundle" in result.output
    assert "make train" in result.output


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
    assert isinstance(result.exception, MitsumoriError | CallFailed)
    assert message in result.exception.message


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


@pytest.mark.parametrize("command", ["serve", "route", "models", "doctor"])
def test_every_command_has_help(command: str) -> None:
    result = invoke(command, "--help")
    assert result.exit_code == 0
    assert "Usage" in result.output
