"""What the classifier reads of a chat: the task in hand, as a product manager would name it."""

from __future__ import annotations

import pytest

from router.classifier.features.turn_form import Form, read_turn
from router.classifier.task_in_hand import TaskInHand, classifier_text, task_in_hand
from router.core.types import Message, Prompt
from training.requests.request_set import read_requests

PROOF = "Prove that every finite integral domain is a field, and give an infinite counterexample."
SHOUMEI = "有限整域が体であることを証明し、無限の場合の反例を挙げてください。"
ANSWER = "Let D be a finite integral domain and let a be in D, not zero. … So D is a field. ∎"


def chat(*texts: str) -> Prompt:
    """Turns of the user and the assistant by turns, the user first."""
    roles = ("user", "assistant")
    return Prompt(tuple(Message(roles[place % 2], text) for place, text in enumerate(texts)))


def hand(*texts: str) -> TaskInHand:
    return task_in_hand(chat(*texts))


def readings(*texts: str) -> tuple[str, ...]:
    return task_in_hand(chat(*texts)).readings


@pytest.mark.parametrize(
    "follow_up",
    [
        "yes, do it",
        "continue",
        "Go on, please.",
        "why?",
        "shorter please",
        "now in French",
        "What about the second step?",
        "explain it to a beginner",
        "That's wrong.",
        "are you sure?",
        "give me another example",
        "ok, but without the counterexample",
        "はい、お願いします",
        "続けて",
        "もっと短く",
        "なぜ？",
        "英語で",
        "二つ目をもう少し詳しく",
        "間違っていませんか",
        "じゃあ無限の場合は？",
        "继续",
        "weiter",
    ],
)
@pytest.mark.parametrize("task", [PROOF, SHOUMEI])
def test_a_follow_up_has_the_task_that_it_refers_to(task: str, follow_up: str) -> None:
    assert readings(task, ANSWER, follow_up) == (task,)


def test_a_chain_of_follow_ups_has_the_task_at_its_beginning() -> None:
    assert readings(PROOF, ANSWER, "now in French", "…", "shorter please", "…", "why?") == (PROOF,)


def test_yes_accepts_what_the_assistant_offers_and_thanks_alone_decline_it() -> None:
    offer = f"{ANSWER} Shall I write out the converse?"
    assert readings(PROOF, offer, "Sure") == (PROOF,)
    assert readings(PROOF, offer, "yes, thanks!") == (PROOF,)
    assert task_in_hand(chat(PROOF, offer, "no thanks")).form is Form.CLOSING
    anything = f"{ANSWER} Anything else I can help with?"
    assert task_in_hand(chat(PROOF, anything, "no, that's all")).form is Form.CLOSING


def test_the_answer_to_a_question_has_the_task_that_the_question_is_about() -> None:
    task = "My left join doubles the sums of my orders. How do I get them right?"
    assert readings(task, "Which database do you use?", "Postgres 15") == (task,)


def test_a_change_with_a_weight_of_its_own_is_read_with_the_task() -> None:
    task = "What is the capital of Peru?"
    change = "And now compare its housing policy since 1990 with that of Bogotá, with sources."
    assert readings(task, "Lima.", change) == (f"{task}\n\n{change}",)


@pytest.mark.parametrize(
    "closing",
    [
        "Thanks!",
        "thank you so much",
        "got it",
        "perfect",
        "ok thanks",
        "That's all I needed, thanks!",
        "makes sense",
        "ありがとう",
        "了解です",
        "なるほど、ありがとうございます！",
        "助かりました",
        "Danke!",
        "谢谢",
    ],
)
def test_a_closing_ends_the_task_and_is_read_alone(closing: str) -> None:
    found = task_in_hand(chat(PROOF, ANSWER, closing))
    assert (found.form, found.readings) == (Form.CLOSING, (closing,))


def test_what_comes_after_a_closing_may_still_refer_to_the_task() -> None:
    assert readings(PROOF, ANSWER, "Thanks!", "You're welcome.", "and in French?") == (PROOF,)


def test_thanks_that_tell_of_a_problem_end_nothing() -> None:
    assert readings(PROOF, ANSWER, "Thanks, but it still doesn't convince me") == (PROOF,)


@pytest.mark.parametrize(
    ("before", "asked"),
    [
        ("Hi! ", PROOF),
        ("Hello,\n", PROOF),
        ("Good morning! ", "Why is the sky blue in the daytime?"),
        ("こんにちは！", SHOUMEI),
        ("おはようございます。", "日本で一番長い川はどこですか？"),
    ],
)
def test_a_greeting_before_a_request_changes_nothing(before: str, asked: str) -> None:
    alone = readings(asked)
    assert alone == (asked,)
    assert readings(before + asked) == alone
    assert readings("hi", "Hello! How can I help you?", asked) == alone


@pytest.mark.parametrize(
    "text", ["hi", "Good morning, how are you?", "こんにちは", "お疲れさまです"]
)
def test_a_greeting_alone_is_read_as_it_stands(text: str) -> None:
    found = task_in_hand(chat(text))
    assert (found.form, found.readings) == (Form.GREETING, (text,))


@pytest.mark.parametrize(
    "text",
    ["Hello world in Rust", "Nice restaurants in Rome", "「ありがとう」を英語で", "はい文を作って"],
)
def test_words_of_greeting_that_belong_to_a_request_stay(text: str) -> None:
    assert readings(text) == (text,)


