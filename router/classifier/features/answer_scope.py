"""Whether a stated length is one of the whole answer: it holds, and nothing else has it or is asked for.

A limit that binds where it should not makes the quote too small, which costs more than one that is too long.
A limit therefore binds only where nothing speaks against it. All patterns are searched in a bounded
neighbourhood of an amount, or in a request that has one.
"""

from __future__ import annotations

import re

__all__ = [
    "asks_for_a_choice",
    "is_lifted",
    "is_of_another",
    "is_superseded",
    "last_tasks",
    "states_a_task",
    "works_on_several",
]

_BEFORE, _AFTER = 90, 30
"""Characters read before and after an amount."""
_SENTENCE_END = re.compile(r"[.!?;]\s|[\n。！？]")

_MAKE = (
    r"(?:write|build|create|implement|draft|compose|develop|design|generate|produce|craft|code|prepare|make"
    r"|continue|schreib\w*|verfass\w*|erstell\w*|entwickl\w*|écri\w+|rédige\w*|crée\w*|développe\w*"
    r"|escrib\w+|redact\w+|crea|desarrolla|escrev\w+|redij\w+|crie|elabor[ae]|desenvolv\w+|scriv\w+"
    r"|redig\w+|напиш\w+|состав\w+|созда\w+|придума\w+)"
)
_DO = (
    rf"(?:{_MAKE}|list|give|name|suggest|provide|explain|describe|translate|summari[sz]e|rewrite|fix|plan"
    r"|outline|compare|tell|show|add|solve|calculate|compute|prove|derive|analy[sz]e|convert|refactor"
    r"|discuss|elaborate|erklär\w*|beschreib\w*|nenne|expli\w+|décri\w+|describe|enumera|lista|liste"
    r"|traduz\w*|descrev\w+|spieg\w+|elenca|traduci|descrivi|объясн\w+|перечисл\w+|опиш\w+|перевед\w+"
    r"|назов\w+|расскаж\w+)"
)
_WIDE_DO = r"(?:書|作|生成|説明|述べ|まとめ|挙げ|訳|考え|写|编|列出|解释|说明|쓰|써|작성|설명|만들)"
_WIDE_NEXT = (
    r"(?:その(?:後|あと|うえ|上)|(?:した|て)(?:後|あと|うえで|上で)|てから|それから|次に|続[いけ]て|さらに"
    r"|加えて"
    r"|然后|接着|之后|再写|그 ?(?:다음|후|뒤)|그리고)"
)
_THEN = re.compile(
    r"\b(?:then|after(?:wards?| that| this| which)|also|next|finally|in addition|additionally"
    r"|plus|followed by"
    r"|if (?:yes|no|not|so|true|false)|puis|ensuite|après|dann|danach|anschließend|luego|después"
    r"|depois|em seguida|poi|quindi|dopo|затем|потом|после этого|далее)\b,?"
    rf" (?:[\w']{{1,12}} ){{0,2}}?{_DO}\b"
    rf"|\b(?:and|but|und|et|y|e|ed|и) (?:list|translate|{_MAKE})\b"
    r"|\b(?:and|plus) (?:an?|the|your|my) (?:[a-z]{1,16} ){0,3}?(?:essay|story|contract|plan"
    r"|report|program|website"
    r"|app|table|outline|guide|article|letter|proposal|analysis|tutorial|schedule|budget|script|list)\b"
    r"|\b(?:und|et|y|e|и) (?:(?:ein\w*|d[eia][nrs]|une?|un[ao]?|l[ea]|el|il|uma?|o"
    r"|a) )?(?:[^\W\d_]{1,16} ){0,2}?"
    r"(?:bericht|aufsatz|vertrag|brief|tabelle|rapport|essai|contrat|lettre|tableau|informe|ensayo|contrato"
    r"|carta|tabla|relatório|ensaio|plano|artigo|tabela|relazione|saggio|contratto|articolo|lettera|tabella"
    r"|отч[её]т|эссе|стать[юя]|план|договор|письмо|таблицу|рассказ)\b"
    r"|(?:\b(?:followed by|plus|along with|together with)|, then) (?:an?|the) [a-z]"
    rf"|{_WIDE_NEXT}[^。\n]{{0,40}}{_WIDE_DO}"
)
"""Something else is asked for as well."""
_NEXT_TASK = re.compile(
    rf"[.!?;]\s+(?:please |now )?{_MAKE} (?:me |us )?(?:an?|the|my|our|complete|full|uma?|una?"
    r"|полн\w+|подробн\w+) "
)
_OWN_TASK = re.compile(
    rf"(?:please |can you |could you )?(?:{_DO}|define|state|answer|what|who|when|where|why|how"
    rf"|which|is|are|do|does|did)\b"
)
"""A sentence that asks for something itself, unlike "at most 50 words."."""

