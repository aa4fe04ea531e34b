"""Which parts of a text speak of the answer: the request, not a given text; the whole, not a part."""

from __future__ import annotations

import re

from router.classifier.features.token_density import WIDE

__all__ = ["is_asked", "is_part", "request_parts"]

_LONGEST_REQUEST = 600
"""Characters of a paragraph up to which it may be a request."""
_QUOTED = re.compile(
    r'"[^"\n]{12,}"|“[^”]{12,}”|「[^」]{12,}」|«[^»]{12,}»|『[^』]{12,}』|```.*?(?:```|$)',
    re.DOTALL,
)
_WORKS_ON = re.compile(
    r"\b(?:translat\w+|proofread\w*|correct|rewrit\w+|rephrase|paraphrase|summari[sz]e|classify"
    r"|extract|edit"
    r"|traduc\w*|tradui\w*|übersetz\w*|korrigier\w*|résume\w*|resume)\b[^.\n]{0,80}?:\s"
    r"|(?:翻訳|訳し|校正|添削|要約|翻译|번역|요약)[^。\n]{0,24}[:：]"
)
_GIVES = re.compile(
    r"\b(?:here(?:['’]s| is| are) (?:an?|the|my|our|his|her|some|what)|following|below"
    r"|folgende\w*|suivante?s?|siguientes?)\b|以下|次の|下記|下の|这段|下面|다음"
)
_RULES = re.compile(
    r"rule|requirement|constraint|condition|criteri|guideline|format|条件|要件|ルール|要求|조건"
)
_RULE = re.compile(r"\s*(?:[-*•・]|\d{1,2}[.)]) ?")
_PARTS = (
    r"(?:abstract|summary|intro\w*|conclusion|bio|title|caption|docstring|description|preface"
    r"|tagline|comment"
    r"|headline|heading|outline|subject(?: line)?|name|excerpt|teaser|resumo|introdução|conclusão|título"
    r"|riassunto|introduzione|conclusione|titolo|введени\w+|заключени\w+|аннотаци\w+|заголов\w+|резюме)s?"
)
_JOINS = r"\b(?:with|plus|includ\w+|and|add|has|have|then|com|con|e|с|со|и)"
_JOIN_BEFORE = re.compile(rf"{_JOINS}(?: (?:an?|the|its|short))? $")
_PART_AFTER = re.compile(rf"[ -](?:[a-z]{{1,12}} )?{_PARTS}\b")
_PART_BEFORE = re.compile(
    rf"{_JOINS} (?:(?:an?|the|its|their|each|uma?|un[ao]?) )?(?:[a-z]{{1,12}} )?{_PARTS} "
    r"[^\W\d_ ]{0,12}(?: [^\W\d_]{1,12}){0,2} ?$"
)

_GIVEN_BEFORE = re.compile(
    r"(?:(?<!in )(?<!within )(?<!under )(?<!to )\b(?:the|these|those|my|your|both|following|last"
    r"|first|previous|die"
    r"|diese|ces|les|las|los|estas)|\b(?:combine|compare|merge|join|differences? between|translate|correct"
    r"|fix|use)) $"
)
_BESIDES = re.compile(
    r"\b(?:then|and|plus|also|finally|otherwise)\b(?: \w+)?,? (?:tell|say|explain|give|add|write"
    r"|rewrite|translate"
    r"|describe|list"
    r"|show|name|provide|draft|the|how|what|why)\b[^.!?\n]{0,60}$"
    r"|(?:その後|さらに|続けて|最後に|最後の|最初の|この|その|本文は|各|回の)[^。\n]{0,20}$"
)
"""Something else is asked for before: "a clause, then say in three lines what courts do with it"."""
_EXAMPLE_BEFORE = re.compile(r"\b(?:use|using|used|put) [^.\n]{1,30} in $")
_NAMED_AFTER = re.compile(
    r"の(?:単語|言葉|熟語|名前|漢字|文字列|パスワード|略語)| (?:web ?site|app\b|landing|site\b"
    r"|application)"
)
_LISTED_AFTER = re.compile(
    r" (?:that|which|with|to|for|starting|beginning|ending|rhyming|related|meaning|associated|from)\b"
)
_LIMITS_BEFORE = re.compile(
    r"\b(?:in|of|with|within|under|than|most|least|to|exactly|about) (?:\w+ )?$"
)

