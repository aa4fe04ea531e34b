"""The commands about money, against a running server."""

from __future__ import annotations

import csv
import json
import re
import uuid
from decimal import Decimal
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from mitsumori import CallFailed, Router
from router.cli.demo import serving
from router.cli.main import app
from router.core.errors import InvalidInput, MitsumoriError
from router.core.money import short_usd
from router.ledger.sqlite.ledger import SqliteLedger
from router.rpc.server import RunningServer
from tests.readiness import PATIENCE_S


@pytest.fixture
def team(server: RunningServer) -> str:
    """A team of its own for each test: the server is shared."""
    return f"team-{uuid.uuid4().hex[:8]}"


def run(server: RunningServer, *words: str) -> str:
    result = CliRunner().invoke(app, [*words, "--server", server.address], env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output or result.exception
    return result.output


def decide(server: RunningServer, team: str) -> str:
    reply = json.loads(
        run(
            server,
            "route",
            "What is 2 + 2?",
            "--scope",
            f"team={team}",
            "--model",
            "gpt-5-nano",
            "--json",
        )
    )
    return str(reply["decision_id"])


def test_set_a_limit_spend_on_it_and_look(server: RunningServer, team: str) -> None:
    run(server, "limits", "set", team, "--hard", "2.50", "--scope", f"team={team}", "--paced")
    decision = decide(server, team)
    booked = run(server, "settle", decision, "--input-tokens", "20", "--output-tokens", "100")
    assert "booked $0.000041" in booked
    (status,) = json.loads(run(server, "limits", "list", "--label", f"team={team}", "--json"))
    assert (status["spent"], status["held"], status["remaining"]) == ("41000", "0", "2499959000")
    assert team in run(server, "limits", "list")
    run(server, "limits", "delete", team)
    assert team not in run(server, "limits", "list")


def test_a_settlement_that_was_wrong_is_amended(server: RunningServer, team: str) -> None:
    decision = decide(server, team)
    run(server, "settle", decision, "--input-tokens", "20", "--output-tokens", "100")
    words = ("amend", decision, "--cost", "0.01", "--reason", "cents taken for dollars")
    assert "booked $0.0100 instead of $0.0000410" in run(server, *words)
    (row,) = json.loads(run(server, "decisions", "--label", f"team={team}", "--json"))
    assert row["spent_usd"] == "0.010000000"


def test_the_tenant_that_an_id_shows_is_asked_for(server: RunningServer) -> None:
    for words in (
        ("amend", "acme:r1", "--cost", "0.01", "--reason", "a slip"),
        ("settle", "acme:r1", "--input-tokens", "1", "--output-tokens", "1"),
        ("release", "acme:r1"),
    ):
        at = ("--server", server.address)
        refused = CliRunner().invoke(app, [*words, *at])
        assert isinstance(refused.exception, InvalidInput), refused.output
        assert "; if it is one of the tenant 'acme', say so with --tenant" in str(refused.exception)
        named = CliRunner().invoke(app, [*words, *at, "--tenant", "acme"])
        assert "--tenant" not in str(named.exception)


def test_route_says_what_it_holds_and_how_that_ends(server: RunningServer, team: str) -> None:
    words = ("route", "What is 2 + 2?", "--model", "gpt-5-nano", "--scope", f"team={team}")
    shown = run(server, *words)
    (held,) = json.loads(run(server, "decisions", "--label", f"team={team}", "--json"))
    assert held["state"] == "held"
    assert "is held until 2026-11-23 12:10:00 UTC" in shown
    assert f"mitsumori settle {held['decision_id']} --input-tokens N --output-tokens N\n" in shown
    assert f"mitsumori release {held['decision_id']}\n" in shown
    assert "--tenant acme" in run(server, *words, "--scope", "tenant=acme")


def test_a_quote_alone_holds_nothing(server: RunningServer, team: str) -> None:
    shown = run(server, "route", "What is 2 + 2?", "--scope", f"team={team}", "--quote-only")
    assert "Nothing is held." in shown
    assert "mitsumori settle" not in shown
    listed = json.loads(run(server, "decisions", "--label", f"team={team}", "--json"))
    assert [row["state"] for row in listed] == ["quoted"]


def test_a_misspelt_label_is_noted(server: RunningServer, team: str) -> None:
    shown = run(server, "route", "What is 2 + 2?", "--scope", f"taem={team}", "--quote-only")
    assert "uses the label taem; did you mean team?" in shown
    made = run(server, "limits", "set", team, "--hard", "1", "--scope", f"taem={team}")
    assert "note: no limit or setting uses the label taem; did you mean team?" in made
    run(server, "limits", "delete", team)
    made = run(server, "limits", "set", team, "--hard", "1", "--scope", f"team={team}")
    assert "note" not in made
    run(server, "limits", "delete", team)


def test_corrections_say_when_there_will_be_some(server: RunningServer) -> None:
    shown = " ".join(run(server, "corrections", "--model", "gpt-5").split())
    assert "Nothing is learnt yet" in shown
    assert "every 5 minutes, so next by" in shown
    assert "One settled decision of a model is enough" in shown
    assert json.loads(run(server, "corrections", "--json")) == []


def test_usage_and_decisions_as_tables_and_files(
    server: RunningServer, team: str, tmp_path: Path
) -> None:
    run(server, "settle", decide(server, team), "--input-tokens", "20", "--output-tokens", "10")
    released = decide(server, team)
    assert "released" in run(server, "release", released)
    mine = ("--label", f"team={team}")
    assert team in run(server, "usage", "--by", "team,model", *mine)
    path = tmp_path / "usage.csv"
    run(
        server,
        "usage",
        "--by",
        "team",
        *mine,
        "--currency",
        "JPY=150@2026-11-20",
        "--out",
        str(path),
    )
    (row,) = csv.DictReader(path.read_text().splitlines())
    assert Decimal(row["spent_usd"]) == Decimal("0.000005")
    assert Decimal(row["spent_jpy_at_2026-11-20"]) == Decimal("0.00075")
    (seen,) = json.loads(run(server, "usage", "--by", "team", *mine, "--json"))
    assert (seen["settled"], seen["overruns"], seen["overrun_rate"]) == (1, 0, "0.0000")
    reserved, unused = Decimal(seen["reserved_usd"]), Decimal(seen["unused_usd"])
    assert reserved - unused == Decimal("0.000005")
    shown = run(server, "usage", "--by", "team", *mine, "--currency", "JPY=150@2026-11-20")
    assert "0.00075" in shown
    assert f"{unused / reserved:.1%}" in shown
    log = tmp_path / "log.parquet"
    run(server, "decisions", *mine, "--out", str(log))
    rows = pq.read_table(log).to_pylist()
    assert [row["state"] for row in rows] == ["settled", "released"]
    assert rows[0]["spent_usd"] == Decimal("0.000005")
    assert rows[0]["quoted_usd"] > 0
    (last,) = json.loads(run(server, "decisions", *mine, "--last", "1", "--json"))
    assert last["decision_id"] == released
    listed = json.loads(run(server, "decisions", *mine, "--state", "released", "--json"))
    assert [row["decision_id"] for row in listed] == [released]


def test_a_group_that_is_no_label_is_noted(server: RunningServer, team: str) -> None:
    decide(server, team)
    mine = ("--label", f"team={team}")
    note = "note: no decision counted here has the label teem; did you mean team?"
    assert note in run(server, "usage", "--by", "model,teem", *mine)
    other = run(server, "usage", "--by", "zebra", *mine)
    assert "has the label zebra; group by day, model, provider, team, tier" in other
    for names in ("team", "model,tier,provider,day", ""):
        assert "note" not in run(server, "usage", "--by", names, *mine)
    assert "note" not in run(server, "usage", "--by", "teem", "--label", f"team={team}-nobody")


def test_usage_says_that_it_cannot_tell_savings_where_nothing_was_left_to_chance(
    server: RunningServer, team: str
) -> None:
    run(server, "settle", decide(server, team), "--input-tokens", "20", "--output-tokens", "10")
    told = run(server, "usage", "--savings", "--label", f"team={team}")
    assert (
        "savings against one model, gpt-5-nano: cannot tell: every choice had propensity 1" in told
    )
    assert "savings" not in run(server, "usage", "--label", f"team={team}")


def test_a_report_says_how_the_call_went(server: RunningServer, team: str) -> None:
    run(
        server, "settle", decide(server, team), "--input-tokens", "20", "--output-tokens", "10",
        "--reasoning-tokens", "4", "--latency", "1.5", "--outcome", "truncated",
    )  # fmt: skip
    (row,) = json.loads(run(server, "decisions", "--label", f"team={team}", "--json"))
    usage = json.loads(row["record"])["usage"]
    assert (usage["outcome"], usage["latency_s"], usage["reasoning_tokens"]) == (
        "truncated",
        1.5,
        4,
    )


def test_a_users_decisions_are_erased_on_demand(server: RunningServer, team: str) -> None:
    mine = ("--label", f"team={team}")
    run(server, "settle", decide(server, team), "--input-tokens", "1", "--output-tokens", "1")
    decide(server, team)  # still held: stays
    assert "1 decision erased" in run(server, "erase", *mine, "--before", "2100-01-01")
    left = json.loads(run(server, "decisions", *mine, "--json"))
    assert [row["state"] for row in left] == ["held"]


def test_a_label_never_becomes_a_formula_in_a_spreadsheet(
    server: RunningServer, tmp_path: Path
) -> None:
    team = "=cmd|calc"
    decide(server, team)
    path = tmp_path / "usage.csv"
    run(server, "usage", "--by", "team", "--label", f"team={team}", "--out", str(path))
    (row,) = csv.DictReader(path.read_text().splitlines())
    assert row["team"] == "'=cmd|calc"


def test_a_batch_is_quoted_from_a_file(server: RunningServer, tmp_path: Path) -> None:
    file = tmp_path / "prompts.jsonl"
    file.write_text(
        '"What is 2 + 2?"\n\n{"prompt": "Prove it.", "max_output_tokens": 50}\n'
        '{"messages": [{"role": "user", "content": "東京の天気は？"}]}\n',
        encoding="utf-8",
    )
    out = tmp_path / "quotes.jsonl"
    printed = run(server, "quote", str(file), "--out", str(out))
    assert "3 prompts, low" in printed
    assert "(1 − P(adequate)) × the cost of a miss, $0." in printed
    file.write_text('"What is 2 + 2?"')
    assert "1 prompt, low" in run(server, "quote", str(file))
    assert "recommended routing" in printed
    quotes = [json.loads(line) for line in out.read_text().splitlines()]
    assert [quote["index"] for quote in quotes] == [0, 1, 2]
    for quote in quotes:
        assert 0 < Decimal(quote["low_usd"]) <= Decimal(quote["expected_usd"])
        assert quote["tier"] == quote["arm"]
        assert 0 < quote["p_adequate"] < 1
        assert 0 <= quote["complexity"] <= 1
        assert 0 < quote["output_tokens_p50"] <= quote["output_tokens_p90"]
        assert quote["error"] == ""


def test_a_reply_shows_every_price_with_its_risk(server: RunningServer) -> None:
    words = ("route", "Prove it.", "--importance", "high", "--quote-only")
    shown, bare = run(server, *words), run(server, *words, "--quality-target", "0.5")
    assert "lowest expected cost at complexity 0." in shown
    assert "with risk" in shown
    assert "risk" not in bare
    reply = json.loads(run(server, *words, "--json"))
    chosen, price = reply["chosen"], reply["chosen"]["quote"]["price"]["expected"]
    miss_cost = round(2_500_000_000 * reply["assessment"]["complexity"])
    weighed = f"× {short_usd(miss_cost)}, the cost of a miss at this complexity."
    assert f"With risk: expected + (1 − P(adequate)) {weighed}" in shown
    cost = price["nanos"] + round((1 - chosen["p_adequate"]) * miss_cost)
    row = next(line for line in shown.splitlines() if line.startswith(f"│ {chosen['model']} "))
    assert row.split("│")[8].strip() == short_usd(cost)


AMOUNT = re.compile(r"\$[\d.,]*\d")


@pytest.mark.parametrize(
    "words",
    [
        ("limits", "list", "--label", "team={team}"),
        ("decisions", "--label", "team={team}"),
        ("usage", "--by", "team,model", "--label", "team={team}"),
        ("quote", "{file}", "--scope", "team={team}"),
        ("route", "Prove it.", "--quote-only", "--scope", "team={team}"),
    ],
    ids=lambda words: words[0],
)
def test_every_amount_is_whole_on_a_narrow_terminal_and_in_a_pipe(
    server: RunningServer, team: str, tmp_path: Path, words: tuple[str, ...]
) -> None:
    file = tmp_path / "prompts.jsonl"
    file.write_text('"What is 2 + 2?"')
    mine = ("--scope", f"team={team}")
    run(server, "limits", "set", team, "--hard", "1234567.89", "--soft", "1000000.5", *mine)
    run(server, "settle", decide(server, team), "--input-tokens", "20", "--output-tokens", "10")
    told = [word.format(team=team, file=file) for word in words]

    def amounts_at(columns: int, **terminal: str) -> set[str]:
        shown = CliRunner().invoke(
            app,
            [*told, "--server", server.address],
            env={"COLUMNS": str(columns), "TERM": "xterm", "NO_COLOR": "1", **terminal},
        )
        assert shown.exit_code == 0, shown.output or shown.exception
        assert "…" not in shown.output
        return set(AMOUNT.findall(shown.output))

    everything = amounts_at(1000, FORCE_COLOR="1")
    assert everything
    assert amounts_at(80) == everything
    # Columns that only a wide terminal has are left out as a whole.
    assert amounts_at(80, FORCE_COLOR="1") == amounts_at(119, FORCE_COLOR="1") <= everything
    run(server, "limits", "delete", team)


def test_the_ledger_is_backed_up_while_the_server_writes(tmp_path: Path) -> None:
    address = f"sqlite:{tmp_path}/ledger.sqlite"
    with (
        serving("--ledger", address) as (server, _),
        Router(server, timeout_s=PATIENCE_S) as client,
    ):
        first = client.route("What is 2 + 2?").id
        result = CliRunner().invoke(
            app, ["backup", str(tmp_path / "copy.sqlite"), "--ledger", address]
        )
        assert result.exit_code == 0, result.output
        second = client.route("What is 3 + 3?").id
    copy = SqliteLedger(tmp_path / "copy.sqlite")
    assert copy.decision(first) is not None
    assert copy.decision(second) is None
    copy.close()
    wrong = CliRunner().invoke(app, ["backup", "x", "--ledger", f"sqlite:{tmp_path}/nowhere"])
    assert "no ledger at" in str(wrong.exception)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("quote", "nowhere.jsonl"), "there is no file nowhere.jsonl"),
        (("usage", "--since", "yesterday"), "--since"),
        (("usage", "--currency", "JPY"), "--currency"),
        (("usage", "--currency", "JPY=0@2026-11-20"), "--currency"),
        (("usage", "--out", "usage.xls"), ".xls"),
        (("limits", "set", "x", "--hard", "1", "--scope", "model=gpt-99"), "did you mean"),
        (("usage", "--label", "team"), "--label"),
        (("usage", "--by", "Team!"), "group_by"),
        (("decisions", "--state", "lost"), "--state"),
        (
            ("settle", "x", "--input-tokens", "1", "--output-tokens", "1", "--outcome", "lost"),
            "--outcome",
        ),
        (("limits", "set", "x", "--unit", "euros", "--hard", "1"), "--unit"),
        (("limits", "set", "x", "--hard", "-1"), "--hard"),
        (("limits", "set", "x", "--unit", "tokens", "--hard", "1.5"), "--hard"),
        (("limits", "set", "x"), "give --hard, --soft or --share, such as --hard 500"),
        (("limits", "delete", "nobody"), "no such limit"),
        (("erase", "--before", "2100-01-01"), "at least one label"),
        (("erase", "--before", "soon", "--label", "team=x"), "--before"),
        (("settle", "nobody", "--input-tokens", "1", "--output-tokens", "1"), "no such decision"),
    ],
)
def test_wrong_words_get_one_clear_line(
    server: RunningServer, words: tuple[str, ...], message: str
) -> None:
    result = CliRunner().invoke(app, [*words, "--server", server.address])
    assert isinstance(result.exception, MitsumoriError | CallFailed), result.output
    assert message in result.exception.message
    assert "\n" not in result.exception.message


