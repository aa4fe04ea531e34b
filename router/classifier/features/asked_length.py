"""What a text says of the length of its answer: a limit, a size, a minimum, a number of items, a manner.

Only what is said of the answer counts. Facts and refusals do not (:mod:`amount_context`), nor does what
stands in quotation marks, in a text that follows the request, or is said of a part of the answer
(:mod:`answer_part`). Nothing is a limit that is lifted, is one of something else, or is followed by another
task (:mod:`answer_scope`). Sizes in words, characters and tokens go before those in sentences, lines and
pages.

The vocabulary is English, Japanese, German, French, Spanish, Chinese and Korean, and for limits and sizes
Portuguese, Italian and Russian. A unit is looked for first: most texts have none and cost one search.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
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
from router.classifier.features.figure import latin_figures, wide_figures
from router.classifier.features.given_text import answer_of_given
from router.classifier.features.head_and_tail import head_and_tail
from router.classifier.features.item_count import asked_items
from router.classifier.features.marked_pattern import has_any
from router.classifier.features.part_sizes import parts_size
from router.classifier.features.repetition import repeated_size
from router.classifier.features.short_form import short_form_size
from router.classifier.features.text_amount import (
    LATIN_UNITS,
    NUMBER_WORDS,
    UNIT,
    UNITS,
    WIDE_UNITS,
    number_before,
)
from router.core.asked_length import BRIEF, DETAILED, UNASKED, AskedLength
from router.core.types import Prompt

__all__ = ["WINDOW", "asked_by", "asked_length"]

WINDOW = 600
"""Characters read from each end of a longer text."""


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
    r"|\b(?:escrev\w+|crie|scriv\w+|crea|напиш\w+|созда\w+)\b[^.\n]{0,40}\b(?:código|função|programa"
    r"|codice|funzione|programma|script|код|функци\w+|программ\w+|скрипт\w*|бот\w*)\b"
    r"|(?:sql|python|java)[^。\n]{0,40}(?:クエリ|コード|関数|스크립트|쿼리|查询)"
    r"|(?:写|编写|实现|开发|生成)[^。\n]{0,8}(?:程序|函数|代码|脚本|查询)"
    r"|\b(?:password|regex|(?:python|sql|java|c\+\+) code)\b|(?:プログラム|関数|スクリプト|正規表現"
    r"|コード|程序|函数|代码|함수|코드"
    r"|프로그램)[^。\n]{0,6}"
    r"(?:書|作|実装|写|编|작성|만들)"
)

_RANGE = re.compile(
    r"(\d[\d,.]*|one|two|three|four|five|zwei|drei|deux|trois|dos|tres|一|二|三|四|五)"
    r" ?(?:-|–|—|~|〜|～|to|or|and|bis|oder|à|ou|et|a|o|e|y|до|или|и|から|至|到)\s?$"
)
_AROUND_BEFORE, _AROUND_AFTER = 40, 16

_MOST_BEFORE = re.compile(
    r"(?:at most|(?:no|not|n['’]t|never)\b[^.]{0,24}\b(?:more|longer|over|exceed\w*)(?: than)?|up to"
    r"|under|within"
    r"|(?:less|fewer|shorter) than|below(?! in| to| with| into)|limit\w* [a-z ]{1,24}to|\bmax(?:imum"
    r"|imal|\.)?|limit\w*|exceed\w*"
    r"|höchstens|bis zu|unter|nicht mehr als|weniger als|au plus|moins de|pas plus|jusqu['’]à|máximo"
    r"|no más de|não mais (?:de|que)|até|non (?:più|oltre)|massimo|meno di|fino a|entro|не более|не больше"
    r"|максимум|менее|меньше|до(?= )|не превыша\w+|menos de|hasta"
    r"|不超过|不超過|最多|不多于|少于|最大|최대)[^.\n]{0,14}$"
)
_NOT_LESS_BEFORE = re.compile(
    r"(?:(?:no|not) (?:less|fewer|shorter) than|pas moins de|no menos de|nicht weniger als"
    r"|não menos de|non meno di|не менее|не меньше"
    r"|不少于)[^.\n]{0,14}$"
)
_LEAST_BEFORE = re.compile(
    r"(?:at least|\bmin(?:imum|imal|\.)?|more than|over|longer than"
    r"|mindestens|au moins|plus de|mínimo|al menos|por lo menos|más de|pelo menos|mais de|almeno"
    r"|minimo|più di|минимум|более|больше|свыше|至少|超过|最少|최소|적어도)"
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
    rf"(?:\d (?:{LATIN_UNITS})\b[^.!?\n]{{0,24}}\b(?:and|und|et|y)\b"
    rf"|\d(?:{WIDE_UNITS})[^。\n]{{0,8}}、)[^.!?。\n]{{0,24}}$"
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
    r"|\ben (?:deux|quelques) mots\b|\ben (?:dos|pocas) palabras\b|\bem (?:duas|poucas) palavras\b"
    r"|\bin (?:due|poche) parole\b|\bв (?:двух|нескольких) словах\b|\bкратко\b|\bresumidamente"
    r"|\bknapp\b|\bbrièvement|\ben bref\b|\bsuccinct|\bbrevemente|\bde forma breve|\ben resumen"
    r"|簡潔|手短|短く|端的|簡単に(?:説明|教え|述べ|まとめ|紹介)|简要|简洁|简短|简单(?:地)?(?:说|介绍"
    r"|解释)|간단히|간략|간결|짧게"
)
_BRIEF_SIGNS = (
    "brief", "short", "concis", "succinct", "nutshell", "kurz", "knapp", "brièvement", "bref", "brevemente",
    "breve", "resum", " mots", "palabras", "palavras", "parole", "словах", "кратко",
    "簡", "手短", "短", "端的", "简", "간", "짧",
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
_UNITS_READ = 12
"""Units that are read at each end of a text with more."""
_SHORT = 60.0
"""Tokens below which a length is one of each thing, where several are given."""
_SENTENCE = re.compile(r"[^.!?。！？\n]+(?:[.!?。！？\n]+|$)")
_SOMETIMES = re.compile(
    r"\b(?:if|when(?:ever)?|where|unless|except|once|in case|depending|sometimes|may|can|each|every|per"
    r"|for (?:\w+ ){0,4}(?:questions?|requests?|messages?|topics?|queries|tasks?|users?|problems?|e-?mails?"
    r"|greetings?|answers?|lookups?|facts?|things?)|first|second|start\w*|begin\w*|end|finish\w*|then"
    r"|after\w*|followed|except|at least|minimum|prefer\w*|try|ideally|usually|generally|default|code"
    r"|tool\w*|example\w*|wenn|falls|sofern|außer|bei|pro|jede[rnms]?|si|sauf|quand|lorsque|chaque|par"
    r"|cuando|cada|salvo|se|quando|exceto|ogni|tranne|если|когда|кажд\w+|кроме)\b"
    r"|^\s*(?:for|in|on) (?!at|no|under|fewer|less|up|\d|one|two|three|an?\b)|,? but\b"
    r"|\b(?:write|create|generate|draft|compose|produce) (?!your|the answer|answers|in\b|at\b|no\b|short"
    r"|brief|concise)"
    r"|場合|とき|時[はに]|(?<!答)に(?:は|対し)|以外|なら|たら|れば|ごと|各|最初|まず|例"
    r"|如果|当|除非|每|先|경우|때|면 |마다|먼저"
)
"""A limit beside one of these does not hold for every answer: "if asked for a title, at most 10 words"."""
_LONGER = re.compile(
    r"\b(?:detail\w*|long\w*|more|full\w*|thorough\w*|complete\w*|depth|essays?|reports?|ausführlich\w*|mehr"
    r"|länger|plus|détail\w*|más|detall\w*|mais|più|подробн\w+|больше)\b|詳|長|全文|详|长|자세|길게"
)
"""What lifts the limit on some requests."""
_MOST_LEAST = 8_000.0
"""Models write no more at once, whatever they are asked for."""
_LONG, _LONG_EXPONENT = 1_000.0, 0.93
"""Tokens up to which an answer has the size that is asked for, and the exponent on what is beyond. Histories
have seven requests with a size: answers to 300 words and to 500 characters are .95 to 1.01 times as long,
those to 2,000 words .3 times, by models of 2023. The exponent is a cautious choice between."""


class _Bounds(NamedTuple):
    """Least, middle and most tokens of an answer, and the usual ones where a size is named, else 0."""

    least: float = 0.0
    middle: float = math.inf
    most: float = math.inf
    size: float = 0.0


class _Said(NamedTuple):
    """An amount that the answer shall have: tokens in least, usual and greatest number."""

    least: float
    middle: float
    most: float
    counted: bool
    size: float = 0.0
    """Usual tokens of a named size; 0: a limit."""
    thing: str = ""
    """The words that name it as a thing of its own, such as "a 100-word story"; "": a limit of all."""
    joined: bool = False
    """A limit beside another in its sentence: "Rome in at most 50 words and Paris in at most 90"."""


def _said(window: str, unit: re.Match[str], items: float, alone: bool) -> _Said | None:
    """The amount of a unit; none where it is no wish, or one of a part of the answer or of something else."""
    found = number_before(window, unit)
    size = UNITS[unit[0]]
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
        low = min(read[0].value if read else NUMBER_WORDS.get(lower[1], number), number)
    sentence = (
        _STOP.split(window[max(0, start - 100) : start])[-1]
        + _STOP.split(window[end : end + 30], maxsplit=1)[0]
    )
    each = items > 1 and (_EACH.search(sentence) or not _TOTAL_BEFORE.search(before))
    if not each and _EACH.search(sentence):
        return None
    times = items if each else 1.0
    if several := _SEVERAL.search(before) if _THINGS_AFTER.match(window, end) else None:
        # The word before may be none: "write 500-word essays".
        times = max([times, *(figure.value for figure in latin_figures(several[1]))])
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
        return _Said(0.0, tokens, 1.25 * tokens + slack, size.counted, 0.0, thing, joined)
    most = (1.25 if low < number or _EXACT_BEFORE.search(before) else 1.4) * tokens + slack
    least = 0.7 * lowest if size.counted else 0.5 * lowest
    middle = 1.1 * tokens + (0 if size.counted else slack / 2)
    usual = _written((lowest + tokens) / 2)
    return _Said(least, middle, most, size.counted, usual, _thing(window, first, end))


def _thing(window: str, first: int, end: int) -> str:
    """What names an amount: it and the words before it, up to another amount or the end of a sentence."""
    words = _STOP.split(window[max(0, first - 24) : first])[-1]
    return (UNIT.pattern.split(words)[-1] + window[first:end]).strip()


def _written(tokens: float) -> float:
    """Tokens that models write where so many are asked for: they fall short of a long text."""
    if tokens > _LONG:
        tokens = _LONG * (tokens / _LONG) ** _LONG_EXPONENT
    return min(tokens, _MOST_LEAST)


def _combined(some: list[_Said]) -> _Bounds:
    """What is said altogether: things add up, and the least of limits of all holds once."""
    if any(one.counted for one in some):
        some = [one for one in some if one.counted]
    capped = [one for one in some if one.most < math.inf]
    least = min(max(one.least for one in some), _MOST_LEAST)
    things = {one.thing: one for one in capped if one.thing and not one.joined}.values()
    limits: list[_Bounds] = []
    for one in capped:
        if one.joined and limits:
            limits[-1] = _sum([limits[-1], one])
        elif not one.thing:
            limits.append(_Bounds(0.0, one.middle, one.most, one.size))
    if things:
        limits.append(_sum(list(things)))
    if not limits:
        return _Bounds(least=least)
    tightest = min(limits, key=lambda limit: limit.middle)
    middle, most = tightest.middle, min(limit.most for limit in limits)
    return _Bounds(min(least, middle), middle, most, tightest.size)


def _sum(some: Sequence[_Bounds | _Said]) -> _Bounds:
    """Limits of things that are written one after another; their size is known where each has one."""
    size = sum(one.size for one in some) if all(one.size for one in some) else 0.0
    return _Bounds(0.0, sum(one.middle for one in some), sum(one.most for one in some), size)


def _sized(tokens: float) -> _Bounds:
    """What a size of so many tokens says, in words or characters, of which one is missed by a few."""
    least = min(0.7 * tokens, _MOST_LEAST)
    return _Bounds(least, 1.1 * tokens, 1.4 * tokens + 8, _written(tokens))


def _of_parts(whole: float, request: str) -> _Bounds:
    """What the lengths of all parts say of the whole; only a least length where another task follows."""
    if _MAKES_PROGRAM.search(request):
        return _Bounds()
    size = _sized(whole)
    return _Bounds(size.least) if last_tasks(request)[0] >= 0 else size


def _amounts(window: str, items: float, alone: bool) -> Iterator[_Said]:
    """What is said of the answer. Nothing bounds it that is followed by another task."""
    units = list(UNIT.matches(window))
    if len(units) > 2 * _UNITS_READ:
        units = units[:_UNITS_READ] + units[-_UNITS_READ:]
    count = _COUNT.search(window) if "count" in window or "数" in window else None
    if (units or count) and _MAKES_PROGRAM.search(window):
        return
    if count:
        counted = UNITS["word" if count[0].startswith("word") else "字"]
        size = _sized(latin_figures(count[1])[0].value * counted.tokens)
        if _MOST_AFTER.match(window, count.end()):
            size = size._replace(least=0.0, size=0.0)
        yield _Said(size.least, size.middle, size.most, True, size.size)
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


def _by_given(window: str, left_out: int, bounds: _Bounds) -> _Bounds:
    """Bounds of an answer that works on a given text, counts, repeats or has a short form.

    Args:
        window: the text, in lower case.
        left_out: characters that it lacks.
        bounds: whatever the text is.
    """
    answer = answer_of_given(window, left_out) or repeated_size(window) or short_form_size(window)
    if answer is None:
        return bounds
    middle, most = min(bounds.middle, answer.middle), min(bounds.most, answer.most)
    return _Bounds(min(answer.least, middle, _MOST_LEAST), middle, most)


@lru_cache(maxsize=64)
def _system_limit(window: str) -> AskedLength:
    """The limit or size of every answer that a system message names, in its window; unasked where none is.

    An application sends the same one on every call.
    """
    parts = [(part, _SOMETIMES.search(part)) for part in _SENTENCE.findall(window)]
    if any(sometimes and _LONGER.search(part) for part, sometimes in parts):
        return UNASKED
    said = "".join(part for part, sometimes in parts if not sometimes)
    request = request_parts(said)
    some = list(_amounts(request, 0.0, alone=False))
    bounds = _combined(some) if some else _Bounds()
    return AskedLength(UNASKED.factors, 0.0, *bounds) if bounds.most < math.inf else UNASKED


def asked_by(prompt: Prompt) -> AskedLength:
    """What the last message of the user says, since an earlier one had another answer.

    Where it names no length, a limit of every answer in the system messages holds.
    """
    said = [message.text for message in prompt.messages if message.role == "user"]
    if not said:
        return asked_length(prompt.messages[-1].text)
    asked = asked_length(said[-1])
    if asked.least or asked.middle < math.inf:
        return asked
    for message in prompt.messages:
        if message.role == "system":
            limit = _system_limit(head_and_tail(message.text.strip(), WINDOW).lower())
            if limit.middle < asked.middle:
                asked = limit
    return asked


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
    bounds = _combined(some) if some else _Bounds()
    if whole := parts_size(request):
        bounds = _of_parts(whole, request)
    simple = len(request) <= _LONGEST_SIMPLE
    if few and simple and not bounds.least and not count and few[2]:
        bounds = _Bounds(0.0, min(bounds.middle, few[0]), min(bounds.most, few[1]))
    if not some and not count and not whole:
        bounds = _by_given(window, len(text) - len(window), bounds)
    factors = _factors(request) if simple else (1.0, 1.0)
    asked = AskedLength(factors, tokens if simple else 0.0, *bounds)
    return UNASKED if asked == UNASKED else asked