_ABOUT = (
    r"(?:(?:an?|the|just|only|about|around|exactly|precisely|approximately|roughly|some|at|most"
    r"|least|up|to|than|no"
    r"|not|more|less|fewer|longer|shorter|over|under|below|min(?:imum|\.)?|max(?:imum|\.)?|of|me|us"
    r"|mir|moi|ein\w*"
    r"|une?|una|etwa|genau|höchstens|mindestens|environ|exactement|au|moins|plus|al|menos|como"
    r"|mínimo|máximo|unos|unas"
    r"|um|uma|uns|umas|cerca|aproximadamente|exatamente|pelo|mais|exactamente|circa|esattamente|almeno|più"
    r"|non|al|di|примерно|около|ровно|не|более|менее|больше|меньше|мне|mi|me|range|between|total|entre"
    r"|zwischen|good|short|detailed|brief|simple|nice|new) )"
)
_LIMIT_BEFORE = re.compile(
    r"(?:\b(?:in|within|under|below|using|between"
    r"|zwischen|entre|than|most|least|up to|max(?:imum|imal)?|min(?:imum|imal)?"
    r"|limit|to|exceed"
    r"|exceeding|exactly|only|just|mit|en|avec|con|auf|höchstens|mindestens|genau|bis zu|unter|über"
    r"|au plus|au moins"
    r"|moins de|plus de|máximo|mínimo|menos|más de|hasta|em|numa?|com|até|mais de|cerca de|entro|massimo"
    r"|minimo|almeno|meno di|più di|fino a|tra|fra|в|во|на|из|до|не более|не менее|не больше|не меньше"
    r"|менее|более|максимум|минимум|около|примерно|ровно|say)[.:]? )"
    rf"{_ABOUT}{{0,4}}$"
)
_COUNTS = (
    r"(?:two|three|four|five|six|seven|eight|nine|ten|twelve|fifteen|twenty|thirty|fifty|hundred)"
)
_WRITES_BEFORE = re.compile(
    r"\b(?:write|compose|draft|create|generate|produce|give|make|craft|prepare|need|want|provide"
    r"|schreib\w*"
    r"|verfass\w*|erstell\w*|écri\w*|rédige\w*|fai\w*|escrib\w*|redact\w*|haz|escrev\w+|redij\w+|scriv\w+"
    r"|напиш\w+|состав\w+|answer|reply|respond) "
    rf"{_ABOUT}{{0,5}}(?:(?:\d{{1,4}}|{_COUNTS}) (?:different |separate |short )?)?$|\band an? $"
)
_TEXT_BEFORE = re.compile(
    r"\b(?:essay|story|article|text|answers?|responses?|reply|replies|summary|post|report"
    r"|explanation|poem|novel|blog|book|dissertation|thesis|script"
    r"|description|review|speech|letter|e-?mail|paper|output|length|count|aufsatz|geschichte|antwort"
    r"|texte?|histoire|rapport|roman|article|bericht|artikel|novela|artículo|cuento|informe"
    r"|essai|discours|lettre|poème|récit|résumé|relato|discurso|poema|rede|gedicht|erzählung|zusammenfassung"
    r"|réponse|ensayo|historia|respuesta|texto|ensaio|redação|artigo|resumo|resposta|conto|saggio|articolo"
    r"|testo|riassunto|risposta|racconto|эссе|стать\w+|текст\w*|рассказ\w*|сочинени\w+|ответ\w*|it)s?\b"
    r"[^.!?\n]{0,32}?\b(?:of|with|be|has|have|is|to|de|di|da|von|mit|com|con|на|из|в|объ[её]мом|длиной|:"
    r"|long)[: ] ?"
    rf"{_ABOUT}{{0,4}}$"
)
_WITH_PREPOSITION = re.compile(r"numa? |(?:одним|двумя|тремя) (?!словом,)")
"""Number words that say "in one" themselves."""
_BEGINS = re.compile(r"(?:^|[.!?:,;(\n]\s*(?:[-*•]\s*)?)(?:about |around |max\.? |min\.? )?$")
_ENDS = re.compile(
    r"(?: only| please)?\s*(?:$|[.,;:!?)\n]| (?:on|about|of|please|explaining|describing)\b)"
)
_BOUND_AFTER = re.compile(
    r" ?\(?(?:max\w*|min(?:imum)?\b|or (?:less|fewer|under|shorter|more|longer|so)|at (?:most|least)"
    r"|limit|long\b|tops"
    r"|höchstens|mindestens|maximal|máximo|au (?:plus|moins|maximum|minimum)|como (?:máximo|mínimo))"
)
_WIDE_AFTER = re.compile(
    r" ?(?:(?:ちょうど|だけ)?で(?!始|終|す|し[たょ]|あ)|以内|以下|以上|程度|ほど|くらい|ぐらい|前後"
    r"|まで|未満"
    r"|の(?:エッセイ|文章|作文|記事|要約|小説|感想|レポート|物語|説明|紹介|短編"
    r"|[^。、\n]{0,3}論文|[^。、\n]{1,8}書を|スピーチ|ブログ|原稿)|を書|左右|之内|内"
    r"|的|作文|文章|短文|介绍|解释"
    r"|이내|이하|이상|미만|으?로|정도)"
)
_WIDE_BEFORE = re.compile(
    r"(?:用|约|大约|不超过|不少于|写|控制在|至少|最多|请写|写一篇)[^。\n]{0,4}$"
)