def test_a_file_of_prompts_in_another_encoding_is_told_from_a_missing_one(tmp_path: Path) -> None:
    file = tmp_path / "prompts.jsonl"
    file.write_bytes('"東京"'.encode("shift-jis"))
    result = CliRunner().invoke(app, ["quote", str(file)])
    assert isinstance(result.exception, MitsumoriError)
    assert result.exception.message == f"{file} is not UTF-8 text; save it as UTF-8"
    folder = CliRunner().invoke(app, ["quote", str(tmp_path)])
    assert f"{tmp_path} cannot be read (Is a directory)" in str(folder.exception)


def test_the_line_that_the_help_shows_is_quoted(server: RunningServer, tmp_path: Path) -> None:
    lines = CliRunner().invoke(app, ["quote", "--help"], env={"COLUMNS": "80"}).output.splitlines()
    (example,) = (line.strip() for line in lines if line.strip().startswith("{"))
    assert json.loads(example)["max_output_tokens"] == 500
    file = tmp_path / "prompts.jsonl"
    file.write_text(example, encoding="utf-8")
    assert "recommended routing" in run(server, "quote", str(file))


def test_a_line_that_is_no_prompt_is_named(server: RunningServer, tmp_path: Path) -> None:
    file = tmp_path / "prompts.jsonl"
    file.write_text('"fine"\n{"text": 1}\n')
    result = CliRunner().invoke(app, ["quote", str(file), "--server", server.address])
    assert result.exit_code == 0
    assert "1 prompt, low" in result.stdout
    assert f"{file}, line 2: the line has no prompt; write a JSON string" in result.stderr


