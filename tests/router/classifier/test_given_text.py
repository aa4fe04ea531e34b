"""An answer that works on a given text is about as long as the text, or as its options."""

from __future__ import annotations

import math

import pytest

from router.classifier.bundle import Bundle, load_bundle
from router.classifier.features.asked_length import WINDOW, asked_length
from router.classifier.features.given_text import answer_of_given
from router.classifier.features.work_size import text_tokens
from router.core.asked_length import UNASKED
from router.paths import DEFAULT_BUNDLE, ENCODERS, MODELS

TRANSLATION = (0.5, (1.3, 8), (1.9, 110))
CORRECTION = (0.5, (1.15, 10), (2.2, 100))
REWRITING = (0.0, (1.3, 25), (3.0, 110))
EXTRACT = (0.0, (0.8, 10), (1.3, 80))
CHOICE, CLASS, AMOUNT = (3, 40), (25, 120), (40, 160)

Work = tuple[float, tuple[float, float], tuple[float, float]]


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return load_bundle(DEFAULT_BUNDLE, ENCODERS)


@pytest.mark.parametrize(
    ("instruction", "given", "work"),
    [
        ("Translate to Spanish: ", "Where is the train station?", TRANSLATION),
        ("Can you translate this to German? ", '"I will be late."', TRANSLATION),
        ("Please translate the text below to Japanese.\n\n", "The server is down.", TRANSLATION),
        ("Translate this article into French, formal tone:\n", "The bank opens.", TRANSLATION),
        ("Translate to German: ", "Please answer in at most 50 words.", TRANSLATION),
        ("次の文を英語に訳して：", "明日の会議は中止です。", TRANSLATION),
        ("Übersetze ins Englische: ", "Wo ist der Bahnhof?", TRANSLATION),
        ("Traduis en anglais : ", "Où est la gare ?", TRANSLATION),
        ("Traduce al inglés: ", "¿Dónde está la estación?", TRANSLATION),
        ("把下面的句子翻译成英文：", "明天的会议取消了。", TRANSLATION),
        ("다음 문장을 영어로 번역해 줘: ", "내일 회의는 취소되었습니다.", TRANSLATION),
        ("Fix the grammar: ", "She go to school yesterday.", CORRECTION),
        ("Correct the spelling and grammar: ", "I has two aple.", CORRECTION),
        (
            "Proofread the following email.\n\n",
            "Dear Bob,\nplease answer in no more than 100 words.\nBest, Al",
            CORRECTION,
        ),
        ("誤字を直して：", "明日は会議にさんかします。", CORRECTION),
        ("Korrigiere: ", "Ich habe gestern ins Kino gegangen.", CORRECTION),
        ("Corrige l'orthographe : ", "Nouvelle colection.", CORRECTION),
        ("Corrige la ortografía: ", "Yo a ido al cine.", CORRECTION),
        ("纠正语法：", "我昨天去了学校了。", CORRECTION),
        ("맞춤법을 고쳐 줘: ", "안녕 하세여.", CORRECTION),
        ("Rewrite politely: ", "Send me the report today.", REWRITING),
        ("Paraphrase: ", "The early bird catches the worm.", REWRITING),
        ("丁寧に書き換えて：", "早く資料を送れ。", REWRITING),
        ("Formuliere höflicher: ", "Schick mir den Bericht.", REWRITING),
        ("Reformule poliment : ", "Envoie-moi le rapport.", REWRITING),
        ("Reescribe con cortesía: ", "Mándame el informe.", REWRITING),
        ("礼貌地改写：", "快把报告发给我。", REWRITING),
        ("더 공손하게 바꿔 줘: ", "보고서 빨리 보내.", REWRITING),
        ("Extract the e-mail address from: ", "Write to a.bell@example.com.", EXTRACT),
        ("次の文から日付を抽出して：", "会議は5月3日に開きます。", EXTRACT),
        ("Extrahiere die E-Mail-Adresse: ", "Schreiben Sie an a@b.de.", EXTRACT),
        ("提取邮箱：", "请联系 a@b.cn。", EXTRACT),
        ("이메일을 추출해 줘: ", "a@b.kr로 연락하세요.", EXTRACT),
    ],
)  # fmt: skip
def test_a_text_bounds_the_answer_that_works_on_it(
    instruction: str, given: str, work: Work, bundle: Bundle
) -> None:
    tokens = text_tokens(given)
    share, (factor, addend), (largest, remark) = work
    asked = asked_length(instruction + given)
    middle, most = factor * tokens + addend, largest * tokens + remark
    assert asked.least == pytest.approx(share * tokens)
    assert (asked.middle, asked.most) == pytest.approx((middle, most))
    for quoted in bundle.score(instruction + given).lengths.values():
        assert share * tokens - 1e-6 <= quoted.p50 <= middle + 1e-6
        assert quoted.p90 <= most + 1e-6


