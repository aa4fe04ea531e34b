"""What the decision log keeps of a prompt, kind by kind."""

from __future__ import annotations

import base64
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

from router.core.types import Constraints, Importance, Message, Prompt
from router.decision_log.prompt_log import PromptLog
from router.decision_log.record import PromptLogKind
from router.decision_log.record_json import parse
from router.ledger.memory import MemoryLedger
from router.routing.router import RouteQuery, Router
from router.rpc.assembly import build_reservations
from router.settings import Settings
from tests.readiness import PATIENCE_S

SECRET = "Mail me at taro@example.jp"
PROMPT = Prompt((Message("system", "Be brief."), Message("user", SECRET)))
VECTOR = np.linspace(-1, 1, 8, dtype=np.float32)
ENCODER = ("static", "ab" * 32)


def written(log: PromptLog, prompt: Prompt = PROMPT) -> dict[str, object]:
    """What stands in the record."""
    found: dict[str, object] = msgspec.json.decode(
        msgspec.json.encode(log.kept(prompt, VECTOR, ENCODER))
    )
    return found


def kept(kind: PromptLogKind, key: bytes = b"") -> dict[str, object]:
    return written(PromptLog(kind, key))


def test_nothing_is_kept_unless_asked_for() -> None:
    assert written(PromptLog()) == {}
    assert Settings().log_prompts == "off"


def test_a_hash_tells_repeated_prompts_and_depends_on_the_key() -> None:
    first = kept("hash", b"k")
    assert first.keys() == {"prompt_log", "prompt_hash"}
    assert first == kept("hash", b"k")
    assert first["prompt_hash"] != kept("hash", b"other")["prompt_hash"]


def test_a_vector_says_which_encoder_made_it_and_can_be_read_again() -> None:
    record = kept("embedding")
    assert record.keys() == {"prompt_log", "prompt_embedding"}
    entry = record["prompt_embedding"]
    assert isinstance(entry, dict)
    assert (entry["encoder"], entry["encoder_sha256"], entry["dimensions"]) == (*ENCODER, 8)
    read = np.frombuffer(base64.b64decode(entry["float16"]), dtype="<f2")
    np.testing.assert_allclose(read, VECTOR, atol=1e-3)


def test_redacted_text_has_placeholders() -> None:
    assert kept("redacted") == {
        "prompt_log": "redacted",
        "prompt": "Be brief.\n\nMail me at [email]",
        "prompt_judged": "Mail me at [email]",
    }


def test_text_is_the_text() -> None:
    assert kept("text", b"k") == {
        "prompt_log": "text",
        "prompt": f"Be brief.\n\n{SECRET}",
        "prompt_judged": SECRET,
    }


def test_what_the_classifier_read_is_kept_only_where_it_is_another_text() -> None:
    plain = Prompt((Message("user", SECRET),))
    assert written(PromptLog("text"), plain) == {
        "prompt_log": "text",
        "prompt": SECRET,
    }


@pytest.mark.parametrize("kind", ["embedding", "redacted"])
def test_with_a_key_the_hash_of_the_whole_text_is_kept_too(kind: PromptLogKind) -> None:
    assert kept(kind, b"k")["prompt_hash"] == kept("hash", b"k")["prompt_hash"]


def test_a_lone_surrogate_is_no_obstacle() -> None:
    prompt = Prompt((Message("user", "x\ud800"),))
    for kind in ("hash", "embedding", "redacted", "text"):
        assert written(PromptLog(kind, b"k"), prompt)["prompt_log"] == kind


def test_of_two_readings_the_one_that_was_scored_is_kept() -> None:
    said = ("Prove it.", "So it is. ∎", "how many ounces are in a pound")
    roles = ("user", "assistant", "user")
    chat = Prompt(tuple(Message(*turn) for turn in zip(roles, said, strict=True)))
    log = PromptLog("text")
    for reading, judged in enumerate((said[0], said[2])):
        kept = log.kept(chat, VECTOR, ENCODER, reading)
        assert (kept.prompt, kept.classifier_text) == ("\n\n".join(said), judged)


def test_the_harder_of_two_readings_is_scored_and_kept(settings: Settings, router: Router) -> None:
    hard = "Prove that the halting problem is undecidable, and derive Rice's theorem from it."
    easy = "how many ounces are in a pound"
    chosen = settings.model_copy(update={"log_prompts": "text"})
    ledger = MemoryLedger()
    reservations = build_reservations(chosen, router, ledger)
    for name, (first, last) in {"up": (easy, hard[:76]), "down": (hard, easy)}.items():
        chat = Prompt((Message("user", first), Message("assistant", "…"), Message("user", last)))
        query = RouteQuery("", {}, chat, Constraints(), None, Importance.LOW, "", 0)
        reservations.decide(query, name, name, lambda held: b"reply")
        decided = ledger.decision(name)
        assert decided is not None
        kept = parse(decided.record)
        assert kept.complexity == router.bundle.score(kept.classifier_text or "").complexity
        assert (kept.classifier_text or "").startswith("Prove")


def test_the_vector_of_a_decision_is_the_one_it_was_made_from(
    settings: Settings, router: Router, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[list[int]] = []
    embed = type(router.bundle.encoder).embed_ids

    def counted(encoder: object, ids: list[int]) -> object:
        made.append(ids)
        return embed(encoder, ids)  # type: ignore[arg-type]

    chosen = settings.model_copy(update={"log_prompts": "embedding"})
    ledger = MemoryLedger()
    # A router that remembers no prompt of another test, and will embed none of its own.
    reservations = build_reservations(chosen, replace(router), ledger)
    reservations.warm_up()
    monkeypatch.setattr(type(router.bundle.encoder), "embed_ids", counted)
    query = RouteQuery(
        "", {}, Prompt((Message("user", "Prove it."),)), Constraints(), None, Importance.LOW, "", 0
    )
    reservations.decide(query, "d", "body", lambda held: b"reply")
    assert made == [router.bundle.encoder.token_ids("Prove it.")]
    decided = ledger.decision("d")
    assert decided is not None
    entry = parse(decided.record).prompt_embedding
    assert entry is not None
    encoder = router.bundle.encoder
    assert (entry.encoder, entry.encoder_sha256) == (
        encoder.manifest.name,
        encoder.manifest.sha256,
    )
    np.testing.assert_allclose(entry.vector, encoder.embed("Prove it."), atol=1e-3)


def test_without_the_extra_serving_redacted_prompts_refuses_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "phonenumbers.py").write_text("raise ImportError('not installed')")
    started = subprocess.run(
        [sys.executable, "-m", "router", "serve", "--port", "0", "--ledger", "memory:"],
        env={"PYTHONPATH": str(tmp_path), "MITSUMORI_LOG_PROMPTS": "redacted", "PATH": ""},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert (started.returncode, started.stdout) == (2, "")
    assert "pip install 'mitsumori[redact]'" in started.stderr
    assert started.stderr.count("\n") == 1


def test_serving_does_not_load_the_extra_unless_asked() -> None:
    code = "import router.rpc.server, router.cli, sys; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert {"phonenumbers", "stdnum", "router.decision_log.redaction"} & set(loaded) == set()
