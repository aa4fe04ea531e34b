"""How long an answer is that works on a given text: a translation, a correction, a choice, an extract.

Such an answer is about as long as the text, or as the options are. That holds only where the instruction is
clear and the only request: reasons, several versions, an expansion or a program make it longer, so that
nothing is bounded. The text stands after a colon, in quotation marks, in the lines below the instruction, or
above an instruction that says so.
"""

from __future__ import annotations

import math
import re

from router.classifier.features.token_density import WIDE
from router.classifier.features.vocabulary import has_any
from router.classifier.features.whole_text import SIGNS, is_code, whole_text_size
from router.classifier.features.work_size import POLITE_WORDS, AnswerSize, Work, text_tokens

__all__ = ["answer_of_given"]

_TRANSLATION = Work(0.5, (1.3, 8.0), (1.9, 110.0))
_CORRECTION = Work(0.5, (1.15, 10.0), (2.2, 100.0))
_REWRITING = Work(0.0, (1.3, 25.0), (3.0, 110.0))
_EXTRACT = Work(0.0, (0.8, 10.0), (1.3, 80.0))
"""Models add remarks and other wordings, most of all to short texts: in shaberi a translation of 63 tokens
has 76 at the median and 174 at the ninth decile, by models of today 89 and 237; an address of 15 tokens has
55 and 212."""
_BARE_CHOICE, _CLASS = AnswerSize(0.0, 3.0, 40.0), AnswerSize(0.0, 25.0, 120.0)
"""Of classes in brackets or yes and no, and of classes that are named. In alpaca_eval a classification has 14
to 36 tokens, and 80 to 110 at the ninth decile."""
_AMOUNT = AnswerSize(0.0, 40.0, 160.0)
"""An amount in another unit, with or without the calculation."""
_KEY_TOKENS = 8.0
"""Tokens of a named key with its signs."""

_LONGEST_INSTRUCTION = 250
"""Characters. A longer instruction has conditions that say more of the answer than the given text does."""
_LONGEST_WIDE = 70
"""The same in Chinese, Japanese and Korean."""
_HEAD = 600
"""Characters at both ends of a given text in which rules are looked for. Its script is that of its head."""
_LONGEST_AMOUNT = 60
"""Characters of a conversion of an amount."""
_TAIL = 160
"""Characters at the end of a given text in which a second request is looked for."""

