"""What a prompt asks for, and how talkative models are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from training.histories.history import history_of
from training.histories.ladders import Standard
from training.scale.length_table import LengthTable, length_table
from training.scale.talkativeness import TODAY, Voice, fit_talkativeness, fit_voice

NEW, OLD, LINK = "new-model", "old-model", "both"
TALK = {NEW: 0.0, LINK: -0.2, OLD: -1.0}


def rows(name: str, lengths: Any, models: list[str], noise: float = 0.0) -> Any:
    rng = np.random.default_rng(0)
    return history_of(
        name,
        [
            {
                "prompt": f"{name} {at}",
                "prompt_id": f"{name}:{at}",
                "model": model,
                "output_tokens": round(np.exp(length + TALK[model] + noise * rng.normal())),
            }
            for at, length in enumerate(lengths)
            for model in models
        ],
    )


def table(*histories: Any) -> LengthTable:
    return length_table(histories, [Standard(0.5)] * len(histories))


def test_a_prompt_that_only_old_models_answered_has_the_length_of_today() -> None:
    of_old, of_new = np.linspace(5, 7, 40), np.linspace(6, 8, 40)
    lengths = table(rows("past", of_old, [OLD, LINK]), rows("present", of_new, [NEW, LINK]))
    known = fit_talkativeness(lengths, {NEW})
    assert known.models[NEW] == 0
    assert known.models[LINK] == pytest.approx(-0.2, abs=0.02)
    assert known.models[OLD] == pytest.approx(-1.0, abs=0.03)
    np.testing.assert_allclose(known.length, [*of_old, *of_new], atol=0.04)
    np.testing.assert_allclose(known.attempt, known.length[lengths.prompt], atol=0.04)


def test_without_models_of_today_all_count_as_such() -> None:
    known = fit_talkativeness(table(rows("past", np.linspace(5, 7, 40), [OLD, LINK])), {NEW})
    assert sum(known.models.values()) == pytest.approx(0, abs=1e-9)


def test_a_family_that_is_left_out_has_no_lengths() -> None:
    lengths = table(rows("past", [5, 6], [OLD]), rows("present", [6, 7], [NEW]))
    known = fit_talkativeness(lengths.without(0), {NEW})
    assert np.isnan(known.length[:2]).all()
    assert not np.isnan(known.length[2:]).any()
    assert set(known.models) == {NEW}


def test_histories_with_prompts_or_names_in_common_are_one_family() -> None:
    first, other = rows("chat", [5, 6], [OLD]), rows("exam", [5, 6], [OLD])
    translated = rows("chat_ja", [5, 6], [NEW])
    same = history_of(
        "again",
        [{"prompt": "exam 0", "prompt_id": "x", "model": NEW, "output_tokens": 9}],
    )
    found = table(first, other, translated, same)
    assert found.families == ("chat", "exam")
    assert dict(zip(found.texts, found.family.tolist(), strict=True)) == {
        "chat 0": 0, "chat 1": 0, "exam 0": 1, "exam 1": 1, "chat_ja 0": 0, "chat_ja 1": 0,
    }  # fmt: skip


def test_a_history_without_lengths_gives_none() -> None:
    silent = history_of("silent", [{"prompt": "a", "model": OLD, "quality": 1.0}])
    found = table(silent)
    assert found.families == ()
    assert len(found.logs) == 0


def test_models_whose_long_answers_are_longer_still_have_a_steep_voice() -> None:
    lengths = np.linspace(4, 8, 60)
    steep = history_of(
        "chat",
        [
            {"prompt": str(at), "prompt_id": str(at), "model": model, "output_tokens": tokens}
            for at, length in enumerate(lengths)
            for model, tokens in (
                *((f"other-{n}", round(np.exp(length))) for n in range(9)),
                (NEW, round(np.exp(6.2 + 1.5 * (length - 6)))),
            )
        ],
    )
    found = table(steep)
    voice = fit_voice(found, fit_talkativeness(found, set()), [NEW])
    assert 1.3 < voice.slope < 1.5
    assert voice.shift == pytest.approx(0.2, abs=0.05)


def test_a_voice_of_models_without_attempts_is_that_of_today() -> None:
    found = table(rows("past", [5, 6], [OLD]))
    assert fit_voice(found, fit_talkativeness(found, set()), ["nobody"]) == TODAY


def test_a_voice_and_its_inverse() -> None:
    voice = Voice(0.3, 1.4)
    lengths = np.array([2.0, 6.0, 7.5])
    np.testing.assert_allclose(voice.length(voice.of(lengths)), lengths)
    assert voice.of(np.array([6.0]))[0] == pytest.approx(6.3)
