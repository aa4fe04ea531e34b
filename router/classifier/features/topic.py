"""Whether a short message brings a topic of its own, or stays with what was said before it.

Words are told apart by their first letters, Japanese ones by runs of one script. Words that any answer may be
spoken of with, such as «version» and «shorter», are of no topic.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import Enum

from router.classifier.features.head_and_tail import head_and_tail

__all__ = ["LONGEST", "Topic", "topic_of"]

LONGEST = 120
"""Characters of the longest message that is judged; a longer one is a request of its own."""
_OWN_WORDS = 4
"""New words, none of them said before, by which a message has a topic of its own."""
_CONTEXT = 1500
"""Characters read from each end of a message before it."""
_STEM, _FOUND_ANYWHERE = 5, 4
"""First letters by which words are told apart, and the fewest that are looked for within words."""
_SHORT_WORDS, _SHORT_SIGNS = 3, 12
"""The longest message with one new word that stays with the topic: words, and characters of Japanese."""

_LATIN = re.compile(r"[a-zà-ÿ][a-zà-ÿ0-9+#]+")
_WIDE = re.compile(r"[\u4e00-\u9fff々](?<!何)[\u4e00-\u9fff々]+|[\u30a1-\u30fa\u30fc]{2,}")
_IS_WIDE = re.compile(r"[\u3040-\u30ff\u4e00-\u9fff]")
_LATIN_OF_NO_TOPIC = """
a about above actually add added adding again all already also am an and another answer any anyway are
around as at back be because been before best better bit both bottom but by can case change code
corrected correct could cut detail details did different do does doing done double down draft drop each
earlier either else end ending even every everything exactly example examples expand explain extra few
finish first fix follow for format formal from full further get give given go going good great had half
happen happens has have he help her here him his how i idea if im improve in include informal instead
into is isn it its just keep know language last leave left less let like line lines list long longer
look looks made main make many maybe me mean means mention might mine more most much must my need needs
new next nice no not now of off ok on once one ones only option or order other our out over own
paragraph part parts per perhaps please point points possible problem put question quick quite rather
read really reason remark remove reply rest result results review rewrite right run same say second
section see seems sentence sentences set shall she short shorter should show simple simply since skip so
solution some something soon sort start step steps still stop style such sum sure table take tell text
than thank thanks that the their them then there these they thing things think third this those though
three through title to tone too top translate try turn two until up us use used using version very want
was way we well were what when where whether which while who whole why will with without word words work
works worth would write wrong yes yet you your bullet bullets bulleted numbered
"""
_WIDE_OF_NO_TOPIC = """
文章 説明 理由 具体 具体例 例文 詳細 簡単 簡潔 表現 追加 削除 修正 変更 部分 最初 最後
全部 全体 結論 要約 箇条書 番目 途中 以上 以下 今度 一番 方法 場合 意味 本当 必要 大事
大切 問題 質問 回答 答え 説明文 表形式 前者 後者 両方 日本語 英語 パターン バージョン
リスト タイトル ポイント スタイル トーン ステップ コード
"""
_OF_NO_TOPIC = frozenset(word[:_STEM] for word in _LATIN_OF_NO_TOPIC.split())
_GENERAL = frozenset(_WIDE_OF_NO_TOPIC.split())
_ABOUT_A_WORD = re.compile(
    r"\b(?:stands? for|spell|spelled|plural of|synonym|acronym|abbreviat|pronounce the)|何の略"
    r"|何て読|読み方は|英語で(?:何|言)"
)
"""A question about a word, which is one of its own though the word was said before."""
_ASKS_OF_ITS_OWN = re.compile(
    r"(?:what(?:'?s| is| are)|who(?:'?s| is)|define|describe|prove|derive|translate|calculate"
    r"|solve|name) "
)
_WANTS = re.compile(r".*(?:とは|証明|教えて|導出|書いて|作って|説明|計算|[？?]$)")


class Topic(Enum):
    """What a message is about, compared with what was said before it."""

    SAME = "same"
    UNCLEAR = "unclear"
    OWN = "own"


def _words(text: str) -> list[str]:
    """The words of a topic, Latin ones by their first letters."""
    latin = [word[:_STEM] for word in _LATIN.findall(text)]
    return [word for word in latin if word not in _OF_NO_TOPIC] + [
        word for word in _WIDE.findall(text) if word not in _GENERAL
    ]


def _known(word: str, said: str) -> bool:
    if _IS_WIDE.match(word):
        # Compounds are written without spaces: two signs of one are enough.
        return any(word[place : place + 2] in said for place in range(len(word) - 1))
    return word in said if len(word) >= _FOUND_ANYWHERE else f" {word}" in said


def topic_of(text: str, before: Iterable[str]) -> Topic:
    """Whether a message has few words that are neither general nor said before.

    Args:
        text: of the message.
        before: what was said before it: the task, and answers. At most 3,000 characters of each are read.
    """
    text = text.strip().lower()
    if len(text) > LONGEST or _ABOUT_A_WORD.search(text):
        return Topic.OWN
    words = _words(text)
    if not words:
        return Topic.SAME
    said = " " + " ".join(head_and_tail(one, _CONTEXT) for one in before).lower()
    again = sum(_known(word, said) for word in words)
    new = len(words) - again
    if again:
        return Topic.SAME if new <= again + 1 else Topic.UNCLEAR
    if new == 1 and _is_brief(text):
        return Topic.SAME
    return Topic.OWN if new >= _OWN_WORDS else Topic.UNCLEAR


def _is_brief(text: str) -> bool:
    if _IS_WIDE.search(text):
        return len(text) <= _SHORT_SIGNS and not _WANTS.match(text)
    return text.count(" ") < _SHORT_WORDS and not _ASKS_OF_ITS_OWN.match(text)