def is_asked(window: str, start: int, end: int) -> bool:
    """Whether an amount is said to be that of the answer: "in 3 sentences", "write 300 words", 「50字以内」.

    An amount without such a sign may be a fact, as in a sum about pages, and a limit that is none would quote
    too little.

    Args:
        window: the text, in lower case.
        start: where the amount begins.
        end: where it ends.
    """
    before, after = window[max(0, start - 80) : start], window[end : end + 24]
    if WIDE.match(window, end - 1):
        return bool(_WIDE_AFTER.match(after) or _WIDE_BEFORE.search(before))
    return bool(
        _LIMIT_BEFORE.search(before)
        or _WRITES_BEFORE.search(before)
        or _BOUND_AFTER.match(after)
        or (_BEGINS.search(before) and _ENDS.match(after))
        or _TEXT_BEFORE.search(before)
        or _WITH_PREPOSITION.match(window, start)
    )


def is_part(window: str, start: int, end: int, *, alone: bool = False) -> bool:
    """Whether an amount is that of a part of the answer or of something else, not of the answer.

    "A report with a 50-word abstract", "compare the two sentences", "use it in a sentence", "a one-page
    website", "ten words that rhyme".

    Args:
        window: the text, in lower case.
        start: where the amount begins.
        end: where it ends.
        alone: whether what is asked for besides is too short to count, such as a yes or no.
    """
    before = window[max(0, start - 90) : start]
    return bool(
        _GIVEN_BEFORE.search(before)
        or (not alone and _BESIDES.search(before))
        or _EXAMPLE_BEFORE.search(before)
        or _NAMED_AFTER.match(window, end)
        or (_JOIN_BEFORE.search(before) and _PART_AFTER.match(window, end))
        or _PART_BEFORE.search(before)
        or (
            window.startswith("words", end - 5)
            and _LISTED_AFTER.match(window, end)
            and not _LIMITS_BEFORE.search(before)
        )
    )


def request_parts(window: str) -> str:
    """The parts of a text that ask for something: without quotations and without a text to work on.

    Args:
        window: the text.

    Returns:
        The text itself where nothing is given with it, else its first and last paragraphs and the lines of
        a list of rules.
    """
    text = window.strip()
    if '"' in text or "```" in text or not text.isascii():
        text = _QUOTED.sub('""', text)
    if ":" in text or "：" in text:
        works = _WORKS_ON.search(text)
        if works:
            rest = text[works.end() :]
            last = rest.rfind("\n")
            earlier = rest[: max(last, 0)].strip()
            return text[: works.end()] + (rest[last:] if earlier and len(rest) - last < 200 else "")
    if "\n" not in text:
        return text
    lines = text.split("\n")
    gives = bool(_GIVES.search(lines[0]) and not _RULES.search(lines[0]))
    given = gives or lines[0].rstrip().endswith((":", "："))
    last = len(lines) - 1
    return "\n".join(
        line
        for place, line in enumerate(lines)
        if len(line) <= _LONGEST_REQUEST
        and (
            not given
            or place == 0
            or (place == last and last > 2 and not lines[last - 1].strip())
            or (not gives and _RULE.match(line))
        )
    )
