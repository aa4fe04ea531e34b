"""A shadow and a canary in a running server: what they decide, what they report, and when a canary halts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmarks.swaps import bundle_named
from mitsumori import Admin, Router
from mitsumori.v1 import admin_pb2, router_pb2
from router.cli.demo import serving
from router.cli.main import app
from router.decision_log.record import DecisionRecord, LoggedCanary
from router.decision_log.record_json import parse
from router.paths import MODELS
from tests.readiness import PATIENCE_S, wait_until

PROMPTS = ("What is 2 + 2?", "Prove that √2 is irrational.", "Say hello.", "東京の天気は?")
DEAR = """
rules:
  - name: all-is-done-well
    when: "true"
    then: {tier_floor: high}
"""
CANARY = "canary: {{rules: {rules}, share: 0.5, scope: {{tenant: acme}}, run: {run}}}\n"


class Service:
    """A server with a settings file, and what it says of its trials."""

    def __init__(self, folder: Path, address: str) -> None:
        self.settings, self.log = folder / "settings.yaml", folder / "log"
        self.rules = folder / "dear.yaml"
        self.address = address
        self.client = Router(address, timeout_s=PATIENCE_S)

    def shadow(self) -> admin_pb2.GetShadowResponse:
        with Admin(self.address, timeout_s=PATIENCE_S) as admin:
            return admin.shadow()

    def canary(self) -> admin_pb2.GetCanaryResponse:
        with Admin(self.address, timeout_s=PATIENCE_S) as admin:
            return admin.canary()

    def input(self, name: str) -> admin_pb2.ServedInput | None:
        with Admin(self.address, timeout_s=PATIENCE_S) as admin:
            return next((each for each in admin.inputs() if each.name == name), None)

    def refusal(self, name: str) -> str:
        wait_until(lambda: (found := self.input(name)) and found.HasField("refusal"))
        found = self.input(name)
        assert found is not None
        return found.refusal.text

    def record(self, decision_id: str) -> DecisionRecord:
        with Admin(self.address, timeout_s=PATIENCE_S) as admin:
            rows = admin.decisions(admin_pb2.DecisionFilter())
            return next(parse(row.record_json) for row in rows if row.decision_id == decision_id)

    def events(self, name: str) -> list[dict[str, str]]:
        lines = map(json.loads, self.log.read_text(encoding="utf-8").splitlines())
        return [line for line in lines if line["event"] == name]

    def shown(self, *words: str) -> str:
        found = CliRunner().invoke(app, [*words, "--server", self.address], terminal_width=200)
        assert found.exit_code == 0, found.output
        return found.output


@contextmanager
def service(folder: Path, settings: str, ledger: str = "memory:") -> Iterator[Service]:
    (folder / "dear.yaml").write_text(DEAR)
    (folder / "settings.yaml").write_text(settings)
    flags = ["--config", str(folder / "settings.yaml"), "--reload-every-s", "0.05"]
    with (
        (folder / "log").open("a") as out,
        serving(*flags, "--ledger", ledger, log=out) as (address, _),
    ):
        made = Service(folder, address)
        with made.client:
            yield made


def took(reply: router_pb2.RouteResponse) -> bool:
    return any(each.code == router_pb2.REASON_CODE_CANARY for each in reply.reasons)


# ── shadow ────────────────────────────────────────────────────────────────────────────────────────


def test_a_shadow_bundle_decides_on_copies_and_changes_nothing(tmp_path: Path) -> None:
    bundle = MODELS / "bundles" / "multilingual"
    with service(tmp_path, f"shadow: {{bundle: {bundle}}}\n") as server:
        served = server.input("bundle")
        replies = [server.client.route(text).message for text in PROMPTS]
        wait_until(lambda: server.shadow().calls == len(PROMPTS))
        found = server.shadow()
        assert found.parts.startswith("bundle mitsumori-multilingual@")
        assert served is not None
        assert not any(each.bundle_version in found.parts for each in replies)
        assert found.same_model <= found.same_tier <= found.calls
        assert sum(each.calls for each in found.tiers) == len(PROMPTS)
        assert found.by_live.p_adequate.count == found.by_shadow.p_adequate.count == len(PROMPTS)
        assert found.live.price_usd.mean > 0
        assert not found.failures
        assert "4 requests: the same model for" in server.shown("shadow")
        assert json.loads(server.shown("shadow", "--json"))["calls"] == "4"
        with Admin(server.address, timeout_s=PATIENCE_S) as admin:
            assert len(list(admin.decisions(admin_pb2.DecisionFilter()))) == len(PROMPTS)


def test_shadow_rules_differ_only_by_what_they_do(tmp_path: Path) -> None:
    with service(tmp_path, f"shadow: {{rules: {tmp_path / 'dear.yaml'}}}\n") as server:
        for text in PROMPTS:
            server.client.route(text)
        wait_until(lambda: server.shadow().calls == len(PROMPTS))
        found = server.shadow()
        assert {each.shadow for each in found.tiers} == {"high"}
        # One bundle: both judge alike.
        assert found.by_live.price_usd.mean == pytest.approx(found.by_shadow.price_usd.mean)
        assert found.by_live.price_usd.mean > 0
        assert found.by_live.p_adequate.mean > 0


def test_a_shadow_comes_changes_and_goes_while_the_server_runs_and_a_broken_one_is_refused(
    tmp_path: Path,
) -> None:
    link = tmp_path / "tried"
    (first, _), (second, version) = (bundle_named(name, tmp_path) for name in ("one", "two"))
    link.symlink_to(first)
    with service(tmp_path, "log_level: info\n") as server:
        assert not server.shadow().version
        assert server.input("shadow") is None
        assert "There is no shadow" in server.shown("shadow")
        server.settings.write_text(f"shadow: {{bundle: {link}}}\n")
        wait_until(lambda: server.shadow().parts.startswith("bundle one@"))
        server.client.route("hello")
        wait_until(lambda: server.shadow().calls == 1)
        (first / "classifier.onnx").write_bytes(b"damaged")
        assert "classifier.onnx" in server.refusal("shadow")
        server.client.route("hello again")
        wait_until(lambda: server.shadow().calls == 2)
        link.unlink()
        link.symlink_to(second)
        # Its counts begin anew.
        wait_until(lambda: server.shadow().parts == f"bundle {version}")
        assert server.shadow().calls == 0
        server.settings.write_text("log_level: info\n")
        wait_until(lambda: not server.shadow().version)
        assert server.client.route("hello").model


def test_a_trial_that_is_missing_fails_no_start(tmp_path: Path) -> None:
    settings = (
        f"shadow: {{bundle: {tmp_path / 'none'}}}\ncanary: {{rules: {tmp_path / 'no.yaml'}}}\n"
    )
    with service(tmp_path, settings) as server:
        assert server.client.route("hello").model
        assert str(tmp_path / "none") in server.refusal("shadow")
        assert str(tmp_path / "no.yaml") in server.refusal("canary")
        assert not server.shadow().version
        assert not server.canary().version


# ── canary ────────────────────────────────────────────────────────────────────────────────────────


def test_a_canary_decides_its_share_of_its_scope_and_a_conversation_stays_on_a_side(
    tmp_path: Path,
) -> None:
    settings = CANARY.format(rules=tmp_path / "dear.yaml", run="first")
    with service(tmp_path, settings) as server:
        replies = {
            chat: [
                server.client.route(
                    text, scope={"tenant": "acme"}, conversation_id=f"chat-{chat}"
                ).message
                for text in ("Say hello.", "What is 2 + 2?")
            ]
            for chat in range(12)
        }
        sides = {chat: {took(each) for each in found} for chat, found in replies.items()}
        assert all(len(side) == 1 for side in sides.values())
        assert {True} in sides.values()
        assert {False} in sides.values()
        for found in replies.values():
            for reply in found:
                assert reply.chosen.tier == ("high" if took(reply) else "low")
        chat = next(chat for chat, side in sides.items() if side == {True})
        (reason,) = (
            each for each in replies[chat][0].reasons if each.code == router_pb2.REASON_CODE_CANARY
        )
        kept = server.record(replies[chat][0].decision_id)
        assert kept.canary == LoggedCanary(reason.facts["canary"], 0.5, True)
        assert "CANARY" in kept.reasons
        rest = next(chat for chat, side in sides.items() if side == {False})
        kept = server.record(replies[rest][0].decision_id)
        assert kept.canary == LoggedCanary(reason.facts["canary"], 0.5, False)
        others = [
            server.client.route("Say hello.", scope={"tenant": "other"}).message for _ in range(12)
        ]
        assert not any(map(took, others))
        assert server.record(others[0].decision_id).canary is None


def settle_until_halted(server: Service) -> int:
    """Calls until the canary is halted, where its answers are bad and those of the rest are good."""
    for call in range(300):
        reply = server.client.route("Say hello.", scope={"tenant": "acme"})
        server.client.settle(
            reply.message.decision_id,
            tenant="acme",
            input_tokens=10,
            output_tokens=10,
            quality=0.0 if took(reply.message) else 1.0,
        )
        if server.canary().HasField("halt"):
            return call + 1
    raise AssertionError("it was not halted")


def test_a_bad_canary_is_halted_stays_halted_over_a_restart_and_begins_anew_with_another_run(
    tmp_path: Path,
) -> None:
    ledger = f"sqlite:{tmp_path / 'ledger.sqlite'}"
    rules = tmp_path / "dear.yaml"
    with service(tmp_path, CANARY.format(rules=rules, run="first"), ledger) as server:
        assert 20 < settle_until_halted(server) < 120
        halt = server.canary().halt
        assert halt.check == "quality"
        assert "quality: mean quality 0.000 over" in halt.text
        (line,) = server.events("canary_halted")
        assert line["detail"] == halt.text
        shown = server.shown("canary", "show")
        assert "Halted at " in shown
        assert "canary_halted" not in shown
        after = [server.client.route("Say hello.", scope={"tenant": "acme"}) for _ in range(12)]
        assert not any(took(each.message) for each in after)
        before = server.canary()
    with service(tmp_path, CANARY.format(rules=rules, run="first"), ledger) as server:
        again = server.canary()
        assert again.halt == before.halt
        assert [each.rest_calls for each in again.comparisons] == [
            each.rest_calls for each in before.comparisons
        ]
        after = [server.client.route("Say hello.", scope={"tenant": "acme"}) for _ in range(12)]
        assert not any(took(each.message) for each in after)
        server.settings.write_text(CANARY.format(rules=rules, run="second"))
        wait_until(lambda: server.canary().version != again.version)
        assert not server.canary().HasField("halt")
        after = [server.client.route("Say hello.", scope={"tenant": "acme"}) for _ in range(12)]
        assert any(took(each.message) for each in after)


def test_a_reload_that_fails_leaves_the_canary_that_runs(tmp_path: Path) -> None:
    rules = tmp_path / "dear.yaml"
    with service(tmp_path, CANARY.format(rules=rules, run="first")) as server:
        before = server.canary().version
        rules.write_text(DEAR.replace("high", "highest"))
        assert "highest" in server.refusal("canary")
        assert server.canary().version == before
        server.settings.write_text(CANARY.format(rules=tmp_path / "none.yaml", run="first"))
        wait_until(lambda: "none.yaml" in server.refusal("canary"))
        assert server.canary().version == before
        replies = [server.client.route("hello", scope={"tenant": "acme"}) for _ in range(12)]
        assert any(took(each.message) for each in replies)