@pytest.mark.parametrize(
    ("text", "most"),
    [
        ("Classify the sentiment (positive/negative/neutral): The food was great.", CHOICE),
        ("Is this spam? yes or no: You won a free iPhone, click here!", CHOICE),
        ("Yes or no: is Pluto a planet?", CHOICE),
        ("Ist das Spam? Ja oder Nein: Sie haben gewonnen!", CHOICE),
        ("これはスパムですか。はい/いいえ：おめでとうございます。", CHOICE),
        ("次のレビューを分類して（肯定/否定/中立）：とても美味しかった。", CHOICE),
        ("Klassifiziere die Stimmung (positiv/negativ/neutral): Das Essen war gut.", CHOICE),
        ("Classe le sentiment (positif/négatif/neutre) : Le repas était bon.", CHOICE),
        ("Clasifica el sentimiento (positivo/negativo/neutro): La comida fue buena.", CHOICE),
        ("判断情感（正面/负面/中性）：饭菜很好吃。", CHOICE),
        ("감정을 분류해 줘 (긍정/부정/중립): 음식이 맛있었어요.", CHOICE),
        ("Classify this ticket as billing, technical or other: I cannot log in.", CLASS),
        ("Categorize the product into one of Electronics, Toys or Books.\n\nLego Castle", CLASS),
        ("Convert 5 km to miles", AMOUNT),
        ("Convert 255 to binary", AMOUNT),
        ("5kmをマイルに換算して", AMOUNT),
        ("5 km를 마일로 변환해 줘", AMOUNT),
    ],
)  # fmt: skip
def test_options_and_units_bound_the_answer(
    text: str, most: tuple[float, float], bundle: Bundle
) -> None:
    asked = asked_length(text)
    assert (asked.least, asked.middle, asked.most) == (0, *most)
    assert all(quoted.p90 <= most[1] for quoted in bundle.score(text).lengths.values())


def test_each_named_key_adds_to_an_extract() -> None:
    given = "On 3 May Anna paid 40 euros."
    written = 1.4 * text_tokens(given)
    one = answer_of_given(f"extract the name as json with key name: {given.lower()}")
    three = answer_of_given(f"extract these as json with keys name, date, sum: {given.lower()}")
    assert one is not None
    assert three is not None
    assert one.middle == pytest.approx(0.8 * written + 10 + 8)
    assert three.middle - one.middle == pytest.approx(2 * 8)
    assert three.most - one.most == pytest.approx(2 * 8 * 1.2)


@pytest.mark.parametrize(
    "text",
    [
        "Translate to Spanish and explain why: Where is the train station?",
        "Translate to French: Hello. Then explain the grammar.",
        'Translate to French: "Hello" and explain the grammar.',
        "Translate into French, German and Italian: Good morning",
        "Translate it into French.",
        "次の文を英語に訳して、文法を説明して：明日は雨です。",
        "Rewrite as a short story: A man lost his dog.",
        "Rewrite this as a LinkedIn post: I have a new job.",
        "Expand and rewrite: The dog ran.",
        "Give three versions. Rewrite politely: Send it.",
        "Rewrite this in 3 different tones: Send it.",
        "Is it spam? Answer yes or no and explain why: You won",
        "Classify each ticket as billing or technical:\n1. I cannot log in.\n2. I paid twice.",
        "Classify as billing or technical:\n1. I cannot log in.\n2. I paid twice.\n3. Hello?",
        "Tag all that apply (price, taste, staff): Good and cheap.",
        "Is this clause enforceable or not: The tenant pays all repairs.",
        "Extract the key facts and write a report: The firm grew.",
        "「枕草子」の冒頭を現代語に訳してください。",
        "査読コメントの校閲です。統計の主張が妥当かを検討して直してください：結果は信頼できない。",
        "推論のエラーを分類する方法を説明して：モデルが誤る。",
        "Write a Python function to translate: text",
        "Translate this to Rust:\nfn main() {\n  println!();\n}",
        "Rewrite the text.\n\nRules:\n- Add an introduction of two pages.",
        "How do I translate: legal terms?",
        "What is the correct answer: 2+2?",
        "Convert 3 recipes to vegan",
        "Translate to French:",
    ],
)
def test_a_second_or_an_unclear_request_bounds_nothing(text: str) -> None:
    assert asked_length(text).most == math.inf


