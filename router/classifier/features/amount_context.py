"""What stands around an amount of text: a wish for as much, a fact about some text, or a refusal.

"A story of 2,000 words" is a wish; "the book has 50,000 words", "in 1984 words mattered" and "do not write
2,000 words" are none. An amount is a wish unless its sentence says otherwise, since a wish that is missed
costs more than a fact that is taken for one. The vocabulary is English and Japanese.
"""

from __future__ import annotations

import re

__all__ = ["is_wish"]

_BEFORE, _AFTER = 100, 24
"""Characters read before and after an amount, in its sentence."""
_SENTENCE_END = re.compile(r"[!?\n。！？]|\.(?=\s)")

_ASKS = (
    r"(?:write|compose|draft|create|generate|produce|craft|give me|make|provide|prepare|ensure|explain"
    r"|describe|summari[sz]e|discuss|tell|answer|respond|reply|need|want|please|should|must|shall|will"
    r"|would|may|can|each|every|to|length|limit|count|target|max(?:imum)?|min(?:imum)?|size|goal"
    r"|assignment|output|format|essay question)"
)
_ASKS_BEFORE = re.compile(rf"\b{_ASKS}\b")
_ABOUT = (
    r"(?:about|around|only|just|roughly|approximately|over|nearly|almost|exactly|some|more|less|fewer|than"
    r"|at|least|most|up|to|well|a total|of|already|currently|under|now)"
)
_FACT_BEFORE = re.compile(
    r"(?:\b(?:has|have|had|having|contains?|contained|containing|comprises?|comprising|consists? of|is|was"
    r"|are|were|totals?|totalling|totaling|runs(?: to)?|ran to|sold|spans)"
    r"|\b(?:i|we|he|she|they|who)(?:['’](?:ve|d)| have| has| had)? "
    r"(?:wrote|written|read|learned|learnt|typed|know|knew|translated|finished|memori[sz]ed))"
    rf"(?: {_ABOUT}){{0,4}} $"
)
_ASIDE = re.compile(r",? which (?:has|have|had|is|was|contains?|contained|runs)\b[^,]*$")
_GIVEN_BEFORE = re.compile(
    r"\b(?:these|those|(?:here|this|that|attached)(?:['’]s| is| was) an?|how (?:long|many|much)\b[^,:]*) $"
)
_NOT_BEFORE = re.compile(
    r"\b(?:(?:do not|don['’]?t|never|need not|needn['’]t|should not|shouldn['’]t|must not|mustn['’]t"
    r"|no need (?:to|for)|not)(?: (?:me|us|write|give|make|produce|create|generate|send|draft|want|need|use"
    r"|type|output|return|reply|answer|respond|waste|spend|with|in|an?|the|another|any|some|be|have)){0,5}"
    r"|(?:instead of|rather than|without)(?: writing)?(?: an?| the)?) $"
)
_YEAR = re.compile(r"(?:1[5-9]|20)\d\d[ -]")
_YEAR_BEFORE = re.compile(r"\b(?:in|since|by|after|before|until|from|during|around|circa) $")
_VERB_AFTER = re.compile(
    r" (?:\w{2,12}ed|were|are|had|have|was|could|would|became|meant|mean|matter|did|can|began|came|got"
    r"|took)\b"
)
_RATE_AFTER = re.compile(
    r" ?(?:per|an?|/|each) ?(?:min(?:ute)?|hour|day|week|month|year)\b| (?:were|was|have been|had)\b"
)
_ASKS_AFTER = re.compile(r"文字数|字数|条件|目安|指定|制限|上限|以内|以上|以下|程度|분량")
_NOT_WIDE_AFTER = re.compile(
    r"(?:も|は|を|で|まで|程度|ほど|も?の(?:文章|長文|エッセイ|記事|作文)[をは]?){0,2}"
    r"(?:書か(?:ない|なくて)|書く必要[はが]?な|いらない|いりません|要りません|不要|必要[はが]?(?:ない|ありません))"
)
_FACT_WIDE_AFTER = re.compile(
    r"(?:以上|ほど|くらい|程度|近く|も)?(?:[がも]?(?:ある|あります|あった|ありました|あり、|あって)|です|でした|だった|だ[。、]"
    r"|の(?:本|小説|論文|原稿|長編)(?:を(?:読|要約|訳|添削|渡|送)|[がは、]))"
)


def is_wish(window: str, start: int, end: int) -> bool:
    """Whether an amount of text is asked for, not told of a text or refused.

    Args:
        window: the text, in lower case.
        start: where the amount begins.
        end: where it ends.

    Returns:
        Whether its surroundings say nothing against a wish.
    """
    before = _SENTENCE_END.split(window[max(0, start - _BEFORE) : start])[-1]
    after = _SENTENCE_END.split(window[end : end + _AFTER], maxsplit=1)[0]
    if not window[start].isascii() or not window[end - 1].isascii():
        fact = _FACT_WIDE_AFTER.match(after) and not _ASKS_AFTER.search(before + after)
        return not fact and not _NOT_WIDE_AFTER.match(after)
    if _NOT_BEFORE.search(before) or _GIVEN_BEFORE.search(before) or _RATE_AFTER.match(after):
        return False
    if _YEAR.match(window, start) and _YEAR_BEFORE.search(before):
        return not _VERB_AFTER.match(after)
    told = _FACT_BEFORE.search(before)
    return not (
        told and (_ASIDE.search(before) or not _ASKS_BEFORE.search(before, 0, told.start()))
    )