_LIFTS = (
    r"(?:ignor\w*|forget|disregard|regardless of|despite|without|no|ohne|keine?|vergiss|oublie\w*|sans|sin"
    r"|olvida|sem|esqueça|senza|dimentica|без|игнорир\w+|забудь\w*)"
)
_LIMIT = r"(?:limit\w*|cap|restriction|maximum|rule|grenze|begrenzung|límite|ограничен\w+|лимит\w*)"
_LIFTED_BEFORE = re.compile(
    rf"\b{_LIFTS} (?:(?:the|any|my|that|this|your|an?|strict|hard|usual|die|das|la|le|el|o|il) ){{0,3}}$"
    rf"|\b{_LIFTS} (?:\w{{1,12}} ){{0,3}}?{_LIMIT} (?:\w{{1,8}} ){{0,2}}$"
    r"|(?:\b(?:not|never|nicht|pas|no te)|n['’]?t)\b (?:\w{1,12} ){0,3}?"
    r"(?:limit\w*|restrict\w*|confine\w*|constrain\w*|stick|bound|beschränk\w*)"
    r" (?:\w{1,12} ){0,3}$"
    r"|不(?:受|必|用)[^。\n]{0,6}$|(?:忽略|无视)[^。\n]{0,6}$"
)
_LIFTED_AFTER = re.compile(
    r"(?:以内|以下|まで|未満|の)?(?:という)?(?:の)?(?:文字数|字数)?(?:制限|上限|縛り)?(?:に|は|を|で|も)?"
    r"(?:無視|気にせ|気にし|なし|なく|ない|撤廃|こだわら|とらわれ|縛られ|関係な)"
    r"|(?:的)?限制(?:可以)?(?:忽略|取消|不)"
)
_SUPERSEDED = re.compile(
    r"(?:[.?!,;–—-] ?|^)(?:no|nope|wait|sorry|actually|scratch that|rather|better|nein|besser|non"
    r"|plutôt|mejor)"
    r"[,:.!]? (?:(?:make|write) (?:it|that) )?(?=(?:in|with|at|about|use|\d|on) ?)"
    r"|(?:いや|やっぱり|やはり)、?(?=\d|[一二三四五六七八九十百千])"
)

