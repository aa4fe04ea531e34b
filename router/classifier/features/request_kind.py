"""Features of the kind of answer a prompt asks for: an essay, a title, a list of ten, two sentences, a name.

The length of an answer depends mostly on the kind of request, and a few hundred past answers are too few to
learn it from vectors alone. The vocabulary is English and Japanese; for other languages the vectors must do.
"""

from __future__ import annotations

import math
import re

from router.classifier.features.head_and_tail import head_and_tail
from router.classifier.features.marked_pattern import MarkedPattern, shortest
from router.classifier.features.vocabulary import Vocabulary

__all__ = ["REQUEST_KIND_FEATURES", "WINDOW", "request_kind_features"]

WINDOW = 1000
"""Characters read from each end of a longer text: the request is at the beginning or at the end."""

_KINDS: dict[str, tuple[str, str]] = {
    "asks_long_text": (
        "essay article blog story novel script speech report letter proposal chapter screenplay dialogue"
        " thesis paper plan poem song lyrics lesson_plan business_plan cover_letter",
        "エッセイ 作文 物語 小説 記事 レポート 手紙 スピーチ 計画 台本 脚本 ブログ 企画書 論文",
    ),
    "asks_short_text": (
        "tweet slogan tagline title titles headline headlines caption haiku name names motto quote sentence"
        " one-liner subject_line",
        "俳句 タイトル 題名 見出し キャッチコピー 一言 ひとこと 標語 名前 一文",
    ),
    "asks_to_write": (
        "write compose draft generate create design develop make tell_me come_up",
        "書い 作成 作っ 作り 考え 生成 執筆 創作",
    ),
    "asks_code": (
        "code program function python javascript typescript java html css sql c++ rust bash regex api"
        " algorithm implement class method",
        "プログラム コード 関数 実装 アルゴリズム クエリ",
    ),
    "asks_list": (
        "list bullet bullets enumerate outline table recommend suggest ideas examples steps ways tips reasons"
        " suggestions recommendations give_me",
        "挙げ リスト 一覧 箇条書き 列挙 おすすめ オススメ アイデア 提案",
    ),
    "asks_brevity": (
        "brief briefly short concise concisely succinct succinctly only just tl;dr one_word single_word"
        " yes_or true_or no_explanation",
        "簡潔 短く 端的 のみ だけ 手短 要点",
    ),
    "asks_detail": (
        "detailed detail details comprehensive thorough thoroughly elaborate in-depth step-by-step long"
        " everything extensive exhaustive complete step_by in_depth",
        "詳しく 詳細 徹底 くわしく 具体的 丁寧 ステップ 長文",
    ),
    "asks_explanation": (
        "explain describe discuss compare contrast analyze analyse why difference differences advantages"
        " disadvantages pros cons how_do how_does how_can how_to how_would how_should",
        "説明 解説 比較 違い なぜ 分析 方法 理由 どのように メリット デメリット 教えて",
    ),
    "asks_to_transform": (
        "translate rewrite rephrase paraphrase edit correct fix proofread convert reformat improve simplify"
        " change transform",
        "翻訳 書き換え 訂正 校正 言い換え 変換 修正 訳し 直し",
    ),
    "asks_to_condense": (
        "summarize summarise summary extract identify classify categorize categorise label detect determine"
        " decide choose select pick match find fill_in which_of",
        "要約 まとめ 抽出 分類 判定 選ん 選び 見つけ",
    ),
    "asks_procedure": (
        "recipe cook bake ingredients itinerary workout meal schedule guide tutorial instructions",
        "レシピ 作り方 手順 旅程 献立 スケジュール ガイド",
    ),
    "asks_solution": (
        "solve calculate compute evaluate equation probability sum_of value_of how_many how_much",
        "解い 解き 計算 求め 方程式 確率 何個 いくら",
    ),
    "asks_role": (
        "imagine pretend roleplay role-play act_as you_are as_a as_an",
        "あなたは になりきって 演じ なったつもり",
    ),
}

_UNITS: dict[str, float] = {
    "word": 1.3, "words": 1.3, "sentence": 25, "sentences": 25, "paragraph": 90, "paragraphs": 90,
    "page": 500, "pages": 500, "line": 12, "lines": 12, "bullets": 25, "points": 25, "examples": 30,
    "ideas": 30, "tips": 40, "reasons": 40, "ways": 40, "questions": 20, "tweets": 40, "items": 25,
    "steps": 40, "things": 30, "facts": 30, "names": 5, "titles": 12, "headlines": 15,
    "文字": 1, "字": 1, "文": 30, "行": 20, "段落": 120, "つ": 40, "個": 40, "点": 40, "例": 40, "選": 40,
}  # fmt: skip
"""Unit of an amount → roughly how many tokens one of it takes."""
_NUMBERS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
_HAN_NUMBERS = "一二三四五六七八九十"

REQUEST_KIND_FEATURES = (*_KINDS, "asks_a_fact", "given_text", "asks_amount", "log_amount")
"""Names in the order of the values of :func:`request_kind_features`."""

_VOCABULARY = Vocabulary(_KINDS)

_OPENING = re.compile(
    r"^[^\w\n]{0,3}(?:who|what(?:'s)?|when|where|which|is|are|was|were|does|do|did|can"
    r"|how (?:many|much|old|long|far|tall))\b"
    r"|誰|いつ|どこ|何[人個年歳時]|いくつ",
    re.MULTILINE,
)
_GIVEN = re.compile(
    r":\n|：\n|[\"“「]|^\W{0,3}(?:input|text|passage|email|context|article)\s?:", re.MULTILINE
)
_LATIN_UNITS = "|".join(unit for unit in _UNITS if unit.isascii())
_HAN_UNITS = "|".join(
    sorted((unit for unit in _UNITS if not unit.isascii()), key=len, reverse=True)
)
_AMOUNT = MarkedPattern(
    rf"\b(\d{{1,5}}|{'|'.join(_NUMBERS)})[ -](?:[a-z]{{1,20}} ){{0,2}}?({_LATIN_UNITS})\b"
    rf"|(\d{{1,5}}|[{_HAN_NUMBERS}]) ?({_HAN_UNITS})",
    *shortest(_UNITS),
)


def _number(text: str) -> int:
    if text.isdigit():
        return int(text)
    return (_NUMBERS.index(text) if text in _NUMBERS else _HAN_NUMBERS.index(text)) + 1


def request_kind_features(text: str) -> tuple[float, ...]:
    """The features of what a text asks for.

    Args:
        text: any text, of any length; at most twice :data:`WINDOW` characters are read.

    Returns:
        One value per name in :data:`REQUEST_KIND_FEATURES`, finite and ≥ 0: ``log1p`` of how often each kind
        is named; 1 where an amount is asked for ("in 3 sentences") and ``log1p`` of its size in tokens.
    """
    window = head_and_tail(text, WINDOW).lower()
    amount = max(
        (
            _number(latin or han) * _UNITS[unit or counter]
            for latin, unit, han, counter in map(re.Match.groups, _AMOUNT.matches(window))
        ),
        default=0.0,
    )
    return (
        *map(math.log1p, _VOCABULARY.counts(window)),
        math.log1p(len(_OPENING.findall(window))),
        math.log1p(len(_GIVEN.findall(window))),
        float(amount > 0),
        math.log1p(amount),
    )
