"""A line of ``mitsumori quote FILE`` carries what a Route request carries; none of it is dropped."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from mitsumori import InvalidArgument, Router
from mitsumori.v1 import router_pb2
from router.cli.main import app
from router.core.errors import MitsumoriError
from router.rpc.server import RunningServer

PROOF = "Prove that every bounded sequence of real numbers has a convergent subsequence."


def quotes(
    server: RunningServer, folder: Path, *lines: object, options: tuple[str, ...] = ()
) -> tuple[list[dict[str, Any]], list[str]]:
    """The rows that the command writes for these lines, and what it says of those that it refuses."""
    file, out = folder / "prompts.jsonl", folder / "quotes.jsonl"
    file.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    words = ["quote", str(file), "--server", server.address, "--out", str(out), *options]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output or result.exception
    told = [
        line.removeprefix(f"{file}, ") for line in result.stderr.splitlines() if ", line " in line
    ]
    return [json.loads(row) for row in out.read_text().splitlines()], told


def test_every_field_of_a_line_changes_its_quote_as_it_would_change_a_route(
    server: RunningServer, client: Router, tmp_path: Path
) -> None:
    wishes: list[dict[str, Any]] = [
        {},
        {"importance": "low"},
        {"importance": "high"},
        {"quality_target": 0.2},
        {"willingness_to_pay": "0.00001"},
        {"willingness_to_pay": 0.5},
        {"allowed_tiers": ["medium"]},
        {"allowed_models": ["gpt-5-nano"]},
        {"required_capabilities": ["vision"]},
        {"max_price": 0.0005},
        {"max_latency": 60},
        {"max_first_token": 30},
        {"max_output_tokens": 20},
    ]
    arguments = {
        "allowed_tiers": "tiers",
        "allowed_models": "models",
        "required_capabilities": "capabilities",
        "max_price": "max_price_usd",
        "max_latency": "max_latency_s",
        "max_first_token": "max_first_token_s",
        "willingness_to_pay": "willingness_to_pay_usd",
    }
    rows, told = quotes(server, tmp_path, *({"prompt": PROOF} | wish for wish in wishes))
    assert told == []
    for row, wish in zip(rows, wishes, strict=True):
        named: dict[str, Any] = {
            arguments.get(name, name): str(value)
            if name in ("max_price", "willingness_to_pay")
            else value
            for name, value in wish.items()
        }
        chosen = client.route(PROOF, quote_only=True, **named).message.chosen
        assert (row["model"], row["p_adequate"]) == (chosen.model, chosen.p_adequate), wish
        assert row["output_tokens_p90"] == chosen.quote.output_tokens.p90
    assert len({row["model"] for row in rows}) >= 3


def test_every_field_of_the_protocol_is_taken(server: RunningServer, tmp_path: Path) -> None:
    line = {
        "request_id": "q-1", "scope": {"team": "search", "tenant": "acme"}, "prompt": PROOF,
        "constraints": {
            "allowed_models": ["gpt-5-nano"], "allowed_tiers": ["low"], "required_capabilities": ["tools"],
            "max_price": "1", "max_latency": 600, "max_first_token": 60,
            "max_output_tokens": 9,
        },
        "quality_target": 0.5, "importance": "high", "conversation_id": "c-1", "quote_only": True,
        "batch": True, "max_alternatives": 0, "explain": True,
    }  # fmt: skip
    left_out = set(router_pb2.RouteRequest.DESCRIPTOR.fields_by_name) - line.keys()
    # The other goal; and a task that has begun, which the tests of tasks have.
    assert left_out == {"willingness_to_pay", "task_id"}
    (row,), told = quotes(server, tmp_path, line)
    assert told == []
    assert (row["model"], row["output_tokens_p90"]) == ("gpt-5-nano", 9)


def test_options_are_what_a_line_does_not_say_and_the_line_wins(
    server: RunningServer, tmp_path: Path
) -> None:
    rows, _ = quotes(
        server,
        tmp_path,
        PROOF,
        {"prompt": PROOF, "allowed_tiers": ["high"]},
        {"prompt": PROOF, "constraints": {"max_output_tokens": 7}},
        # Another goal than that of the options; both at once would be refused.
        {"prompt": PROOF, "willingness_to_pay": "1"},
        options=("--tier", "low", "--max-output-tokens", "30", "--quality-target", "0.1"),
    )
    assert [row["tier"] for row in rows] == ["low", "high", "low", "low"]
    assert [row["output_tokens_p90"] for row in rows] == [30, 30, 7, 30]
    assert [row["error"] for row in rows] == [""] * 4


def test_labels_of_a_line_count_for_limits_beside_those_of_the_options(
    server: RunningServer, tmp_path: Path
) -> None:
    run = CliRunner().invoke
    at = ("--server", server.address)
    words = ("limits", "set", "german-search", "--hard", "0", "--scope", "team=quotes-search")
    assert run(app, [*words, "--scope", "language=de", *at]).exit_code == 0
    try:
        rows, _ = quotes(
            server,
            tmp_path,
            {"prompt": "Hi!", "language": "en", "category": "greeting", "user": "u-1"},
            {"prompt": "Hallo!", "language": "de"},
            {"prompt": "Hallo!", "scope": {"language": "de"}},
            {"prompt": "Hallo!", "language": "de", "scope": {"team": "other"}},
            options=("--scope", "team=quotes-search"),
        )
    finally:
        run(app, ["limits", "delete", "german-search", *at])
    refused = [row["error"] for row in rows]
    assert refused[0] == refused[3] == ""
    assert refused[1] == refused[2] != ""


@pytest.mark.parametrize(
    ("line", "reason", "told"),
    [
        ({"importnace": "high"}, "UNKNOWN_FIELD: importnace",
         "importnace: is not a field of a line; did you mean importance?"),
        ({"constraints": {"max_prise": 1}}, "UNKNOWN_FIELD: constraints.max_prise",
         "constraints.max_prise: is not a field of a line; did you mean max_price?"),
        ({"max_prise_usd": 1}, "UNKNOWN_FIELD: max_prise_usd",
         "max_prise_usd: is not a field of a line; did you mean max_price_usd?"),
        ({"max_tokens": 9}, "UNKNOWN_FIELD: max_tokens",
         "max_tokens: is not a field of a line; did you mean max_output_tokens?"),
        ({"zzz": 9}, "UNKNOWN_FIELD: zzz",
         "zzz: is not a field of a line; mitsumori quote --help lists them"),
        ({"constraints": {"importance": "low"}}, "UNKNOWN_FIELD: constraints.importance",
         "constraints.importance: is not a field of a line; mitsumori quote --help lists them"),
        ({"what is this?": 1}, "UNKNOWN_FIELD",
         "a name: is not a field of a line; mitsumori quote --help lists them"),
        ({"max_price_usd": "much"}, "INVALID_INPUT: max_price_usd", "max_price_usd: write USD, "),
        ({"models": "gpt-5-nano"}, "INVALID_INPUT: models", "models: write a list of names"),
        ({"models": [3]}, "INVALID_INPUT: models[0]", "models[0]: must be a text"),
        ({"max_price": 1, "max_price_usd": 2}, "INVALID_INPUT: max_price_usd",
         "max_price_usd: give it or max_price, not both"),
        ({"quality_target": 0.5, "willingness_to_pay_usd": 1}, "INVALID_INPUT: quality_target",
         "quality_target: give it or willingness_to_pay_usd, not both"),
        ({"importance": "urgent"}, "INVALID_INPUT: importance",
         "importance: must be one of low, medium, high"),
        ({"quality_target": 0.5, "willingness_to_pay": 1}, "INVALID_INPUT: quality_target",
         "quality_target: give it or willingness_to_pay, not both"),
        ({"max_price": "much"}, "INVALID_INPUT: max_price", "max_price: write USD, "),
        ({"max_latency": -1}, "INVALID_INPUT: max_latency",
         "max_latency: must be a finite number of seconds"),
        ({"allowed_models": "gpt-5-nano"}, "INVALID_INPUT: allowed_models",
         "allowed_models: write a list of names"),
        ({"max_price": 1, "constraints": {"max_price": 2}}, "INVALID_INPUT: max_price",
         "max_price: give it beside constraints or in it, not both"),
        ({"constraints": ["tools"]}, "INVALID_INPUT: constraints",
         "constraints: must be an object with allowed_models, "),
        ({"scope": ["team"]}, "INVALID_INPUT: scope", "scope: write an object of labels"),
        ({"scope": {"team": 3}}, "INVALID_INPUT: scope.team", "scope.team: must be a text, not int"),
        ({"language": 3}, "INVALID_INPUT: language", "language: must be a text, not int"),
        ({"prompt": None}, "INVALID_INPUT: prompt", "prompt: write a text or a list of messages"),
        ({"messages": []}, "INVALID_INPUT: messages", "messages: give prompt or messages, not both"),
    ],
)  # fmt: skip
def test_a_field_that_cannot_be_taken_is_named_with_its_line_and_costs_no_other_its_quote(
    server: RunningServer, tmp_path: Path, line: dict[str, object], reason: str, told: str
) -> None:
    rows, messages = quotes(server, tmp_path, "fine", {"prompt": "Hi"} | line)
    assert [row["error"] for row in rows] == ["", reason]
    (message,) = messages
    assert message.startswith(f"line 2: {told}")


def test_columns_that_collect_reads_and_null_change_no_quote(
    server: RunningServer, tmp_path: Path
) -> None:
    bare = {"prompt": "What is the capital of France?"}
    told = {"prompt_id": "p-1", "reference": "Paris", "source": "support", "importance": None}
    (one, other), messages = quotes(server, tmp_path, bare, bare | told)
    assert messages == []
    assert one == other | {"index": 0}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--quality-target", "2"), "quality_target: must be a number from 0 to 1"),
        (("--max-price", "much"), "--max-price"),
        (("--quality-target", "0.5", "--willingness-to-pay", "1"), "not both"),
    ],
)
def test_an_option_that_cannot_be_taken_is_one_line_not_one_per_prompt(
    server: RunningServer, tmp_path: Path, options: tuple[str, ...], message: str
) -> None:
    file = tmp_path / "prompts.jsonl"
    file.write_text('"one"\n"two"\n')
    result = CliRunner().invoke(app, ["quote", str(file), "--server", server.address, *options])
    assert isinstance(result.exception, InvalidArgument | MitsumoriError)
    assert message in result.exception.message


def test_a_line_may_use_the_names_of_the_client(server: RunningServer, tmp_path: Path) -> None:
    names = {
        "allowed_tiers": ("tiers", ["medium"]),
        "allowed_models": ("models", ["gpt-5-nano"]),
        "required_capabilities": ("capabilities", ["vision"]),
        "max_price": ("max_price_usd", 0.0005),
        "max_latency": ("max_latency_s", 60),
        "max_first_token": ("max_first_token_s", 30),
        "willingness_to_pay": ("willingness_to_pay_usd", 0.5),
    }
    both = [
        {"prompt": PROOF, one: value}
        for field, (argument, value) in names.items()
        for one in (field, argument)
    ]
    both.append({"prompt": PROOF, "constraints": {"tiers": ["high"]}})
    rows, told = quotes(server, tmp_path, *both)
    assert told == []
    for one, other in zip(rows[:-1:2], rows[1::2], strict=True):
        assert one == other | {"index": one["index"]}
    assert rows[-1]["tier"] == "high"


def test_a_line_that_is_no_prompt_costs_its_own_quote_alone(
    server: RunningServer, tmp_path: Path
) -> None:
    rows, told = quotes(server, tmp_path, [1, 2], "fine", 3, None, {"text": 1})
    assert [row["error"] for row in rows] == [
        "INVALID_INPUT", "", "INVALID_INPUT", "INVALID_INPUT", "INVALID_INPUT"
    ]  # fmt: skip
    form = "write a JSON string, or an object with prompt or messages"
    assert told == [
        f"line 1: the line is no prompt; {form}",
        f"line 3: the line is no prompt; {form}",
        f"line 4: the line is no prompt; {form}",
        f"line 5: the line has no prompt; {form}",
    ]


def test_a_byte_order_mark_and_line_ends_of_windows_are_read(
    server: RunningServer, tmp_path: Path
) -> None:
    file = tmp_path / "prompts.jsonl"
    file.write_bytes(b'\xef\xbb\xbf{"prompt":"Hello"}\r\n{"prompt":"World"}\r\n')
    result = CliRunner().invoke(app, ["quote", str(file), "--server", server.address])
    assert result.exit_code == 0, result.output
    assert "2 prompts, low" in result.stdout


def test_where_nothing_can_be_quoted_there_are_no_costs_and_the_exit_code_says_so(
    server: RunningServer, tmp_path: Path
) -> None:
    file, out = tmp_path / "prompts.jsonl", tmp_path / "quotes.jsonl"
    file.write_text('\n{"prompt": "Hi", "max_tokens": 5}\nno JSON\n')
    words = ["quote", str(file), "--server", server.address, "--out", str(out)]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 1
    assert result.stdout.splitlines() == [
        "2 could not be quoted; the first, line 2: max_tokens: is not a field of a line; did you mean "
        "max_output_tokens?"
    ]
    errors = [json.loads(row)["error"] for row in out.read_text().splitlines()]
    assert errors == ["UNKNOWN_FIELD: max_tokens", "INVALID_INPUT"]
    told = CliRunner().invoke(app, [*words, "--json"])
    assert told.exit_code == 1
    assert json.loads(told.stdout)["failed"] == "2"


def test_a_file_that_cannot_be_written_is_refused_before_anything_is_quoted(tmp_path: Path) -> None:
    file = tmp_path / "prompts.jsonl"
    file.write_text('"Hello"\n')
    words = ["quote", str(file), "--server", "127.0.0.1:1", "--out", str(tmp_path / "x.out")]
    result = CliRunner().invoke(app, words)
    assert isinstance(result.exception, MitsumoriError)
    assert result.exception.message == "--out: cannot write .out; use .csv, .jsonl or .parquet"
