"""What a prompt says of the length of its answer, and that quotes keep to it."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.classifier.bundle import Bundle, load_bundle
from router.classifier.features.asked_length import WINDOW, asked_length
from router.core.asked_length import BRIEF, DETAILED, UNASKED
from router.paths import DEFAULT_BUNDLE, ENCODERS, MODELS


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return load_bundle(DEFAULT_BUNDLE, ENCODERS)


@pytest.mark.parametrize(
    ("text", "most"),
    [
        ("Explain photosynthesis in at most 50 words.", 1.25 * 65 + 8),
        ("Explain photosynthesis in under 100 words.", 1.25 * 130 + 8),
        ("Don't write more than 100 words on tea.", 1.25 * 130 + 8),
        ("What is gravity? 20 words or fewer.", 1.25 * 26 + 8),
        ("What is gravity? (max. 20 words)", 1.25 * 26 + 8),
        ("Limit your answer to 40 words: what is gravity?", 1.25 * 52 + 8),
        ("Stay within the 100-word limit: why do bees dance?", 1.25 * 130 + 8),
        ("Write a tweet about tea, under 280 characters.", 1.25 * 75.6 + 8),
        ("Explain entropy in no more than 200 tokens.", 1.25 * 200 + 8),
        ("Explain DNS in exactly three sentences.", 1.25 * 84 + 20),
        ("Explain DNS in 3 sentences.", 1.4 * 84 + 20),
        ("In one sentence, what is DNS?", 1.4 * 28 + 20),
        ("Explain DNS in a single sentence.", 1.4 * 28 + 20),
        ("Explain gravity in a few sentences.", 1.4 * 84 + 20),
        ("Explain recursion in at most 5 lines.", 1.25 * 100 + 20),
        ("Describe Tokyo in 100-150 words.", 1.25 * 195 + 8),
        ("Describe Tokyo in between 100 and 150 words.", 1.25 * 195 + 8),
        ("Summarise Hamlet in two paragraphs.", 1.4 * 220 + 60),
        ("Write a one-page essay on bees.", 1.4 * 600 + 100),
        ("In one word, what is the capital of Peru?", 1.4 * 1.3 + 8),
        ("Is Pluto a planet? Answer yes or no.", 8),
        ("Erkläre Photosynthese in höchstens 50 Wörtern.", 1.25 * 90 + 8),
        ("Was ist Schwerkraft? Antworte in 2-3 Sätzen.", 1.25 * 84 + 20),
        ("Ist Pluto ein Planet? Antworte mit Ja oder Nein.", 8),
        ("Explique la photosynthèse en au plus trois phrases.", 1.25 * 84 + 20),
        ("Explica el DNS en máximo 50 palabras.", 1.25 * 80 + 8),
        ("光合成を50字以内で説明してください。", 1.25 * 45 + 8),
        ("光合成を3文で説明してください。", 1.4 * 84 + 20),
        ("日本の首都は?一言で答えて。", 25),
        ("冥王星は惑星ですか?はいかいいえで答えて。", 8),
        ("用三句话解释光合作用。", 1.4 * 84 + 20),
        ("请用不超过100个字介绍北京。", 1.25 * 90 + 8),
        ("광합성을 50자 이내로 설명해 줘.", 1.25 * 35 + 8),
        ("광합성을 한 문장으로 설명해 줘.", 1.4 * 28 + 20),
    ],
)  # fmt: skip
def test_a_limit_is_read_in_tokens(text: str, most: float, bundle: Bundle) -> None:
    assert asked_length(text).most == pytest.approx(most)
    for quoted in bundle.score(text).lengths.values():
        assert quoted.p50 <= quoted.p90 <= most + 1e-6


@pytest.mark.parametrize(
    ("text", "least"),
    [
        ("Explain photosynthesis in at least 500 words.", 650),
        ("Write an essay on bees, minimum 1,000 words.", 1_300),
        ("Write no fewer than 800 words about bees.", 1_040),
        ("光合成を1000字以上で説明して。", 900),
        ("Schreibe mindestens 500 Wörter über Bienen.", 900),
        ("请写不少于800字的作文。", 720),
        ("Write at least 1,000,000 words about bees.", 8_000),
    ],
)
def test_a_minimum_raises_and_is_no_limit(text: str, least: float, bundle: Bundle) -> None:
    asked = asked_length(text)
    assert asked.least == pytest.approx(least)
    assert asked.most == math.inf
    for quoted in bundle.score(text).lengths.values():
        assert least - 1e-6 <= quoted.p50 <= quoted.p90


@pytest.mark.parametrize(
    "text",
    [
        'Summarise: "The rules say answers of at most 50 words are rejected."',
        "The book has 50,000 words. Who wrote it?",
        "He reads 18 pages of his book. How long does he read?",
        "Write a report on bees with a 50-word abstract.",
        "Define a material adverse change, then say in three lines what courts do with it.",
        "Write an article on bees with a title under 10 words.",
        "What does 'ubiquitous' mean? Use it in a sentence.",
        "Make a one-page website for my bakery.",
        "Compare the two words affect and effect.",
        "Combine these two sentences: I ate. I slept.",
        "Write a story with three characters.",
        "The endpoints of two lines are given. What is the slope of one line?",
        "Write a validation: names of up to 50 characters are allowed.",
        "Is the sky blue? Answer yes or no and explain why.",
        "Explain the five stages of grief in two sentences each.",
        "百人一首の一字決まりを全て教えて下さい。",
        "以下の一文で始まる小説を書いて。",
        "What is short selling?",
        "Write a short story about a dragon.",
        "Find the shortest path in this graph.",
        "浦安三社を教えて下さい",
    ],
)
def test_what_is_not_said_of_the_answer_changes_nothing(text: str) -> None:
    assert asked_length(text) == UNASKED


@pytest.mark.parametrize(
    "text",
    [
        # A choice that belongs to something else, or to which something is added.
        "Say yes or no, then write a complete Python web server with tests",
        "Reply yes or no. If yes, write the complete contract.",
        "With yes or no buttons, build a React page",
        "Build a form with yes or no options and full validation, tests and docs.",
        "Create 50 quiz questions answerable with true or false",
        "Write a Python function whose prompt asks yes or no",
        "Réponds oui ou non puis rédige le contrat complet",
        "Sag ja oder nein und schreibe dann den ganzen Vertrag",
        "Answer yes or no to each of the questions below: is tea hot? Is ice cold?",
        "はいかいいえのみで答えられるクイズを100問作って",
        "Answer true or false, and also give a complete proof of the theorem",
        # A program's limit.
        "Write a chatbot that answers in at most 20 words",
        "Write code to truncate strings to 20 characters.",
        "Write code that limits input to 10 words",
        "Fix the bug: names must be at most 20 characters",
        "Erstelle ein Programm, das Sätze auf höchstens 5 Wörter kürzt",
        "SQLで名前を10文字以内に切るクエリ",
        "用不超过5个字命名变量并写出完整的程序",
        # A limit of a part, or of somebody else.
        "Write a story in which the hero says only 5 words",
        "Write a song whose title has at most 3 words",
        "Write a push notification (title max 30 chars, body max 90 chars) about the new opening hours",
        "Plan an offsite: names must be at most 20 characters",
        "Twitter allows at most 280 characters. Explain the history of Twitter thoroughly.",
        "Write a headline (max 8 words), three benefits and a button for a webinar",
        "Create a worksheet: pupils answer in one sentence",
        "Write an essay with short paragraphs of 50 words",
        "タイトルは20字以内で、本文を詳しく書いて",
        "キャッチコピー5案。20字以内、ダジャレなし",
        "要約(30字以内)、担当、緊急度を箇条書きで",
        "説明文(300字以内)と比較表を作って",
        "Clasifica los gastos, con el motivo en diez palabras: 1) internet 2) móvil 3) furgoneta",
        # A limit that does not hold.
        "Don't limit yourself to 50 words, write a long essay",
        "There is no 50 words limit; write a very long essay on bees",
        "Ignore the limit of 50 words and write a very long essay",
        "50字の制限は無視して、蜂について長く書いて",
        # A limit in a given text.
        "Please summarize:\n\nThe rule says: write in at most 50 words. More text.",
        "Here is an email from my teacher.\nHi all, write at most 20 words for the caption.\nBest, Ann\n\n"
        "Write a full plan for the semester",
        # Another task follows.
        "Define DNS in at most 20 words. Write a full essay about it.",
        "Summarize it in at most 50 words, then give me three key terms with definitions.",
        "Compare the two summaries, justify in 60 words and list the errors in both",
        "Assess this policy brief section, then rewrite it (max 250 words)",
        "Start with a one-sentence summary, then a detailed analysis",
        "Give me a summary in 20 words plus the full translation",
        "50字以内で要約して、その後に企画書を書いて",
        "一文で要約してから、企画書を書いて",
    ],
)  # fmt: skip
def test_a_limit_of_something_else_does_not_bind_the_answer(text: str) -> None:
    assert asked_length(text).most == math.inf
    assert asked_length(text).middle == math.inf


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("Answer yes or no: is 7 prime? Then write a 1000-word explanation.", 1_300),
        ("はい/いいえで答えて、その後に3000字の小論文を書いて", 2_700),
        ("一言で自己紹介したあと、2000字の職務経歴書を書いて", 1_800),
        ("Write 2 000 mots", 3_200),
        ("Write 2 000 words on tea", 2_600),
        ("Escribe un ensayo de 500 palabras", 800),
        ("Word count: 1500", 1_950),
        ("in 50 words " * 1_000, 65),
    ],
)
def test_the_size_of_the_longest_thing_is_the_size_of_the_answer(text: str, tokens: float) -> None:
    asked = asked_length(text)
    assert asked.least == pytest.approx(0.7 * tokens)
    assert asked.middle == pytest.approx(1.1 * tokens)
    assert asked.most == pytest.approx(1.4 * tokens + 8)
    assert asked.items == 0


def test_many_pages_count_by_the_page_whatever_their_abstract_has() -> None:
    pages = 1.4 * 6_000 + 100
    for text in (
        "Write a 10 page report. Limit the abstract to 100 words.",
        "in one word or less? no, in 10 pages",
    ):
        assert asked_length(text).most == pytest.approx(pages)


def test_several_things_of_one_size_and_a_long_one_are_read() -> None:
    essays, novel = (
        asked_length("Write ten 500-word essays"),
        asked_length("a novel of 100,000 words"),
    )
    assert essays.middle == pytest.approx(10 * 1.1 * 650)
    assert novel.middle == pytest.approx(1.1 * 130_000)
    assert (essays.least, novel.least) == (pytest.approx(0.7 * 6_500), 8_000)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Essay under 500 words. Keep it under 500 words.", 500),
        ("Keep it under 500 words. At most 400 words please.", 400),
        ("Keep your answer under 50 words. What is DNS?", 50),
        ("Explain DNS; the explanation should not exceed 50 words.", 50),
        ("Summarize the text below in at most 50 words:\n\nBees are insects. They fly.", 50),
        ("Shorten my bio to under 40 words: I am an engineer.", 40),
        (
            "Summarise Romeo and Juliet for someone who never read it, who likes wit, max 200 words",
            200,
        ),
    ],
)
def test_a_limit_of_the_answer_counts_once(text: str, words: int) -> None:
    assert asked_length(text).middle == pytest.approx(1.3 * words)
    assert asked_length(text).most == pytest.approx(1.25 * 1.3 * words + 8)


@pytest.mark.parametrize(
    "text",
    [
        "Is 91 prime? Answer yes or no.",
        "does the empty set belong to every power set, yes or no",
        "招待状の返信を書いてるとこなんだけど、「御」は消していいんだよね?はい/いいえで",
    ],
)
def test_a_bare_choice_is_a_few_tokens(text: str) -> None:
    assert (asked_length(text).middle, asked_length(text).most) == (2, 8)


def test_limits_of_two_things_add_up() -> None:
    text = "Describe Tokyo in at most 50 words and Kyoto in at most 200 words"
    assert asked_length(text).middle == pytest.approx(1.3 * 250)


def test_a_limit_of_the_first_of_two_things_is_still_its_size() -> None:
    asked = asked_length("Write a 100-word summary and a complete contract")
    assert (asked.least, asked.most) == (pytest.approx(91), math.inf)


def test_a_limit_of_each_item_is_one_of_all_together() -> None:
    assert asked_length("Write 5 slogans of at most 6 words each.").most == pytest.approx(
        5 * (1.25 * 7.8 + 8)
    )
    assert asked_length("List three benefits of tea in under 50 words.").most == pytest.approx(
        1.25 * 65 + 8
    )


def test_words_go_before_sentences_and_parts_add_up() -> None:
    assert asked_length("Answer in 2 sentences, at most 40 words.").most == 1.25 * 52 + 8
    assert asked_length("Write a 100-word story and a 200-word story.").most == pytest.approx(
        1.4 * 390 + 16
    )


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("List %s fruits.", ("3", "10", "50")),
        ("List %s reasons to learn Rust.", ("three", "ten", "fifty")),
        ("Give me %s ideas for a birthday party.", ("3", "10", "50")),
        ("日本の観光地を%s個挙げて。", ("3", "10", "50")),
        ("Nenne %s Gründe, Sport zu treiben.", ("3", "10", "50")),
        ("Donne-moi %s idées de cadeaux.", ("3", "10", "50")),
        ("Dame %s ideas para una cena.", ("3", "10", "50")),
        ("列出%s个理由学习编程。", ("3", "10", "50")),
        ("운동해야 하는 이유 %s가지를 알려 줘.", ("3", "10", "50")),
        ("Describe Tokyo in %s words.", ("100", "500", "2,000")),
        ("Explain DNS in at most %s words.", ("10", "50", "200")),
        ("Explain DNS in %s sentences.", ("1", "3", "10")),
        ("東京について%s字で説明して。", ("100", "500", "2000")),
    ],
)
def test_more_is_never_quoted_as_less(text: str, numbers: tuple[str, ...], bundle: Bundle) -> None:
    quoted = [bundle.score(text % number).lengths for number in numbers]
    for arm in quoted[0]:
        for quantile in ("p50", "p90"):
            values = [getattr(lengths[arm], quantile) for lengths in quoted]
            assert values == sorted(values)


NUMBERS = (10, 20, 50, 99, 100, 101, 299, 300, 301, 350, 499, 500, 501, 800, 1_000, 2_000, 5_000)


@pytest.mark.parametrize("name", ["static", "multilingual"])
@pytest.mark.parametrize(
    "text",
    [
        "Write a %d-word essay on tea.",
        "Explain tea in %d sentences.",
        "Write %d pages on tea.",
        "Explain tea in %d characters.",
        "Explain tea in about %d tokens.",
        "東京について%d字で説明して。",
        "写一篇%d字的文章介绍北京。",
        "차에 대해 %d자로 글을 써 줘.",
        "Schreibe %d Wörter über Tee.",
        "Écris un essai de %d mots sur le thé.",
        "Escribe un ensayo de %d palabras.",
        "Escreva um ensaio de %d palavras.",
        "Scrivi un saggio di %d parole sul tè.",
        "Напиши эссе на %d слов о чае.",
    ],
)
def test_a_named_size_has_no_cliff(text: str, name: str) -> None:
    scored = load_bundle(MODELS / "bundles" / name, ENCODERS)
    numbers = NUMBERS if "characters" not in text else NUMBERS[1:]  # of 10 no one speaks so
    quoted = [scored.score(text % number).lengths for number in numbers]
    for arm in quoted[0]:
        for quantile in ("p50", "p90"):
            values = [getattr(lengths[arm], quantile) for lengths in quoted]
            assert values == sorted(values)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("Write a 350-word essay on tea.", 1.3 * 350),
        ("Write 500-700 words on tea.", 1.3 * 600),
        ("Write a 2000-word essay on tea.", 1_000 * 2.6**0.93),
        ("Write a 1000000000-word essay on tea.", 8_000),
        ("Write a 100-word story and a 200-word story.", 1.3 * 300),
    ],
)
def test_the_median_of_a_named_size_is_that_size(text: str, size: float, bundle: Bundle) -> None:
    assert asked_length(text).size == pytest.approx(size)
    for quoted in bundle.score(text).lengths.values():
        assert quoted.p50 == pytest.approx(size)
        assert quoted.p90 >= 1.3 * size


@pytest.mark.parametrize(
    ("text", "middle", "most"),
    [
        ("Explique a história do chá em uma frase.", 1.1 * 28 + 10, 1.4 * 28 + 20),
        ("Explique a história do chá numa frase.", 1.1 * 28 + 10, 1.4 * 28 + 20),
        ("Explique o DNS em no máximo 50 palavras.", 80, 108),
        ("Spiega il DNS in una frase.", 1.1 * 28 + 10, 1.4 * 28 + 20),
        ("Spiega il DNS in massimo 50 parole.", 80, 108),
        ("Scrivi un saggio di 500 parole sulle api.", 880, 1_128),
        ("Напиши эссе на 1000 слов о чае.", 2_200, 2_808),
        ("Объясни DNS в одном предложении.", 1.1 * 28 + 10, 1.4 * 28 + 20),
        ("Объясни DNS не более чем в 50 словах.", 100, 133),
        ("Ответь одним словом: столица Франции?", 2.2, 10.8),
    ],
)
def test_portuguese_italian_and_russian_lengths_are_read(
    text: str, middle: float, most: float
) -> None:
    assert (asked_length(text).middle, asked_length(text).most) == pytest.approx((middle, most))


@pytest.mark.parametrize(
    ("text", "least"),
    [
        ("Escreva pelo menos 500 palavras sobre abelhas.", 800),
        ("Scrivi almeno 500 parole sulle api.", 800),
        ("Напиши не менее 500 слов о пчёлах.", 1_000),
    ],
)
def test_a_minimum_is_read_in_these_languages_too(text: str, least: float) -> None:
    assert (asked_length(text).least, asked_length(text).most) == (pytest.approx(least), math.inf)


@pytest.mark.parametrize(
    "text",
    [
        "Corrija a frase e escreva um ensaio sobre ela.",
        "Escreva um conto com a palavra saudade.",
        "Escreva um relatório com um resumo de 50 palavras.",
        "Escreva um artigo cujo título tem no máximo 10 palavras.",
        "O título deve ter no máximo 10 palavras. Escreva o plano completo.",
        "Escreva uma função que corta textos em 50 caracteres.",
        "Explique em uma frase, depois escreva o contrato completo.",
        "Resuma o livro de 300 páginas.",
        "Sem limite de 50 palavras, escreva um texto longo.",
        "Scrivi un articolo con un titolo di massimo 10 parole.",
        "Scrivi un racconto in cui il protagonista dice solo 5 parole.",
        "Spiega in una frase e poi scrivi il contratto completo.",
        "Spiega il DNS in due parole.",
        "Explique le DNS en deux mots.",
        "Объясни DNS в двух словах.",
        "Объясни в одном предложении, затем напиши полный договор.",
        "Напиши рассказ, в котором герой говорит только 5 слов.",
        "Напиши статью с заголовком не более 10 слов.",
        "Заголовок должен содержать не более 10 слов. Напиши полный план.",
        "Игнорируй ограничение в 50 слов и напиши подробный отчёт.",
        "Напиши функцию, которая обрезает текст до 50 символов.",
        "На 5 страницах книги описан бой. Проанализируй его подробно.",
        "Одним словом, напиши подробный отчёт.",
        "Напиши письмо в 3 предложения и полный отчёт на 5 страниц.",
        "Schreibe eine Definition in 3 Sätzen und einen vollständigen Bericht.",
        "Écris une définition en 3 phrases et un rapport complet.",
        "Escribe una definición en 3 frases y un informe completo.",
        "Escreva uma definição em 3 frases e um relatório completo.",
        "Scrivi una definizione in 3 frasi e un articolo completo.",
    ],
)
def test_a_length_of_something_else_binds_in_no_language(text: str) -> None:
    assert asked_length(text).most == math.inf


@pytest.mark.parametrize(
    ("plain", "brief", "detailed"),
    [
        (
            "Explain how vaccines work.",
            "Briefly explain how vaccines work.",
            "Explain in great detail how vaccines work.",
        ),
        (
            "Write a guide to growing tomatoes.",
            "Write a short guide to growing tomatoes.",
            "Write a comprehensive guide to growing tomatoes.",
        ),
        (
            "ワクチンの仕組みを説明して。",
            "ワクチンの仕組みを簡潔に説明して。",
            "ワクチンの仕組みを網羅的に説明して。",
        ),
        (
            "Explique comment fonctionnent les vaccins.",
            "Explique brièvement comment fonctionnent les vaccins.",
            "Explique en détail comment fonctionnent les vaccins.",
        ),
        ("解释疫苗的工作原理。", "简要解释疫苗的工作原理。", "详细解释疫苗的工作原理。"),
    ],
)
def test_brief_is_shorter_and_detailed_longer(
    plain: str, brief: str, detailed: str, bundle: Bundle
) -> None:
    assert (asked_length(brief).factors, asked_length(detailed).factors) == (BRIEF, DETAILED)
    middle = bundle.score(plain).lengths
    shorter, longer = bundle.score(brief).lengths, bundle.score(detailed).lengths
    for arm in middle:
        assert shorter[arm].p50 < middle[arm].p50 < longer[arm].p50
        assert shorter[arm].p90 < middle[arm].p90 < longer[arm].p90


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("Write 500-word essays on tea.", 650),
        ("Give me some 50-word descriptions of these products.", 65),
        ("Write two 100-word essays on tea.", 260),
    ],
)
def test_things_without_a_number_have_the_size_of_one(text: str, size: float) -> None:
    assert asked_length(text).size == pytest.approx(size)


_FRAGMENTS = (
    "Write", "Please give me", "some", "two", "a few", "several different", "3", "1,5", "500", "10^9",
    "500-word", "at most", "between 2 and", "words", "pages", "字以内", "essays", "chapters of", "each",
    "an introduction of", "word count:", "字数：", "Repeat", "times", "in one sentence", "no", "。", ".",
    ",", ":", "\n", "“", "CSV",
)  # fmt: skip


@settings(max_examples=1_000)
@given(st.lists(st.sampled_from(_FRAGMENTS), max_size=12), st.sampled_from(("", " ")))
def test_any_jumble_of_lengths_is_read(fragments: list[str], mark: str) -> None:
    asked = asked_length(mark.join(fragments))
    assert 0 <= asked.least <= asked.middle <= asked.most


def test_both_ends_of_a_long_text_are_read() -> None:
    filler = "All about bees. " * 200
    assert asked_length(f"In one sentence, please:\n\n{filler}") != UNASKED
    assert asked_length(f"{filler}\n\nIn one sentence, please.") != UNASKED
    assert asked_length("x" * WINDOW * 10) == UNASKED
