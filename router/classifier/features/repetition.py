"""How long a count or a repetition is: "count from 1 to 100", "repeat 'dog' 200 times".

Its length is in its numbers. It is a minimum, for separators and remarks come on top.
"""

from __future__ import annotations

import math
import re

from router.classifier.features.work_size import AnswerSize, text_tokens

__all__ = ["MOST_TIMES", "repeated_size"]

MOST_TIMES = 1_000
"""Models break off what is repeated more often."""
_COUNT_TOKENS = 2.9
"""Tokens of a number with its separator."""
_TIMES_TOKENS = 1.3
"""Tokens of a repetition, by tokens of what is repeated: half of the models separate by more than a space."""
_MOST, _REMARK = 2.0, 60.0
"""The ninth decile, by the least."""
_LONGEST = 300
"""Characters of a text up to which the count is its only request."""

_N = r"(\d{1,3}(?:,\d{3})+|\d{1,7})"
_COUNTS = re.compile(
    rf"(?:please |can you |could you )?(?:count (?:up |down |backwards? |out loud )?(?:from )?{_N}"
    rf"(?: up| down)? to {_N}|count (?:up )?to {_N}"
    rf"|(?:list|write|print|say|give me|output|type|recite)(?: out| down| me)?(?: all)?(?: the)?(?: whole"
    rf"| natural)? (?:numbers|integers)(?: from| between)? {_N} ?(?:to|and|through|-|–) ?{_N}"
    rf"|zähle? (?:bitte )?von {_N} bis {_N}|zähle? (?:bitte )?bis {_N}"
    rf"|compte[rz]? (?:de )?{_N} (?:à|jusqu['’]à) {_N}|compte[rz]? jusqu['’]à {_N}"
    rf"|cuenta (?:del? )?{_N} (?:al?|hasta) {_N}|cuenta hasta {_N}"
    rf"|{_N}から{_N}まで(?:の(?:数字|数|整数|自然数)を)?(?:順に|すべて|全て)?(?:数え|列挙|書|出力|挙げ|並べ)"
    rf"|(?:请)?从{_N}(?:数|写|列)?到{_N}|{_N}부터 ?{_N}까지 ?(?:의 )?(?:숫자를? ?)?(?:세|나열|써|적))"
)
_STEP = re.compile(r"\b(?:by|in steps of|every) (\d{1,4})(?:['’]?s)?\b")
_Q = (
    r"(?:\"([^\"\n]{1,200})\"|'([^\n]{1,200}?)'|“([^”\n]{1,200})”|‘([^’\n]{1,200})’|«([^»\n]{1,200})»"
    r"|「([^」\n]{1,200})」|(?:the )?(?:word|letter|phrase|wort|mot|palabra) ([^\s]{1,30})"
    r"|(?!it\b|this\b|that\b|the\b|a\b|an\b)([^\W\d_]{1,30}))"
)
_REPEATS = re.compile(
    rf"(?:please |bitte )?(?:(?:repeat|say|write|type|print|output|wiederhole?|schreibe?"
    rf"|répète[zr]?|écri[st]\w*"
    rf"|repite|escribe|repetir)(?: out)?(?: the (?:word|phrase|sentence|letter)| das wort| le mot"
    rf"| la palabra)?:? {_Q},? {_N} ?-?(?:times|mal|fois|veces)"
    rf"|(?:请|把|将|请把)?(?:重复)?{_Q}(?:を|를|을)? ?(?:重复|写|说)?{_N} ?(?:回|次|遍|번)"
    rf"(?:繰り返|くりかえ|書|言|出力|重复|写|说| ?반복| ?말| ?써|。|$))"
)
_OTHERWISE = re.compile(
    r"\b(?:even|odd|primes?|multiples?|only|skip\w*|except|how many|sum|add|explain|why|program|code|script"
    r"|python|function|loop|replace|fizz\w*|each|letters?|story|then|divisible|average|random|different|languages|and)\b"
    r"|偶数|奇数|素数|合計|コード|プログラム|理由|説明|和を|代码|程序|偶|奇|합|코드"
)


def _value(number: str) -> float:
    return float(number.replace(",", ""))


def _size(tokens: float) -> AnswerSize:
    return AnswerSize(tokens, math.inf, _MOST * tokens + _REMARK)


def repeated_size(text: str) -> AnswerSize | None:
    """How long a count or a repetition is.

    Args:
        text: in lower case, without white space around it.

    Returns:
        ``None`` where none is asked for, or more than that.
    """
    if len(text) > _LONGEST or not any(map(str.isdigit, text)):
        return None
    if counted := _COUNTS.match(text):
        if _OTHERWISE.search(text, counted.end()):
            return None
        numbers = [_value(number) for number in counted.groups() if number]
        step = _STEP.search(text, counted.end())
        first = 1.0 if len(numbers) == 1 else numbers[0]
        times = abs(numbers[-1] - first) / max(float(step[1]) if step else 1.0, 1.0) + 1
        return _size(_COUNT_TOKENS * min(times, MOST_TIMES))
    if repeated := _REPEATS.match(text):
        if _OTHERWISE.search(text, repeated.end()):
            return None
        said, number = (group for group in repeated.groups() if group)
        times = min(_value(number), MOST_TIMES)
        return _size(_TIMES_TOKENS * times * max(text_tokens(said), 1.0))
    return None