_POLITE = rf"(?:^|[.!?\n] ?)[^\w\n]{{0,3}}{POLITE_WORDS}"
_NO_NOUN = r"(?!する|した|され|を行|하는|하려|하도록|할|된|한 )"
"""What follows a verb of Japanese and Korean that describes something and asks for nothing."""
_VERBS = (
    (
        _TRANSLATION,
        r"translat(?:e|ing)|übersetz\w*|tradui[sr]e?\w*|traduc\w*|traduzca\w*",
        r"翻訳|訳し|訳せ|翻译|译成|译为|번역|옮겨",
    ),
    (
        _CORRECTION,
        r"correct(?! order)|proofread|(?:fix|check|improve|correct) (?:(?:the|any|all|my|this|its) )*"
        r"(?:grammar|spelling|punctuation|typos?|mistakes|errors)|korrigier\w*|verbesser\w*"
        r"|corrige\w*|corrija\w*",
        r"校正|添削|誤字|文法を直|修正して|纠正|改正|改错|교정|맞춤법|고쳐",
    ),
    (
        _REWRITING,
        r"rewrite|rephrase|paraphrase|reword|make (?:this|it|the \w+) (?:sound )?(?:more )?(?:polite|formal"
        r"|friendly|professional|concise|shorter)|formulier\w*|umschreib\w*|schreib\w* [^:\n]{0,40}\bum\b"
        r"|reformule\w*|réécri\w*|paraphras\w*|reescrib\w*|reformula\w*|parafrase\w*",
        r"書き換え|書き直|言い換え|直して|敬語に|改写|润色|改成|换句话|바꿔|다듬",
    ),
    (
        _EXTRACT,
        r"extract|pull out|extrahier\w*|extrai(?:re|s|yez)|extra[ei]g?a?",
        r"抽出|取り出|抜き出|提取|抽取|추출|뽑아",
    ),
)  # fmt: skip
_WORKS = tuple(
    (work, re.compile(rf"{_POLITE}(?:{latin})\b|(?:{wide}){_NO_NOUN}"))
    for work, latin, wide in _VERBS
)
_CHOOSES = re.compile(
    r"\b(?:classif\w+|categori[sz]e\w*|label|sentiment|tag|klassifizier\w*|ordne|stimmung|classe[rz]?"
    r"|catégorise\w*|clasific\w*|sentimiento)\b"
    r"|分類(?:し|せよ|を?$|：|。)|感情|分类|情感|분류해|감정"
)
_OPTION = r"[^\s()/,:、，：]{1,24}(?: [^\s()/,:、，：]{1,24}){0,2}"
_KIND = (
    r"(?:positive?|negative?|neutral|favou?rable|spam|ham|happy|sad|angry|formal|informal|toxic|sarcastic"
    r"|serious"
    r"|sincere|positiv|negativ|positif|négatif|neutre|positiv[oa]|negativ[oa]|neutr[oa]l?)"
)
_EITHER = re.compile(
    rf"\b(?:is|are|ist|sind|est|es|é|è) (?:the |this |these |it |die |diese[rs]? |das |cette? |cet |ce "
    rf"|est[ea] |esta |"
    rf"quest[ao] )?(?:following )?(?:[\w-]{{1,16}} ){{0,3}}{_KIND},? (?:{_KIND},? )?(?:or|oder|ou|o"
    rf"|u) (?:not )?{_KIND}\b"
    r"|(?:肯定的|ポジティブ|好意的)か、?(?:否定的|ネガティブ|批判的)|是?(?:正面|积极)(?:还是|或)(?:负面"
    r"|消极)|긍정(?:적)?인지 부정"
)
"""A question about a given text that names the two answers."""
_FEELING = re.compile(
    r"\b(?:what(?:['’]s| is)|determine|give|state|identify|detect|classify) the sentiment\b"
)
_BRACKETS = re.compile(
    rf"[(\[（【]{_OPTION}(?: ?(?:/|\||,|、|，|・) ?{_OPTION}){{1,11}}[)\]）】]"
    rf"|\b\w+/\w+/\w+\b"
)
_NAMED = re.compile(
    r"\b(?:as|into|in|als|en|comme|como|one of|or not)\b[^:\n]{1,120}?"
    r"\b(?:or|and|oder|und|ou|et|o|y|u|not)\b|\bor not\b|か(?:どうか|、)|[、・/／]|还是|或|또는|인지"
)
_YES_NO = re.compile(
    r"\b(?:yes or no|yes/no|y/n|true or false|true/false|ja oder nein|ja/nein|oui ou non|oui/non"
    r"|s[íi] o no|s[íi]/no)\b|(?:はい|イエス)(?:か|または|・|/|／)(?:いいえ|ノー)"
    r"|是(?:或|还是|/|／)(?:否|不是)|(?:예|네)(?:/|,|나| 또는 )(?:아니오|아니요)"
)
_OTHERS = re.compile(
    r"\b(?:explain\w*|why|reason\w*|justif\w*|because|list|compar\w*|describ\w*|summar\w*|anal[yi]\w*"
    r"|discuss|versions|options|alternatives|variants|variations|ways|styles|languages|pronunciation"
    r"|word[- ](?:by|for)[- ]word|breakdown|story|poem|essay|article|blog|song|novel|scripts?|expand\w*"
    r"|longer|elaborat\w*|detail\w*|lengthen|extend|continue|code|function|prompts?|program\w*|python|java\w*"
    r"|ruby|rust|sql|query|regex\w*|html|formula|also|then|each"
    r"|(?:with|add|and) (?:\w+ )?(?:notes?|comments?)|step|how|add|feedback"
    r"|calcul\w*|compute|impli\w*|effet|score|rate|confidence|evidence|suggest\w*|tips"
    r"|lesson|quiz|posts?|linkedin|tweet|caption|ads?|press release|pitch|dialog\w*"
    r"|e-?mail (?!addr)|email$|flag"
    r"|and (?:(?:in )?(?:one|an?|two|three) (?:\w+ )?(?:sentences?|lines?|words?)"
    r"|write|draft|create|generate|make|build|rank|translate|give|tell|answer|reply|respond)"
    r"|(?:two|three|four|five|several|multiple|\d+) (?:\w+ )?(?:times|ways)|(?:different|various) \w+s|tones"
    r"|erklär\w*|begründ\w*|warum|liste|versionen|varianten|gedicht|geschichte|aufsatz|code|ausführlich\w*"
    r"|expliqu\w*|pourquoi|justifi\w*|versions|poème|histoire|détaill\w*|explica\w*|raz[oó]n\w*|por qué"
    r"|versiones|poema|historia|detallad\w*)\b"
    r"|理由|説明|解説|根拠|基準|結論|ルールを|設計|作って|作成|論じ|比較|比べ|示し|示す|一覧|注記|注釈"
    r"|指摘|検討|疑い|チェック|種に|変えた点|別解|採点|優先|なぜ|また、|さらに|それぞれ|各|プロンプト|複数"
    r"|パターン|案を|小説|詩に|記事|投稿|詳しく|コード|関数|語[とや・、]"
    r"|方法|違い|とは|コツ|解释|注明|根据|结论|比较|为什么|理由|说明|并且|分别|多种|版本|故事|诗|详细|代码"
    r"|方法|提示词"
    r"|까지|근거|비교|결론|작성|이유|설명|왜|그리고|각각|여러|버전|이야기|자세히|코드|함수|프롬프트|방법"
)
_GIVEN_KIND = re.compile(
    r"\b(?:this|the|my|our|following|given|diese[nms]?|den|die|das|ce|cet|cette|este|esta|el|la)"
    r" (?:following )?(?:e-?mail|article|essay|poem|song|story|post|tweet|comment|review|report|text)\b"
)
"""A kind of text that is given; "rewrite this as an e-mail" makes one."""
_JOINED = re.compile(
    r"(?:\band|&|\bund|\bet|\by|,) (?!(?:the |their )?(?:spelling|grammar|punctuation|correct\w*|fix|improv"
    r"|clar|clear|concis|polite|friendl|formal|natural|professional|polish|simpl|rephras|rewrit"
    r"|rechtschreib|orthogra|ortogra|gramm|gramá|nothing|only|output|return|reply|no |neutral|more |please"
    r"|keep|preserv|without|for |in |using|don|so |as |while|bitte|por ))"
)
"""A second object or request: "into French and German", "and count the words"."""
_SECOND = re.compile(
    r"(?:^|[.!?\n\"”»'’)]\s*|, )(?:(?:and|then|also|finally|plus|after(?:wards| that)?|please|now|next"
    r"|briefly|und|dann|et|puis|y|luego)[ ,]+){0,4}(?:please )?(?:explain|list|describe|tell me|write|give"
    r"|add|include|discuss|compare|analy[sz]e|provide|summari[sz]e|what|why|how|show|justify|erkläre?"
    r"|begründe|explique[rz]?|explica)\b[^.!?\n]{0,90}[.!?]?\s*$"
    r"|(?:また|さらに|その後|そして|次に|理由|説明|解説)[^。\n]{0,30}(?:て|さい|下さい)。?$"
    r"|(?:并|然后|再)[^。\n]{0,8}(?:解释|说明|列)[^。\n]{0,20}。?$|(?:이유|설명)[^.\n]{0,20}(?:줘|세요"
    r"|라)\.?$"
)
_RULES_BELOW = re.compile(
    r"^\W{0,4}(?:rules?|requirements?|output|format|instructions?|steps?|constraints?|tasks?|guidelines?"
    r"|questions?|regeln|aufgaben?|règles|reglas|条件|要件|出力|要求|ルール|조건)\b",
    re.MULTILINE,
)
"""What is given below is more of the instruction."""
_FORMAT = re.compile(
    r"\b(?:tables?|tabelle|tableau|tabla|json|yaml|csv|xml|icalendar|markdown|latex|bullets?|checklist)\b"
    r"|表[にで（(：]|箇条書き|表格|표로|목록"
)
"""A text in another format has more signs than words."""
_EACH_LINE = re.compile(
    r"\btranslate (?:each|every) (?:line|row|sentence|paragraph|entry|item|message)\b"
)
"""A translation that may stand beside its original, so that it has no greatest length."""
_FORMAT_TIMES = 1.4
_SEVERAL = re.compile(
    r"\b(?:all that apply|multi-label|these|each|tickets|comments|reviews|items|messages|e?-?mails"
    r"|estos|estas|diese|folgenden \w+s|ces"
    r"|je eine[rnm]?|lines|rows)\b|それぞれ|各|ずつ|一件"
)
_ITEM = re.compile(r"(?:^|\n|[,;、。：:] ?)\s*(?:\d{1,2}[.)]|[-*•・])|[;；]|\n", re.MULTILINE)
_FEW_ITEMS = 2
"""Signs of items in a given text up to which it is one thing to classify."""
_ABOVE = re.compile(
    r"\b(?:above|this text|the text|oben|obig\w*|ci-dessus|anterior|arriba)\b|上の|上記|以上|위"
)
_CLOSING = {'"': '"', "“": "”", "«": "»", "「": "」", "『": "』", "‘": "’", "'": "'"}
_QUOTE = re.compile(
    r"(?<!\w)(?:\"[^\"\n]+\"|“[^”\n]+”|«[^»\n]+»|「[^」\n]+」|『[^』\n]+』|‘[^’\n]+’|'[^'\n]+'(?!\w))"
    r"|(?<=[を把将])(?:「[^」\n]+」|“[^”\n]+”)"
)
_MENTION = re.compile(r"の|から|という|について|が|も|と|的|의|에서| ?(?:section|by|from|in the)\b")
"""What follows a name or a title in quotation marks, which is no text to work on."""
_MEASURE = re.compile(
    r"(?<![^\W\d_])(?:k?m|[cm]m|k?g|mg|lbs?|oz|f(?:ee)?t|foot|inch\w*|yards?|miles?|\w*met(?:er|re)s?"
    r"|\w*grams?"
    r"|pounds?|ounces?|tons?|[fck]|celsius|fahrenheit|kelvin|lit(?:er|re)s?|ml|gallons?|cups?|mph|km/h|usd"
    r"|eur"
    r"|gbp|jpy|dollars?|euros?|yen|hours?|minutes?|seconds?|bytes?|[kmgt]i?b|binary|decimal|hex\w*|percent\w*"
    r"|fraction|roman|mmol/l|meilen|kilomet\w*|milles?|millas|libras|pouces)(?![^\W\d_])|°|%"
    r"|メートル|マイル|キロ|グラム|ポンド|インチ|フィート|摂氏|華氏|平米|坪|円|英里|公里|磅|英尺|米|마일"
    r"|킬로|파운드"
)
_MARKS = (":", "：", "\n", *_CLOSING)
"""One of these is where a given text begins."""
_COLON = re.compile(r"：|:(?=\s|$|[\"“«「])")
_KEYS = re.compile(
    r"(?:\bkeys?\b|\bfields?\b|\bjson\b|キー|フィールド|键|字段|키)([^:：\n]{0,120})"
)
_SIGNS = (
    *SIGNS,
    "ranslat", "orrect", "roofread", "rammar", "pelling", "punctuation", "typo", "write", "hrase", "word",
    "make ", "xtra", "pull out", "bersetz", "korrig", "verbess", "formul", "schreib", "tradu", "corri",
    "écri", "scrib", "lassif", "tegori", "label", "etermin", "decide", "entim", "tag", "is ", "ordne",
    "stimmung", "lasific", "classe", "est-ce", "es es", "yes", "true", "ja ",
    "ja/", "ist ", "positiv", "ポジ", "肯定", "正面", "积极", "긍정", "oui", "y/n", "sí", "si ",
    "訳", "译", "校", "添", "誤", "直し", "改", "書き", "言い", "敬語", "润", "换", "纠", "修正", "抽", "取",
    "抜", "提", "分", "判", "感", "情", "はい", "是",
    "번역", "옮겨", "교정", "맞춤", "고쳐", "바꿔", "다듬", "추출", "뽑", "분류", "판단", "감정", "예", "네",
)  # fmt: skip
_CONVERTS = re.compile(
    r"(?:please )?(?:convert|konvertiere|rechne|convertis\w*|convierte\w*|convertir"
    r"|how (?:much|many)[^?]{0,20}is)"
    r" [-\d.,]+ ?[^\d\n.:]{0,24}\b(?:to|into|in|en|à|a)\b [^\n.:?]{1,24}(?: um)?[.?!]?"
    r"|[-\d.,]+ ?[^\d\n。.:]{1,12}[をは는은를을] ?[^\n。.:]{1,10}(?:変換|換算|변환|환산)[^\n]{0,10}"
    r"|(?:把|将)?[-\d.,]+ ?[^\d\n。.:]{1,12}(?:转换|换算)[^\n]{1,12}"
)