_RELATIVE = re.compile(
    r"\b(?:in which|whose|where|who|when|dessen|deren|dont|donde|cuy[oa]s?|cuj[oa]s?|em que"
    r"|n[oa] qual|in cui|il cui|la cui|котор\w{2,3})\b[^.,;:!?()\n]{0,70}$"
)
_THAT = re.compile(r"(?:\b(?:that|which|qui|que)|, (?:das|die|der)) ([^.,;:!?()\n]{1,70})$")
_OF_THE_WHOLE = re.compile(
    r"(?:^(?:is|are|has|have|contains?|fits?|runs?|comes?|ist|hat|fait|tiene)\b"
    r"|\b(?:in|within|using|under|of|mit|en|con) (?:[a-z]{1,9} ){0,3}$)"
)
"""After "that": "that is 500 words long", "that explains bees in 50 words"."""
_SUBJECT = re.compile(
    r"([\w-]{1,24}),? (?:(?:must|should|shall|can|cannot|may|might|will|need|needs|ha[sd]|have|is"
    r"|are|was|were"
    r"|be|muss|müssen|darf|dürfen|soll|sollen|doit|doivent|debe|deben|deve|devem|devono"
    r"|долж\w{1,3})\b(?:n['’]t)?)"
    r"(?: (?:not|only|to|be|have|exceed|contain|use|consist|limited|restricted|capped|in|of|an?"
    r"|at|most|no|more"
    r"|less|fewer|longer|than|under|up|below|within|exactly|max|maximum|about|around|between"
    r"|nicht|höchstens"
    r"|maximal|mehr|als|ter|conter|avere|contenere|essere|no|máximo|até|mais|de|al|massimo|non|più|di"
    r"|содержать|быть|иметь|состоять|длиной|из|до|не|более|больше|максимум)){0,7} $"
)
_TELLS = re.compile(
    r"\b(?:allows?|permits?|accepts?|supports|displays|imposes|enforces|limits|restricts|caps"
    r"|truncates|trims"
    r"|(?:pupils|students|users|players|customers|people|candidates|they|who) (?:answer|write|say|type|enter)"
    r"|says|said|speaks|spoke|utters?|sagt|erlaubt|permet|dit|dice|permite|diz|consente"
    r"|говорит|допускает|разрешает)\b[^.;:!?\n]{0,40}$"
)
_LIMITED = re.compile(
    r"\b(?:limit|keep|restrict|cap) (?!to |under |within |below )(?:(?:the|your|its|their|each"
    r"|every|all|my|any) )?"
    r"(?:[\w-]{1,16} ){0,2}?([\w-]{1,24}) (?:to|under|within|below|at|in|shorter|between"
    r"|no)\b[^.;:!?\n]{0,20}$"
)
_LABEL = re.compile(
    r"\b(títulos?|titre|titel|titolo|заголов\w{2,3}|название|assunto|oggetto|title"
    r"|headline|heading|subject(?: line)?|body|abstract|caption|tagline|intro\w*|conclusion|preview"
    r"|meta(?: description)?|sub-?(?:head\w*|title|line)|cta|button|label|lede?|alt text|hook"
    r"|preheader)s?\b"
    r" ?[(:,=–-]{0,2} ?(?:(?:of|with|in|at|most|up|to|max\.?|maximum|under|within|about|around|no"
    r"|more|than|less"
    r"|fewer|between|exactly|is|should|be|com|con|de|di|до|не|более|из|máximo|massimo|al|até|no) ){0,4}$"
)
"""The name of a part right before an amount: "title max 30 characters"."""
_PARTS_BEFORE = re.compile(
    r"\b(?:paragraphs|sentences|chapters|sections|stanzas|slides|verses|lines|steps) "
    r"(?:(?:of|with|in|at|most|up|to|max\.?|under|within|about|no|more|than|less|fewer|exactly|only) ){1,4}"
    r"$"
    r"|\b(?:parágrafos|frases|capítulos|seções|paragrafi|frasi|capitoli|абзацы|абзацами|главы|предложения)"
    r" (?:[^\W\d_]{1,10} ){1,4}$"
    r"|(?:タイトル|見出し|件名|[^\s、。]名|パスワード|要旨|概要|キャプション|标题|摘要"
    r"|제목)[は：:][^。、\n]{0,4}$"
    r"|(?:1|一)(?:問|つ|個|件|行)(?:あたり|につき|は|に)?$"
)
"""Parts, of which each has the length: "paragraphs of 50 words"."""
_VARIANTS = re.compile(r"[\d一二三四五六七八九十] ?(?:案|種類|パターン|候補)")
"""Several short texts, to each of which a limit in characters applies."""
_ENUMERATED_AFTER = re.compile(r"[^()()\n]{0,12}(?:\)(?:,| and\b| plus\b)|[))][がはとも、])")
"""One of several things in a list: "a headline (max. 8 words), a button"."""
_LABEL_AFTER = re.compile(
    r"[^。、\n]{0,4}の(?:タイトル|見出し|件名|本文|要旨|概要|導入|リード"
    r"|キャプション)(?:を?[付つ添]|(?![をに]))"
)
_TEXTS = frozenset((
    "it", "this", "that", "you", "i", "we", "everything", "answer", "answers", "response", "responses",
    "reply", "replies", "output", "text", "essay", "story", "article", "summary", "report",
    "explanation", "poem", "review", "speech", "letter", "email", "e-mail", "mail", "paper", "length",
    "count", "post", "message", "description", "draft", "piece", "total", "whole", "content", "result",
    "each", "one", "they", "them", "yourself", "novel", "tweet", "translation", "version", "writing",
    "blog", "script", "document", "antwort", "antworten", "aufsatz", "länge", "réponse", "texte",
    "respuesta", "texto", "ensayo",
))  # fmt: skip
"""What stands for the answer."""
_OBJECT = re.compile(
    rf"\b(?:{_DO}|cut|shorten|trim|condense|polish|edit|improve|revise|need|want|an|a) "
    r"((?:(?!(?:whose|with|including|that|which|in|for|of|on|about|has|to|and|where)\b)"
    r"[\w-]{1,20}(?: |(?![\w-]))){1,6})"
)