def test_a_named_length_goes_before_the_given_text() -> None:
    asked = asked_length("Rewrite in at most 50 words: The dog ran over the hill.")
    assert (asked.middle, asked.most) == (65, 1.25 * 65 + 8)


def test_a_limit_in_the_given_text_is_none_of_the_answer() -> None:
    given = "「50字以内で答えてください」"
    asked = asked_length(f"{given}を英語に訳してください。")
    assert asked.most == pytest.approx(1.9 * text_tokens(given) + 110)


@pytest.mark.parametrize("size", [100, 2 * WINDOW, 2 * WINDOW + 1, 20_000])
def test_the_whole_of_a_long_text_counts(size: int) -> None:
    given = ("The bees dance. " * size)[:size].strip() + "x"
    asked = asked_length(f"Translate the following into French:\n\n{given}")
    assert asked.middle == pytest.approx(1.3 * text_tokens(given) + 8, rel=0.01)


@pytest.mark.parametrize("length", [249, 250, 251])
def test_a_long_instruction_says_more_than_the_text(length: int) -> None:
    start = "translate to french for the guests of our "
    text = start + "x" * (length - len(start)) + ": good morning"
    assert (answer_of_given(text) is None) == (length > 250)


@pytest.mark.parametrize(
    ("text", "least"),
    [
        ("Count from 1 to 100", 2.9 * 100),
        ("Count to 50", 2.9 * 50),
        ("Count from 10 down to 1", 2.9 * 10),
        ("Count from 0 to 100 by 5s", 2.9 * 21),
        ("Count from 1 to 1,000", 2.9 * 1_000),
        ("Count from 1 to 1,001", 2.9 * 1_000),
        ("List all the numbers from 1 to 200.", 2.9 * 200),
        ("Zähle von 1 bis 100", 2.9 * 100),
        ("Compte de 1 à 100", 2.9 * 100),
        ("Cuenta del 1 al 100", 2.9 * 100),
        ("1から100まで数えて", 2.9 * 100),
        ("从1数到100", 2.9 * 100),
        ("1부터 100까지 세어 줘", 2.9 * 100),
        ("Repeat 'dog' 200 times", 1.3 * 200),
        ("Write the word hello 50 times", 1.3 * 50 * 5 * 0.26),
        ("Repite 'perro' 100 veces", 1.3 * 100 * 5 * 0.26),
        ("Wiederhole 'Hund' 100 mal", 1.3 * 100 * 4 * 0.26),
        ("「犬」を200回書いて", 1.3 * 200),
    ],
)
def test_a_count_and_a_repetition_have_a_least_length(
    text: str, least: float, bundle: Bundle
) -> None:
    asked = asked_length(text)
    assert asked.least == pytest.approx(least)
    assert asked.most == pytest.approx(2 * least + 60)
    for quoted in bundle.score(text).lengths.values():
        assert least - 1e-6 <= quoted.p50
        assert 1.25 * least - 1e-6 <= quoted.p90 <= 2 * least + 60 + 1e-6


@pytest.mark.parametrize(
    "text",
    [
        "Count from 1 to 100 in Python code",
        "Count from 1 to 100, but only the primes",
        "Count from 1 to 10 and explain why ten matters",
        "Count the words in this sentence.",
        "Repeat the exercise 3 times, what happens?",
        "Repeat after me: hello",
        "Say hello 3 times in different languages",
    ],
)
def test_more_than_a_count_bounds_nothing(text: str) -> None:
    assert asked_length(text) == UNASKED


@pytest.mark.parametrize("name", ["static", "multilingual"])
def test_every_bundle_keeps_to_the_text(name: str) -> None:
    scored = load_bundle(MODELS / "bundles" / name, ENCODERS)
    for quoted in scored.score("Translate to Spanish: Where is the bank?").lengths.values():
        assert quoted.p90 <= 1.9 * text_tokens("Where is the bank?") + 110 + 1e-6