def test_a_line_that_cannot_be_sent_costs_no_other_line_its_price(
    server: RunningServer, tmp_path: Path
) -> None:
    file, out = tmp_path / "prompts.jsonl", tmp_path / "quotes.jsonl"
    image = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}
    developer = {"role": "developer", "content": "secret"}
    lines = ["fine", {"messages": [developer]}, {"messages": []}, {"messages": [image]}, "fine too"]
    file.write_text("\n\n".join(map(json.dumps, lines)))
    words = ["quote", str(file), "--server", server.address, "--out", str(out)]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0
    assert "2 prompts, low" in result.stdout
    assert "3 could not be quoted; the first, line 3: prompt[0].role: must be" in result.stdout
    assert "secret" not in result.output
    first, second, third = (line for line in result.stderr.splitlines() if ", line " in line)
    assert first == (
        f"{file}, line 3: prompt[0].role: must be one of system, user, assistant, tool"
    )
    # The server refuses this one.
    assert second.startswith(f"{file}, line 5: prompt")
    assert third == (
        f"{file}, line 7: prompt[0].content: must be a text, not parts (image_url): "
        "only text is supported yet"
    )
    quotes = [json.loads(line) for line in out.read_text().splitlines()]
    assert [quote["index"] for quote in quotes] == [0, 1, 2, 3, 4]
    assert [quote["error"] == "" for quote in quotes] == [True, False, False, False, True]
    summary = json.loads(CliRunner().invoke(app, [*words[:-2], "--json"]).stdout)
    assert (summary["quoted"], summary["failed"]) == ("2", "3")