_BARE_CHOICE = re.compile(
    rf"(?:^|[.!?:;,、\n] ?|\b(?:please|then|and|to|you|puis|und|dann|et|y|luego) )(?:also )?{_DO}\b"
    r"|\b(?:(?:each|every) (?:of|question|statement|item|line|one|claim)|questions|statements"
    r"|quiz|buttons?|forms?|app|page|function|program|prompt|dialog)\b"
    rf"|{_WIDE_NEXT}|それぞれ|各|クイズ|問題|アンケート|(?:を|も|に)(?:\d+\S{{0,3}}|すべて|全部)?"
    r"(?:書い|作っ|挙げ|(?:作成|生成|列挙|実装|翻訳)し|訳し)て(?:くだ|下さ|ほし|欲し|くれ|もら"
    r"|[。、！!\s]|$)"
    r"|写|编|列出|小論文|퀴즈|작성|만들"
)
"""More than a choice is asked for."""


def is_lifted(window: str, start: int, end: int) -> bool:
    """Whether a limit is said not to hold: "don't limit yourself to 50 words", "ignore the 50-word limit".

    Args:
        window: the text, in lower case.
        start: where the amount begins.
        end: where it ends.
    """
    return bool(
        _LIFTED_BEFORE.search(_clause(window, start))
        or (not window.isascii() and _LIFTED_AFTER.match(window[end : end + _AFTER]))
    )


def is_superseded(window: str, end: int) -> bool:
    """Whether another length is said to hold instead: "in one word? No, in 10 pages".

    Args:
        window: the text, in lower case.
        end: where the amount ends.
    """
    return _SUPERSEDED.search(window[end : end + 2 * _AFTER]) is not None


def is_of_another(window: str, start: int, end: int) -> bool:
    """Whether an amount is one of something else than the answer: "names must be at most 20 characters".

    A subject that the text asks for is no other: "write a slogan; the slogan has at most 5 words".

    Args:
        window: the text, in lower case.
        start: where the amount begins.
        end: where it ends.
    """
    before = _clause(window, start)
    if _RELATIVE.search(before) or _TELLS.search(before) or _PARTS_BEFORE.search(before):
        return True
    if not window[end - 1].isascii() and _VARIANTS.search(window):
        return True
    if _ENUMERATED_AFTER.match(window, end) or _LABEL_AFTER.match(window, end):
        return True
    that = _THAT.search(before)
    if that and not _OF_THE_WHOLE.search(that[1]):
        return True
    named = _SUBJECT.search(before) or _LIMITED.search(before) or _LABEL.search(before)
    return bool(named) and not _stands_for_answer(window, named[1] if named else "")


def last_tasks(window: str) -> tuple[int, int]:
    """Where the last further task of a text begins, and its last sentence that may be one; −1: none is.

    "…in 50 words, then write the contract"; "Define it in 50 words. Write the contract.".
    """
    further = [found.start() for found in _THEN.finditer(window)]
    sentences = [found.start() for found in _NEXT_TASK.finditer(window)]
    return (further or [-1])[-1], (sentences or [-1])[-1]


def states_a_task(window: str, start: int) -> bool:
    """Whether the sentence of an amount asks for something itself, unlike "at most 50 words.".

    Args:
        window: the text, in lower case.
        start: where the amount begins.
    """
    return _OWN_TASK.match(_clause(window, start).lstrip()) is not None


def works_on_several(window: str) -> bool:
    """Whether a text numbers three things or more, for each of which a short answer may be asked."""
    return (
        ("3)" in window and "2)" in window)
        or ("\n3." in window and "\n2." in window)
        or "③" in window
        or "(c)" in window
    )


def asks_for_a_choice(window: str) -> bool:
    """Whether a text that names two choices, such as yes and no, asks for nothing but one of them."""
    return not _BARE_CHOICE.search(window)


def _clause(window: str, start: int) -> str:
    """What stands before a place in its sentence, at most :data:`_BEFORE` characters."""
    return _SENTENCE_END.split(window[max(0, start - _BEFORE) : start])[-1]


def _stands_for_answer(window: str, noun: str) -> bool:
    if noun in _TEXTS:
        return True
    stem = noun.rstrip("s")
    return any(
        found[1].rstrip().rsplit(" ", 1)[-1].rstrip("s") == stem
        for found in _OBJECT.finditer(window)
    )