def _split(text: str) -> tuple[str, str] | None:
    """The instruction and the text that it is given; none where one of them is missing."""
    first = text.find("\n")
    head = (text if first < 0 else text[:first])[: _LONGEST_INSTRUCTION + 1]
    quote, colon = _QUOTE.search(head), _COLON.search(head)
    if colon and not (quote and quote.start() < colon.start()):
        given = text[colon.end() :].strip()
        instruction = text[: colon.start()]
        closing = _CLOSING.get(given[:1])
        end = given.rfind(closing) if closing else -1
        if end > 0:
            instruction, given = f"{instruction} {given[end + 1 :]}", given[: end + 1]
    elif first >= 0:
        last = text.rfind("\n\n")
        tail = text[last:].strip()
        if last > 0 and len(tail) <= _LONGEST_INSTRUCTION and _ABOVE.search(tail):
            instruction, given = tail, text[:last]
        else:
            instruction, given = text[:first], text[first:].strip()
    elif quote and not _MENTION.match(text, quote.end()) and not _QUOTE.search(text, quote.end()):
        instruction, given = text[: quote.start()] + text[quote.end() :], quote[0]
    else:
        return None
    wide = not instruction.isascii() and WIDE.search(instruction)
    if not given or len(instruction) > (_LONGEST_WIDE if wide else _LONGEST_INSTRUCTION):
        return None
    return instruction, given