def test_a_line_that_is_larger_than_the_server_takes_costs_no_other_line_its_price(
    server: RunningServer, tmp_path: Path
) -> None:
    """The server takes prompts of 100,000 bytes, and messages of one MiB more."""
    most = (1 << 20) + 100_000
    file, out = tmp_path / "prompts.jsonl", tmp_path / "quotes.jsonl"
    sizes = [5, most + 1, most - 1000, 3 * most, 7, most // 2, most + 2]
    file.write_text("\n".join(json.dumps("x" * size) for size in sizes))
    words = ["quote", str(file), "--server", server.address, "--out", str(out)]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output or result.exception
    quotes = [json.loads(line) for line in out.read_text().splitlines()]
    large = "PROMPT_TOO_LARGE: prompt"
    assert [quote["error"] for quote in quotes] == ["", large, large, large, "", large, large]
    by_line = dict(
        line.removeprefix(f"{file}, line ").split(": ", 1)
        for line in result.stderr.splitlines()
        if ", line " in line
    )
    # The server reads the third and the sixth, and names the limit.
    assert [line for line, text in by_line.items() if "the limit of 100,000" in text] == ["3", "6"]
    assert re.fullmatch(
        r"prompt: a request of 3,44\d,\d{3} bytes is more than the server takes; shorten it, or raise the "
        "server's max_prompt_bytes",
        by_line["4"],
    )
    summary = json.loads(CliRunner().invoke(app, [*words[:-2], "--json"]).stdout)
    assert (summary["quoted"], summary["failed"]) == ("2", "5")


def test_where_no_server_answers_a_large_line_is_not_blamed(tmp_path: Path) -> None:
    file = tmp_path / "prompts.jsonl"
    file.write_text(json.dumps("x" * (1 << 21)))
    result = CliRunner().invoke(app, ["quote", str(file), "--server", "127.0.0.1:1"])
    assert isinstance(result.exception, CallFailed)
    assert "no server answers" in result.exception.message


@pytest.mark.parametrize("line", ["[" * 100_000, '{"prompt": ' * 100_000])
def test_a_line_nested_without_end_costs_no_other_line_its_price(
    server: RunningServer, tmp_path: Path, line: str
) -> None:
    file, out = tmp_path / "prompts.jsonl", tmp_path / "quotes.jsonl"
    file.write_text(f'"fine"\n{line}\n')
    result = CliRunner().invoke(
        app, ["quote", str(file), "--server", server.address, "--out", str(out)]
    )
    assert result.exit_code == 0, result.exception
    assert f"{file}, line 2: the line is nested too deeply to be a prompt\n" in result.stderr
    quotes = [json.loads(row) for row in out.read_text().splitlines()]
    assert [quote["error"] for quote in quotes] == ["", "INVALID_INPUT"]


def test_a_batch_of_which_nothing_can_be_sent_is_counted(
    server: RunningServer, tmp_path: Path
) -> None:
    file = tmp_path / "prompts.jsonl"
    file.write_text(json.dumps({"messages": [{"role": "developer", "content": "x"}]}))
    result = CliRunner().invoke(app, ["quote", str(file), "--server", server.address])
    assert result.exit_code == 1
    assert "1 could not be quoted" in result.stdout


def test_a_task_from_its_quote_to_its_end(server: RunningServer, team: str) -> None:
    labels = ("--scope", f"team={team}", "--model", "gpt-5-nano")
    words = ("tasks", "begin", "Fix the failing test.", "--turns", "3", *labels)
    quoted = run(server, *words, "--quote-only")
    assert "3 to 6 turns like this one on gpt-5-nano" in quoted
    assert "held until" not in quoted
    begun = run(server, *words, "--cap", "0.50", "--ttl", "600", "--request-id", team)
    assert f"task {team}: $0.500 held until" in " ".join(begun.split())
    shown = run(server, "route", "Fix the failing test.", "--task-id", team, *labels)
    assert f"Turn 1 of task {team}:" in " ".join(shown.split())
    turn = json.loads(run(server, "route", "Go on.", "--task-id", team, *labels, "--json"))
    run(server, "settle", turn["decision_id"], "--input-tokens", "20", "--output-tokens", "100")
    (row,) = json.loads(run(server, "tasks", "list", "--label", f"team={team}", "--json"))
    assert (row["task_id"], row["state"], row["turns"]) == (team, "TASK_STATE_OPEN", 2)
    assert row["spent"]["nanos"] == 41_000
    table = run(server, "tasks", "list", "--label", f"team={team}", "--state", "open")
    assert (team in table, "2 of 3" in table) == (True, True)
    assert json.loads(run(server, "tasks", "show", team, "--json"))["cap"]["nanos"] == 500_000_000
    assert "ended" in run(server, "tasks", "end", team)
    assert json.loads(run(server, "tasks", "end", team, "--json"))["state"] == "TASK_STATE_ENDED"
    assert team in run(server, "tasks", "show", team)
    assert team not in run(server, "tasks", "list", "--label", f"team={team}", "--state", "open")


def test_what_is_no_task_is_one_clear_line(server: RunningServer) -> None:
    for words, said in (
        (("tasks", "show", "no-such-task"), "there is no task 'no-such-task'"),
        (("tasks", "end", "no-such-task"), "there is no task 'no-such-task'"),
        (
            ("tasks", "begin", "hello", "--turns", "3", "--cap", "nothing"),
            "--cap: 'nothing' is not",
        ),
        (("tasks", "begin", "hello", "--turns", "0"), "turns: must be 1 to 1,000"),
        (("tasks", "list", "--state", "gone"), "--state: 'gone' is none of open, ended, expired"),
    ):
        result = CliRunner().invoke(app, [*words, "--server", server.address])
        assert isinstance(result.exception, CallFailed | MitsumoriError)
        assert said in str(result.exception)