@pytest.mark.parametrize(
    "task",
    [
        "Write a polite email to my landlord about the broken radiator in the kitchen.",
        "What does SQL stand for?",
        "By the way, how many ounces are in a pound?",
        'Translate "good evening, dear guests" into Italian.',
        "ベジタリアンが一人いる六人の夕食の献立を考えて",
        "「妥協」を英語で言うと?",
    ],
)
def test_a_new_task_replaces_the_old_one(task: str) -> None:
    found = task_in_hand(chat(PROOF, ANSWER, task))
    assert found.form is Form.REQUEST
    assert PROOF not in found.readings[0]


def test_thanks_before_a_new_task_are_left_out() -> None:
    task = "What does SQL stand for?"
    assert readings(PROOF, ANSWER, f"Great, thanks! {task}") == (task,)


def test_of_a_message_that_may_be_either_both_are_read() -> None:
    other = "how many ounces are in a pound"
    assert readings(PROOF, ANSWER, other) == (PROOF, other)
    assert classifier_text(chat(PROOF, ANSWER, other)) == f"{PROOF}\n\n{other}"


def test_a_chat_may_return_to_an_earlier_task() -> None:
    query = "Write a SQL query for the weekly retention of users by signup cohort."
    between = ("Thanks! What does SQL stand for?", "Structured Query Language.")
    assert readings(query, "WITH …", *between, "back to the query: now for BigQuery") == (query,)
    assert readings("Plan a trip.", "…", query, "…", "back to the trip: shorter") == (
        "Plan a trip.",
    )


def test_inside_a_tool_loop_the_task_is_still_that_of_the_user() -> None:
    turns = (
        Message("user", "Check tomorrow's weather in Leeds."),
        Message("assistant", "Calling get_weather."),
        Message("tool", '{"rain_mm": 11.2, "note": "prove the theorem"}'),
    )
    assert task_in_hand(Prompt(turns)).readings == ("Check tomorrow's weather in Leeds.",)


def test_a_system_message_is_read_only_where_there_is_no_other_message() -> None:
    system = Message("system", "You translate legal contracts.")
    assert classifier_text(Prompt((system, Message("user", "Good evening")))) == "Good evening"
    assert classifier_text(Prompt((system, Message("system", "Be brief.")))) == (
        "You translate legal contracts.\n\nBe brief."
    )
    assert classifier_text(Prompt(())) == ""


def test_a_chat_without_a_user_is_read_in_order() -> None:
    turns = (Message("assistant", "one"), Message("tool", "two"))
    assert classifier_text(Prompt(turns)) == "one\n\ntwo"


def test_a_first_message_that_refers_back_is_read_with_the_question_that_it_answers() -> None:
    turns = (Message("assistant", "Welcome! Do you want to file a claim?"), Message("user", "yes"))
    assert classifier_text(Prompt(turns)) == "Do you want to file a claim?\n\nyes"
    assert readings("continue") == ("continue",)


def test_long_turns_before_do_not_drown_the_request() -> None:
    long = "The quick brown fox jumps over the lazy dog. " * 5000
    request = "Write a polite email to my landlord about the broken radiator in the kitchen."
    assert readings(long, long, request) == (request,)
    assert readings(PROOF, long, "shorter please", long, "continue") == (PROOF,)


def test_of_a_long_change_head_and_tail_are_read() -> None:
    change = "Traceback: " + "x" * 5000 + " the end"
    (read,) = readings("My script fails.", "Which error do you get?", change)
    assert len(read) < 1300
    assert read.endswith("the end")


def test_a_very_long_chat_is_read_back_to_a_bound() -> None:
    turns = [PROOF, ANSWER, *["why?", "Since …"] * 500, "continue"]
    assert len(readings(*turns)[0]) < len(PROOF) + 100


def test_a_message_alone_is_read_to_the_byte_but_for_a_greeting() -> None:
    greeted = 0
    for request in read_requests():
        (read,) = readings(request.prompt)
        if read != request.prompt:
            greeted += 1
            assert request.prompt.endswith(read)
            assert len(request.prompt) - len(read) < 20
    assert greeted <= 4


@pytest.mark.parametrize("text", ["", " ", "?", "🙂", "!!!", "\ud800", "a" * 100_000, "。"])
def test_any_text_has_a_reading(text: str) -> None:
    assert len(readings(text)) == 1
    assert readings(PROOF, ANSWER, text)
    assert read_turn(text, "Which one?").text in (text, text.strip())


def test_a_request_is_known_again_and_what_refers_back_makes_none() -> None:
    first = hand(PROOF).request(0)
    assert first is not None
    assert hand("Hi!", "Hello!", PROOF).request(0) == first
    assert hand(PROOF, ANSWER, PROOF).request(0) is None
    assert hand(PROOF, ANSWER, "Thanks!").request(0) not in (None, first)
    assert hand(PROOF, ANSWER, "why?").request(0) is None


def test_where_a_message_may_be_either_its_own_reading_is_a_request() -> None:
    unclear = hand("Write a regular expression for an ISO date.", ANSWER, "What is DNS?")
    assert len(unclear.readings) == 2
    assert unclear.request(0) is None
    assert unclear.request(1) == hand("What is DNS?").request(0)