def _is_only_request(instruction: str, given: str) -> bool:
    said = _GIVEN_KIND.sub("it", instruction)
    return not (_OTHERS.search(said) or _SECOND.search(given[-_TAIL:]) or "```" in given)


def _choice(instruction: str) -> AnswerSize | None:
    if _YES_NO.search(instruction):
        return _BARE_CHOICE
    if _EITHER.search(instruction):
        return _CLASS
    if not _CHOOSES.search(instruction):
        return None
    if _BRACKETS.search(instruction):
        return _BARE_CHOICE
    return _CLASS if _NAMED.search(instruction) or _FEELING.search(instruction) else None


def answer_of_given(text: str, left_out: int = 0) -> AnswerSize | None:
    """How long an answer is that works on a given text.

    Args:
        text: in lower case, without white space around it.
        left_out: characters that are missing in its middle, ≥ 0.

    Returns:
        ``None`` where no text is given, the instruction is not clear, or something else is asked for too.
    """
    if len(text) <= _LONGEST_AMOUNT and _CONVERTS.fullmatch(text) and _MEASURE.search(text):
        return _AMOUNT
    if not has_any(_MARKS, text) or not has_any(_SIGNS, text):
        return None
    parts = _split(text)
    if parts is None:
        return None
    instruction, given = parts
    rules = _RULES_BELOW.search(given[:_HEAD]) or _RULES_BELOW.search(given[-_HEAD:])
    if not rules and has_any(SIGNS, instruction):
        second = _SECOND.search(given[-_TAIL:]) is not None
        if whole := whole_text_size(instruction, given, left_out, more=second):
            return whole
    each_line = _EACH_LINE.search(instruction) is not None
    if rules or not _is_only_request(_EACH_LINE.sub("translate", instruction), given):
        return None
    if choice := _choice(instruction):
        several = (
            _SEVERAL.search(instruction.replace("ist diese ", ""))
            or len(_ITEM.findall(given[:_HEAD])) > _FEW_ITEMS
        )
        return None if several and not _YES_NO.search(instruction) else choice
    found = [work for work, verb in _WORKS if verb.search(instruction)]
    if not found:
        return None
    tokens = text_tokens(given, len(given) + left_out)
    if _EXTRACT in found:
        keys = _KEYS.search(instruction)
        more = _KEY_TOKENS * (1 + len(re.findall(r"[,、，]|\band\b", keys[1]))) if keys else 0.0
        written = _FORMAT_TIMES * tokens if _FORMAT.search(instruction) else tokens
        return _EXTRACT.size(written, more)
    if _JOINED.search(instruction) or _FORMAT.search(instruction) or is_code(given):
        return None
    size = found[0].size(tokens)
    return AnswerSize(size.least, math.inf, math.inf) if each_line else size
