"""What a text says of the length of its answer: a limit, a size, a minimum, a number of items, a manner.

Only what is said of the answer counts. Facts and refusals do not (:mod:`amount_context`), nor does what
stands in quotation marks, in a text that follows the request, or is said of a part of the answer
(:mod:`answer_part`). Nothing is a limit that is lifted, is one of something else, or is followed by another
task (:mod:`answer_scope`). Sizes in words, characters and tokens go before those in sentences, lines and
pages.

The vocabulary is English, Japanese, German, French, Spanish, Chinese and Korean. A unit is looked for first:
most texts have none and cost one search.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import NamedTuple

from router.classifier.features.amount_context import is_wish
from router.classifier.features.answer_part import is_asked, is_part, request_parts
from router.classifier.features.answer_scope import (
    asks_for_a_choice,
    is_lifted,
    is_of_another,
    is_superseded,
    last_tasks,
    states_a_task,
    works_on_several,
)
from router.classifier.features.figure import Figure, latin_figures, wide_figures
from router.classifier.features.given_text import answer_of_given
from router.classifier.features.head_and_tail import head_and_tail
from router.classifier.features.item_count import asked_items
from router.classifier.features.marked_pattern import MarkedPattern, has_any, shortest
from router.classifier.features.repetition import repeated_size
from router.core.asked_length import BRIEF, DETAILED, UNASKED, AskedLength
from router.core.types import Prompt

__all__ = ["WINDOW", "asked_by", "asked_length"]

WINDOW = 600
"""Characters read from each end of a longer text."""


class _Unit(NamedTuple):
    """Tokens of one, tokens by which a limit is passed at any number, and whether it is counted exactly."""

    tokens: float
    slack: float = 8.0
    counted: bool = True


_SENTENCE, _LINE = _Unit(28.0, 20.0, False), _Unit(20.0, 20.0, False)
_PARAGRAPH, _PAGE = _Unit(110.0, 60.0, False), _Unit(600.0, 100.0, False)
_BULLET = _Unit(40.0, 40.0, False)
_UNITS: dict[str, _Unit] = {
    unit: size
    for names, size in (
        ("word words", _Unit(1.3)),
        ("palabra palabras mot mots parola parole palavras", _Unit(1.6)),
        ("wort worte worten wörter wörtern", _Unit(1.8)),
        ("단어", _Unit(2.5)),
        ("文字 字", _Unit(0.9)),
        ("単語 ワード 語", _Unit(1.3)),
        ("글자 자", _Unit(0.7)),
        ("character characters chars zeichen caractères caracteres", _Unit(0.27)),
        ("tokens token トークン 토큰", _Unit(1.0)),
        ("sentence sentences satz sätze sätzen phrase phrases frase frases 文 センテンス 句话 句 문장",
         _SENTENCE),
        ("line lines zeile zeilen ligne lignes línea líneas 行 줄", _LINE),
        ("paragraph paragraphs absatz absätze absätzen paragraphe paragraphes párrafo párrafos 段落 段 문단",
         _PARAGRAPH),
        ("page pages seite seiten página páginas ページ 页 페이지 쪽", _PAGE),
        ("bullets", _BULLET),
        ("bullet points", _BULLET),
    )
    for unit in ([names] if names == "bullet points" else names.split())
}  # fmt: skip
"""Unit of a text → its size. A sentence, and what is larger, is as long as it happens to be."""
_FOLLOWED = {"語": "語(?=以内|以下|以上|程度|ほど|くらい|ぐらい|前後|まで|で)"}
"""Where a unit that also ends other words is one."""
_LATIN_UNITS = "|".join(sorted((u for u in _UNITS if u[0].isascii()), key=len, reverse=True))
_WIDE_UNITS = "|".join(
    _FOLLOWED.get(u, u)
    for u in sorted((u for u in _UNITS if not u[0].isascii()), key=len, reverse=True)
)
_UNIT = MarkedPattern(
    rf"(?<=[ -])(?:{_LATIN_UNITS})\b|(?:{_WIDE_UNITS})(?!学|書|章|献|法|明|化|脈|句|幕|数|列|典|体"
    rf"|型|目|分|身|동)",
    *shortest(_UNITS),
)

_FEWEST = {0.27: 20.0, 1.0: 10.0}
"""Of smaller numbers of characters and of tokens is spoken otherwise: a story with three characters."""
_MAKES_PROGRAM = re.compile(
    r"\b(?:write|implement|create|build|suggest|make|generate|develop|design"
    r"|add)\b[^.\n]{0,40}\b(?:program"
    r"|function|script|regex\w*|class|method|query|validat\w+|app|application|api|component|form"
    r"|schema|code|parser|(?:chat)?bot|tokenizer|server|library|programm|skript|funktion)\b"
    r"|\b(?:fix|debug|refactor)\b[^.\n]{0,30}\b(?:bug|code|error|function|script|program|test)\b"
    r"|\b(?:schreib\w*|erstell\w*|écri\w+|crée\w*|escrib\w+|crea)\b[^.\n]{0,40}\b(?:code|programm"
    r"|skript|funktion|programme|fonction|script|programa|función|código)\b"
    r"|(?:sql|python|java)[^。\n]{0,40}(?:クエリ|コード|関数|스크립트|쿼리|查询)"
    r"|(?:写|编写|实现|开发|生成)[^。\n]{0,8}(?:程序|函数|代码|脚本|查询)"
    r"|\b(?:password|regex|(?:python|sql|java|c\+\+) code)\b|(?:プログラム|関数|スクリプト|正規表現"
    r"|コード|程序|函数|代码|함수|코드"
    r"|프로그램)[^。\n]{0,6}"
    r"(?:書|作|実装|写|编|작성|만들)"
)

_NUMBER_WORDS = {
    word: value
    for value, words in (
        (1.0, "a single one ein eine einem einen einer einzigen un une una uno 한"),
        (2.0, "two zwei deux dos 두"),
        (3.0, "three drei trois tres 세"),
        (4.0, "four vier quatre cuatro 네"),
        (5.0, "five fünf cinq cinco 다섯"),
        (6.0, "six sechs seis 여섯"),
        (7.0, "sieben sept siete"),
        (8.0, "acht huit ocho"),
        (9.0, "neun neuf nueve"),
        (10.0, "zehn dix diez 열"),
    )
    for word in words.split()
}
_VAGUE_NUMBERS = {
    "half a": 0.5, "a half": 0.5, "a couple of": 2.0, "a few": 3.0, "several": 4.0, "ein paar": 3.0,
    "quelques": 3.0, "unas pocas": 3.0, "algunas": 3.0,
}  # fmt: skip
"""Of sentences and what is larger."""
_VAGUE_NUMBER = re.compile(rf"(?<!\w)({'|'.join(_VAGUE_NUMBERS)})[ -](?:short |simple |clear )?$")
_NUMBER_WORD = re.compile(
    rf"(?<!\w)({'|'.join(sorted(_NUMBER_WORDS, key=len, reverse=True))})[ -]?"
    r"(?:(?:short|simple|concise|single|clear|brief|full|complete|kurzen?|einzigen?|courtes?|cortas?"
    r"|seule?|sola)"
    r"[ -])?$"
)
_VAGUE_ONE = frozenset(("a", "un", "une", "una", "ein", "eine", "einem", "einen", "einer"))
_NEVER_VAGUE = re.compile(r"word|line|page|character|token|letter|bullet")
"""What "a" does not count: "a word about bees", "a page for our site"."""
_FIGURE_END = re.compile(
    r"(?:\+?(?: ?-?)|个|個)(?:(?:short|simple|concise|clear|brief|full|complete|bullet|english"
    r"|or (?:so|fewer|less|more))"
    r"[ -])?$"
)
_RANGE = re.compile(
    r"(\d[\d,.]*|one|two|three|four|five|zwei|drei|deux|trois|dos|tres|一|二|三|四|五)"
    r" ?(?:-|–|—|~|〜|～|to|or|and|bis|oder|à|ou|et|a|o|y|から|至|到)\s?$"
)
_BACK = 48
"""Characters before a unit in which its number is looked for."""
_AROUND_BEFORE, _AROUND_AFTER = 40, 16

_MOST_BEFORE = re.compile(
    r"(?:at most|(?:no|not|n['’]t|never)\b[^.]{0,24}\b(?:more|longer|over|exceed\w*)(?: than)?|up to"
    r"|under|within"
    r"|(?:less|fewer|shorter) than|below(?! in| to| with| into)|limit\w* [a-z ]{1,24}to|\bmax(?:imum"
    r"|imal|\.)?|limit\w*|exceed\w*"
    r"|höchstens|bis zu|unter|nicht mehr als|weniger als|au plus|moins de|pas plus|jusqu['’]à|máximo"
    r"|no más de"
    r"|menos de|hasta|不超过|不超過|最多|不多于|少于|最大|최대)[^.\n]{0,14}$"
)
_NOT_LESS_BEFORE = re.compile(
    r"(?:(?:no|not) (?:less|fewer|shorter) than|pas moins de|no menos de|nicht weniger als"
    r"|不少于)[^.\n]{0,14}$"
)
_LEAST_BEFORE = re.compile(
    r"(?:at least|\bmin(?:imum|imal|\.)?|more than|over|longer than"
    r"|mindestens|au moins|plus de|mínimo|al menos|por lo menos|más de|至少|超过|最少|최소|적어도)"
    r"[^.\n]{0,14}$"
)
_MOST_AFTER = re.compile(
    r" ?\(?(?:max\w*|or (?:less|fewer|under|shorter)|at most|limit|tops|höchstens|máximo|au (?:plus"
    r"|maximum)"
    r"|como máximo|以内|以下|まで|未満|内|之内|이내|이하|미만|안에)"
)
_LEAST_AFTER = re.compile(
    r" ?\(?(?:min(?:imum)?\b|or (?:more|longer)|at least|mindestens|au (?:moins|minimum)|como mínimo"
    r"|以上|이상)"
)
_EXACT_BEFORE = re.compile(
    r"(?:exactly|precisely|only|just|genau|exactement|exactamente|nur|ちょうど)[^.\n]{0,8}$"
)
_TOTAL_BEFORE = re.compile(
    r"\b(?:in|within|using|limit\w*|keep\w*|total\w*|answer|overall)\b[^.\n]{0,24}$"
)
_SEVERAL = re.compile(r"(?<![\w.,])(\d{1,3}|[a-z]{3,8}) (?:different |separate |short )?$")
_THINGS_AFTER = re.compile(r" [a-z]{3,20}s\b")
"""Several things of one size: "ten 500-word essays"."""
_THING_BEFORE = re.compile(r"\ban? (?:[\w-]{1,16} ){1,3}(?:[a-z]{1,8} ){1,4}$")
"""A thing with a limit of its own: "a poem of at most 50 words"."""
_JOINED = re.compile(
    rf"(?:\d (?:{_LATIN_UNITS})\b[^.!?\n]{{0,24}}\b(?:and|und|et|y)\b"
    rf"|\d(?:{_WIDE_UNITS})[^。\n]{{0,8}}、)[^.!?。\n]{{0,24}}$"
)
_COUNT = re.compile(
    r"(?:\bwords? ?count|文字数|字数)(?:は|の目安は)? ?[:：=は]? ?(?:about |around "
    r"|約)?(\d[\d,]{1,9})(?![\d-]|[〜～~])"
)
"""A size that stands before its number: "word count: 1500"."""
_EACH = re.compile(
    r"\b(?:each|per|every|apiece|jeweils|chacune?|chaque|cada|jede[rsn]?)\b|ずつ|それぞれ|各|每|씩|각"
)
_STOP = re.compile(r"[.!?\n。！？]")
_OPTION_SIGNS = (
    "yes",
    "true",
    "ja oder",
    "oui",
    "sí o",
    "si o",
    "はい",
    "イエス",
    "是",
    "예",
    "네",
)
_OPTIONS = re.compile(
    r"(?:answer|reply|respond|say|with|just|only|antworte|réponds|responde|:)\b[^.?!\n]{0,24}"
    r"(?:yes or no|yes/no|true or false|true/false|ja oder nein|oui ou non|s[íi] o no)\b"
    r"|\b(?:yes or no|true or false|ja oder nein|oui ou non|s[íi] o no)[?.]?\s*$"
    r"|(?:はい|イエス)(?:か|または|・|/)(?:いいえ|ノー)(?:か)?(?:で|のみ|だけ)|(?:回答"
    r"|答)[“「\"]?是(?:或|还是|/)[”“]?(?:否|不是)"
    r"|(?:예|네)(?:/|,|나| 또는 |와 )(?:아니오|아니요)로"
)
_EXPLAINED = re.compile(
    r"explain|why\b|reason|justif|step by step|because|elaborat|begründ|warum|erklär|pourquoi"
    r"|justifi|por qué"
    r"|理由|説明|なぜ|解释|为什么|이유|설명"
)
_OPTION_LENGTHS = (2.0, 8.0)
_FEW_WORDS = re.compile(
    r"一言(?:で|のみ|だけ)|ひとことで|in a (?:single )?word\b|in (?:just )?a few words|한마디로"
    r"|in wenigen worten"
)
_FEW_LENGTHS = (10.0, 25.0)
_BRIEF = re.compile(
    r"\bbriefly|(?<!design )(?<!legal )(?<!creative )\bbrief (?!case)|\b(?:be"
    r"|keep \w{2,6}) (?:very )?(?:short|brief"
    r"|concise|succinct)|\bconcise(?:ly)?\b|\bsuccinct(?:ly)?\b|\bin short\b|\bin a nutshell\b"
    r"|\bshort (?:answer|explanation|summary|description|guide|overview|introduction|intro|note"
    r"|reply|message"
    r"|e-?mail|version|response|definition|text|report|review|bio|paragraph)"
    r"|\b(?:erkläre|beschreibe|antworte|fasse|nenne|sag\w*)\b[^.]{0,30}\bkurz\b|\bkurz(?: und"
    r"|e antwort|gefasst)"
    r"|\bknapp\b|\bbrièvement|\ben bref\b|\bsuccinct|\bbrevemente|\bde forma breve|\ben resumen"
    r"|簡潔|手短|短く|端的|簡単に(?:説明|教え|述べ|まとめ|紹介)|简要|简洁|简短|简单(?:地)?(?:说|介绍"
    r"|解释)|간단히|간략|간결|짧게"
)
_BRIEF_SIGNS = (
    "brief", "short", "concis", "succinct", "nutshell", "kurz", "knapp", "brièvement", "bref", "brevemente",
    "breve", "resumen", "簡", "手短", "短", "端的", "简", "간", "짧",
)  # fmt: skip
"""One of these is in every text that the pattern finds; to look for them takes a twentieth of the time."""
_DETAILED_SIGNS = (
    "detail", "depth", "comprehensive", "thorough", "exhausti", "extensive", "elaborate", "complete ",
    "ausführlich", "umfassend", "détail", "detall",
    "詳", "網羅", "徹底", "详", "全面", "자세", "상세", "구체",
)  # fmt: skip
_DETAILED = re.compile(
    r"\bin (?:great |more |full |much )?(?:detail|depth)|\bin-depth|\bdetailed\b|\bcomprehensive"
    r"|\bthorough"
    r"|\bexhaustive|\bextensive(?:ly)?\b|\belaborate\b|\bcomplete (?:guide|explanation|overview|list"
    r"|tutorial"
    r"|description|introduction|analysis|plan|report)"
    r"|\bausführlich|\bdetaillier|\bumfassend|\ben détail|\bdétaill|\bdetallad|\ben detalle|\bexhausti"
    r"|詳しく|詳細に|詳述|網羅|徹底的|详细|全面|详尽|자세히|자세하게|상세|구체적으로"
)
_LONGEST_SIMPLE = 300
"""Characters of a request up to which a list, a manner and a bare answer are those of the whole."""
_SHORT = 60.0
"""Tokens below which a length is one of each thing, where several are given."""
_MOST_LEAST = 8_000.0
"""Models write no more at once, whatever they are asked for."""


class _Said(NamedTuple):
    """An amount that the answer shall have: tokens in least, usual and greatest number."""

    least: float
    middle: float
    most: float
    counted: bool
    thing: str = ""
    """The words that name it as a thing of its own, such as "a 100-word story"; "": a limit of all."""
    joined: bool = False
    """A limit beside another in its sentence: "Rome in at most 50 words and Paris in at most 90"."""


def _number(window: str, unit: re.Match[str]) -> tuple[int, float] | None:
    """Where the number of a unit begins, and the number."""
    start = max(0, unit.start() - _BACK)
    before = window[start : unit.start()]
    wide = not unit[0][0].isascii()
    for figures in (latin_figures(before), wide_figures(before) if wide else []):
        if figures and _FIGURE_END.fullmatch(before, figures[-1].end):
            figure: Figure = figures[-1]
            return start + figure.start, figure.value
    if (vague := _VAGUE_NUMBER.search(before)) and not _UNITS[unit[0]].counted:
        return start + vague.start(), _VAGUE_NUMBERS[vague[1]]
    if not (word := _NUMBER_WORD.search(before)):
        return None
    if word[1] in _VAGUE_ONE and len(word[1]) == 1 and _NEVER_VAGUE.match(unit[0]):
        return None
    if unit[0] in ("phrase", "phrases") and word[1] in ("a", "single", "one"):
        return None
    return start + word.start(), _NUMBER_WORDS[word[1]]


def _said(window: str, unit: re.Match[str], items: float, alone: bool) -> _Said | None:
    """The amount of a unit; none where it is no wish, or one of a part of the answer or of something else."""
    found = _number(window, unit)
    size = _UNITS[unit[0]]
    if found is None or found[1] <= 0 or found[1] < _FEWEST.get(size.tokens, 0.0):
        return None
    start, number = found
    before = window[max(0, start - _AROUND_BEFORE) : start].rsplit("\n", 1)[-1]
    lower = _RANGE.search(before)
    first = start - len(before) + lower.start() if lower else start
    end = unit.end()
    if (
        not is_asked(window, first, end)
        or not is_wish(window, start, end)
        or is_part(window, first, end, alone=alone)
        or is_lifted(window, first, end)
        or is_superseded(window, end)
        or is_of_another(window, first, end)
    ):
        return None
    after = window[unit.end() : unit.end() + _AROUND_AFTER]
    low = number
    if lower:
        read = latin_figures(lower[1]) or wide_figures(lower[1])
        low = min(read[0].value if read else _NUMBER_WORDS.get(lower[1], number), number)
    sentence = (
        _STOP.split(window[max(0, start - 100) : start])[-1]
        + _STOP.split(window[end : end + 30], maxsplit=1)[0]
    )
    each = items > 1 and (_EACH.search(sentence) or not _TOTAL_BEFORE.search(before))
    if not each and _EACH.search(sentence):
        return None
    times = items if each else 1.0
    if several := _SEVERAL.search(before) if _THINGS_AFTER.match(window, end) else None:
        times = max(times, latin_figures(several[1])[0].value)
    tokens, lowest = number * times * size.tokens, low * times * size.tokens
    slack = size.slack * times
    if tokens < _SHORT and works_on_several(window):
        return None
    if (_LEAST_AFTER.match(after) or _NOT_LESS_BEFORE.search(before)) or (
        _LEAST_BEFORE.search(before) and not _MOST_BEFORE.search(before)
    ):
        return _Said(tokens, math.inf, math.inf, size.counted)
    if _MOST_AFTER.match(after) or _MOST_BEFORE.search(before):
        thing = _thing(window, first, end) if _THING_BEFORE.search(before) else ""
        joined = _JOINED.search(before) is not None
        return _Said(0.0, tokens, 1.25 * tokens + slack, size.counted, thing, joined)
    most = (1.25 if low < number or _EXACT_BEFORE.search(before) else 1.4) * tokens + slack
    least = 0.7 * lowest if size.counted else 0.5 * lowest
    middle = 1.1 * tokens + (0 if size.counted else slack / 2)
    return _Said(least, middle, most, size.counted, _thing(window, first, end))


def _thing(window: str, first: int, end: int) -> str:
    """What names an amount: it and the words before it, up to another amount or the end of a sentence."""
    words = _STOP.split(window[max(0, first - 24) : first])[-1]
    return (_UNIT.pattern.split(words)[-1] + window[first:end]).strip()


def _combined(some: list[_Said]) -> tuple[float, float, float]:
    """Least, middle and most of what is said: things add up, and the least of limits of all holds once."""
    if any(one.counted for one in some):
        some = [one for one in some if one.counted]
    capped = [one for one in some if one.most < math.inf]
    least = min(max(one.least for one in some), _MOST_LEAST)
    things = {one.thing: one for one in capped if one.thing and not one.joined}.values()
    limits: list[tuple[float, float]] = []
    for one in capped:
        if one.joined and limits:
            limits[-1] = limits[-1][0] + one.middle, limits[-1][1] + one.most
        elif not one.thing:
            limits.append((one.middle, one.most))
    if things:
        limits.append((sum(one.middle for one in things), sum(one.most for one in things)))
    middle = min((limit[0] for limit in limits), default=math.inf)
    most = min((limit[1] for limit in limits), default=math.inf)
    return min(least, middle), middle, most


def _amounts(window: str, items: float, alone: bool) -> Iterator[_Said]:
    """What is said of the answer. Nothing bounds it that is followed by another task."""
    units = list(_UNIT.matches(window))
    count = _COUNT.search(window) if "count" in window or "数" in window else None
    if (units or count) and _MAKES_PROGRAM.search(window):
        return
    if count:
        tokens = latin_figures(count[1])[0].value * (1.3 if count[0].startswith("word") else 0.9)
        least = 0.0 if _MOST_AFTER.match(window, count.end()) else 0.7 * tokens
        yield _Said(least, 1.1 * tokens, 1.4 * tokens + 8, True)
    further: tuple[int, int] | None = None
    for unit in units:
        said = _said(window, unit, items, alone)
        if said is None:
            continue
        further = further or last_tasks(window)
        task, sentence = further
        if task >= unit.end() or (sentence >= unit.end() and states_a_task(window, unit.start())):
            said = said._replace(middle=math.inf, most=math.inf)
        yield said


def _few(request: str) -> tuple[float, float, bool] | None:
    """Middle and most of a bare choice or of a few words, and whether nothing else is asked for."""
    if has_any(_OPTION_SIGNS, request) and _OPTIONS.search(request):
        return *_OPTION_LENGTHS, asks_for_a_choice(request) and not _EXPLAINED.search(request)
    if found := _FEW_WORDS.search(request):
        return *_FEW_LENGTHS, last_tasks(request)[0] < found.start()
    return None


def _factors(request: str) -> tuple[float, float]:
    brief = has_any(_BRIEF_SIGNS, request) and _BRIEF.search(request)
    detailed = has_any(_DETAILED_SIGNS, request) and _DETAILED.search(request)
    if bool(brief) == bool(detailed):
        return 1.0, 1.0
    return BRIEF if brief else DETAILED


def _by_given(window: str, left_out: int, middle: float, most: float) -> tuple[float, float, float]:
    """Least, middle and most of an answer that works on a given text, counts or repeats.

    Args:
        window: the text, in lower case.
        left_out: characters that it lacks.
        middle: whatever the text is.
        most: likewise.
    """
    answer = answer_of_given(window, left_out) or repeated_size(window)
    if answer is None:
        return 0.0, middle, most
    middle, most = min(middle, answer.middle), min(most, answer.most)
    return min(answer.least, middle, _MOST_LEAST), middle, most


def asked_by(prompt: Prompt) -> AskedLength:
    """What the last message of the user says: an earlier one had another answer."""
    said = [message.text for message in prompt.messages if message.role == "user"]
    return asked_length(said[-1]) if said else asked_length(prompt.messages[-1].text)


def asked_length(text: str) -> AskedLength:
    """What a text says of the length of its answer.

    Args:
        text: any text, of any length; at most twice :data:`WINDOW` characters are searched. A given text
            counts in its whole length.
    """
    text = text.strip()
    window = head_and_tail(text, WINDOW).lower()
    request = request_parts(window)
    count, tokens = asked_items(request)
    few = _few(request)
    some = list(_amounts(request, count, alone=few is not None))
    least, middle, most = _combined(some) if some else (0.0, math.inf, math.inf)
    simple = len(request) <= _LONGEST_SIMPLE
    if few and simple and not least and not count and few[2]:
        middle, most = min(middle, few[0]), min(most, few[1])
    if not some and not count:
        least, middle, most = _by_given(window, len(text) - len(window), middle, most)
    factors = _factors(request) if simple else (1.0, 1.0)
    asked = AskedLength(factors, tokens if simple else 0.0, least, middle, most)
    return UNASKED if asked == UNASKED else asked
