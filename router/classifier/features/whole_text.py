"""How long an answer is that gives a text back: a copy, a table in another format, a change throughout.

Such an answer has a least length that is certain, that of the text. It holds where the instruction is clear,
whatever is asked for besides; only where nothing is, the answer has a greatest length too. A program that
would do the work is another request.
"""

from __future__ import annotations

import math
import re

from router.classifier.features.work_size import (
    POLITE_WORDS,
    AnswerSize,
    Work,
    data_tokens,
    text_tokens,
)

__all__ = ["SIGNS", "is_code", "whole_text_size"]

_COPY = Work(0.9, (1.05, 8.0), (1.25, 40.0))
_EDIT = Work(1.0, (1.25, 15.0), (2.0, 120.0))
_MASKING = Work(0.9, (1.1, 20.0), (1.6, 100.0))
_ORDER = Work(0.85, (1.1, 15.0), (1.5, 100.0))
_COLUMN = Work(1.05, (1.7, 20.0), (2.3, 100.0))
_COMMENTS = Work(1.3, (2.8, 30.0), (4.0, 200.0))
_PORT = Work(0.6, (math.inf, 0.0), (math.inf, 0.0))
_FORMATS = {
    ("rows", "keyed"): Work(2.4, (3.4, 20.0), (5.0, 150.0)),
    ("rows", "terse"): Work(1.6, (2.6, 20.0), (4.0, 150.0)),
    ("rows", "table"): Work(1.3, (1.7, 20.0), (2.4, 100.0)),
    ("rows", "rows"): Work(0.85, (1.1, 10.0), (1.5, 80.0)),
    ("tree", "keyed"): Work(0.5, (1.5, 20.0), (2.4, 120.0)),
    ("tree", "terse"): Work(0.4, (1.2, 20.0), (2.0, 120.0)),
    ("tree", "table"): Work(0.25, (1.0, 20.0), (1.6, 100.0)),
    ("tree", "rows"): Work(0.25, (0.9, 20.0), (1.5, 100.0)),
}
"""By source and target. Keys and signs are written again for every row: 300 rows of three columns and some
2,000 tokens are 5,700 tokens of indented JSON, and 3,000 of a Markdown table."""

_POLITE = rf"(?:^|[.!?\n,] ?|\band )[^\w\n]{{0,3}}{POLITE_WORDS}"
_COPIES = re.compile(
    rf"{_POLITE}(?:repeat|copy|echo|reproduce|retype|output|print|return|write|type|say|wiederhol\w*|gib"
    r"|schreib\w*|répète\w*|recopie\w*|copie\w*|repite|copia|repita|copie|ripeti|повтори\w*|скопируй\w*)\b"
    r"[^.!?:\n]{0,60}\b(?:exactly|verbatim|word[- ]for[- ]word|unchanged|as[- ]is|exakt|genau|wörtlich"
    r"|unverändert|exactement|mot pour mot|exactamente|textualmente|exatamente|esattamente|дословно|точно)\b"
    rf"|{_POLITE}(?:repeat|copy|echo)(?: back)?(?: the following| this)(?: text| sentences?| words| message)?"
    r"(?: back)?(?: to me)?\s*$"
    r"|(?:そのまま|一字一句)[^。\n]{0,16}(?:繰り返|くりかえ|出力|書き写|写し|コピー|返し|復唱)"
    r"|(?:原样|逐字|一字不差)[^。\n]{0,8}(?:重复|输出|复述|抄写)|(?:그대로|똑같이) ?(?:반복|출력|따라"
    r"|옮겨 적)"
)
_TIMES = re.compile(
    r"\b(?:times|twice|thrice|mal|fois|veces|vezes|volte|раза?)\b|[\d一二三两]\s?[回次遍번]"
)
_CONVERTS = (
    rf"{_POLITE}(?:convert|transform|turn|format|reformat|change|export|parse|put|render|rewrite|translate"
    r"|show|present|output|return|give me|make|wandle|konvertier\w*|formatier\w*|convertis\w*|convertir"
    r"|transforme\w*|mets|convierte\w*|transforma\w*|formatea|converta|converti|преобразу\w*|конвертир\w*)\b"
    r"[^.!?:\n]{0,80}?\b(?:to|into|as|in|als|zu|en|au format|a|em|para|di|в|in das format)\b"
    r" (?:(?:an?|the|ein\w*|une?|una?|uma|valid|pretty|indented|compact|minified|single|nice|clean|html"
    r"|github|array"
    r" of) ){0,4}"
)
_TARGETS = tuple(
    (
        target,
        re.compile(
            rf"{_CONVERTS}(?:{latin})\b(?! (?:schema|parser|page|report|path|query|chart|of\b))"
            rf"|(?:{latin}|{wide})(?:形式|配列|オブジェクト|格式|数组| ?형식)?(?:(?:に|へ|で|로|으로) ?"
            r"(?:変換|して|直し|整形|書き換え|まとめて|出力|변환|바꿔|정리|만들)|変換)"
            rf"|(?:转换?(?:成|为)?|变成|整理成|改成|换成) ?(?:{latin}|{wide})"
        ),
    )
    for target, latin, wide in (
        (
            "table",
            r"markdown(?:[ -]?(?:table|tabelle))?|latex(?:[ -]?table)?|table|tabelle|tableau|tabla|tabela",
            "表|표",
        ),
        ("keyed", r"json|xml|html(?:[ -]?table)?|list of (?:dicts|objects|dictionaries)", "ジェイソン"),
        ("terse", r"ya?ml|toml|sql|insert statements?|json ?l(?:ines)?|jsonl|ndjson", "ヤムル"),
        ("rows", r"csv|tsv", "カンマ区切り"),
    )
)  # fmt: skip
_ADDS_COLUMN = re.compile(
    rf"{_POLITE}(?:add|append|insert|compute|füge|ajoute\w*|añade\w*|agrega\w*|adiciona\w*|aggiungi\w*"
    r"|добав\w*)\b[^.!?:\n]{0,30}\b(?:columns?|fields?|spalten?|colonnes?|columnas?|colunas?|colonna"
    r"|столб\w+|колонк\w+)\b(?!\s*\?)|列を?[^。\n]{0,12}(?:追加|加え|足し)|(?:添加|增加)[^。\n]{0,6}列"
    r"|열을? ?추가"
)
_COMMENTS_ON = re.compile(
    rf"{_POLITE}(?:add|insert|write|include|put|document|füge|ajoute\w*|añade\w*)\b[^.!?:\n]{{0,24}}"
    r"\b(?:doc-?strings?|comments?|jsdoc|javadoc|documentation|kommentar\w*|commentaires?|comentarios?)\b"
    r"|(?:docstring|コメント|ドキュメント|ドックストリング)[^。\n]{0,8}(?:追加|付け|つけ|書)|(?:添加"
    r"|加上)[^。\n]{0,6}注释|주석[을를]? ?(?:추가|달)"
)
_EVERY = re.compile(
    r"\b(?:every|each|all|alle\w*|jede\w*|chaque|toutes?|cada|tod[oa]s)\b|全て|すべて|各|所有|每|모든"
)
_MASKS = re.compile(
    rf"{_POLITE}(?:anonymi[sz]e\w*|pseudonymi[sz]e\w*|redact|censor|anonymisier\w*|anonymise\w*|anonimiza\w*"
    r"|anonimizz\w*|анонимизир\w*)\b"
    rf"|{_POLITE}(?:replace|mask|substitute|ersetze?|remplace\w*|reemplaza\w*|sustitu\w*|substitua|замени\w*)"
    r" (?!(?:this|that|it|the|my|our)\b(?! (?:words?|names?|dates?|numbers?|strings?|terms?)\b))"
    r"[^.!?:\n]{1,40} (?:by|with|durch|mit|par|por|con|на) [^.!?:\n]{1,24}?(?:$|[.,]| (?:in|throughout"
    r"|dans|en|в)\b)"
    r"|匿名化|「[^」\n]{1,20}」を「[^」\n]{1,20}」に(?:置き換え|置換し|変え)|(?:すべて"
    r"|全て)[^。\n]{0,12}(?:置き換え|置換し)|匿名处理|替换(?:成|为)|익명화|바꿔 ?치"
)
_ORDERS = re.compile(
    rf"{_POLITE}(?:sort|alphabeti[sz]e|reverse|shuffle|number|sortier\w*|trie[zr]?|ordena\w*|ordina\w*"
    rf"|отсортир\w*)"
    r"\b[^.!?:\n]{0,60}$|(?:並べ替え|並び替え)(?:て|る|よ|まし|。|$)|(?:ソートし|昇順に|降順に|五十音順に)"
    r"|排序|정렬"
)
_PORTS = re.compile(
    rf"{_POLITE}(?:port|translate|convert|rewrite|migrate)\b[^.!?:\n]{{0,40}}\b(?:to|into"
    rf"|in) (?:idiomatic |modern )?"
    r"(?:javascript|typescript|python(?: ?3)?|rust|go|golang|java|kotlin|swift|ruby|php|scala|julia|c\b"
    r"|c\+\+|c#)"
    r"|(?:javascript|typescript|python|rust|go|java|kotlin|c\+\+|c#)(?:に|へ)(?:移植|書き換え|変換)"
)  # fmt: skip
_THING = (
    r"(?:texts?|files?|csv|code|tables?|json|documents?|lists?|data|scripts?|programs?|modules?|class"
    r"|functions?"
    r"|versions?|e-?mails?|letters?|articles?|source|yaml|xml|html|datei|datensatz|liste|tabelle)"
)
_WHOLE = re.compile(
    r"(?:,? ?\b(?:and|then|und|et|y|e) )?\b(?:return|give|output|print|show|provide|send|reply with"
    r"|respond with|rewrite)"
    r"(?: me| us| back| only| just)*"
    r" (?:the|my) (?:(?:full|complete|whole|entire|corrected|updated|modified|fixed|resulting|new|finished"
    r"|cleaned) ){1,3}"
    rf"(?:\w+ )?{_THING}(?= ?(?:$|[.,:;!?\n(]|back\b|below|with|without|in\b|as\b|and\b|only|again|please"
    rf"|afterwards))"
    rf"|\bgib (?:mir )?(?:den|die|das) (?:ganze|vollständige|komplette|gesamte"
    rf"|korrigierte)n? {_THING}(?: zurück| aus)"
    r"|\b(?:renvoie|donne|retourne)\w*(?:-moi)? l[ea'’] ?(?:texte|fichier|code|csv|liste) (?:complet"
    r"|entier|corrigé)\w*"
    r"|\b(?:devuelve|dame|devuélveme) (?:el|la) (?:texto|archivo|código|csv|lista) (?:complet|enter"
    r"|corregid)[oa]"
    r"|(?:全文|全体|完全な(?:コード|ファイル|文章|csv)|(?:修正|訂正|変更|更新)(?:後|済み"
    r"|した)の?(?:ファイル|コード|csv|文章|テキスト))"
    r"(?:全体)?(?:を|で|も)?(?:出力|返|示して|書い|提示|ください|お願い)"
    r"|(?:输出|返回|给出)(?:完整|全部|修改后)的?(?:文件|代码|文本|内容|csv)|전체 ?(?:파일|코드|텍스트"
    r"|내용)[을를]? ?(?:출력|보여|반환)"
)  # fmt: skip
"""The whole of the given text is asked for, with the change."""
_SHORTENS = re.compile(
    r"\b(?:summar\w+|shorten|condens\w+|abridge|extract\w*|classif\w+|translat\w+|remove|delete|filter"
    r"|find|list|fix by"
    r"|zusammenfass\w*|résum\w+|resum\w+)\b|要約|抽出|削除|除い|翻訳|分類"
)
_MORE = re.compile(
    r"\b(?:explain\w*|why|reason\w*|justif\w*|describ\w*|summar\w*|then|also|list (?:all|any|every|the|of)"
    r"|compar\w*|anal[yi]\w*"
    r"|tests?"
    r"|discuss|suggest\w*|review|notes?|changes|summary|versions|options|erklär\w*|begründ\w*|warum"
    r"|expliqu\w*"
    r"|pourquoi|explica\w*|por qué|объясн\w*|essay|report|story|article|and (?:write|create|draft|generate"
    r"|give"
    r"|tell|make|build|calculate))\b|理由|説明|解説|また、|さらに|一覧|变更|解释|说明|이유|설명"
)
"""Something besides, which makes the answer longer."""
_PROGRAM = re.compile(
    r"\b(?:how|scripts?|program|function|code|python|pandas|javascript|java|regex\w*|formula|excel|command"
    r"|query"
    r"|bash|shell|sed|awk|jq|class|method|library|tool|wie|comment|cómo)\b"
    r"|コード|スクリプト|プログラム|関数|方法|やり方|数式|コマンド|代码|函数|脚本|方法|코드|함수|방법"
)
"""What does the work may be asked for in its place."""
_FENCE = re.compile(r"```[\w+#-]{0,20}\n(.*?)\n?```", re.DOTALL)
_CODE = re.compile(
    r"[{};]\s*(?:\n|$)|=>|(?<!:)//|\b\w+\([^)\n]*\)[;:{ ]|\b(?:def|const|return|import) "
)
_HEAD, _ROWS = 600, 10
_LEAST_ROWS = 3
SIGNS = (
    "epeat", "copy", "copie", "copia", "echo", "exact", "verbatim", "word for", "word-for", "unchanged",
    "exakt", "wörtlich",
    "csv", "json", "yaml", "yml", "xml", "html", "markdown", "table", "tabel", "tabla", "latex", "sql",
    "column", "spalte",
    "colonn", "columna", "docstring", "comment", "comentario", "kommentar", "anonym", "anonimi", "redact",
    "replace",
    "ersetz", "remplace", "reemplaza", "mask", "sort", "alphabet", "reverse", "whole", "full ", "complete ",
    "entire",
    "corrected", "updated", "port ", "javascript", "python", "rust",
    "そのまま", "一字一句", "全文", "全体", "列", "匿名", "置", "変換", "並", "ソート", "昇順", "コメント",
    "表", "移植",
    "重复", "原样", "转", "替换", "排序", "完整", "添加", "그대로", "변환", "정렬", "익명", "전체", "열",
    "주석", "дослов",
    "столб", "преобраз", "замени", "анонимиз",
)  # fmt: skip
"""One of these is in every instruction that is read here."""


def is_code(text: str) -> bool:
    """Whether the beginning of a text looks like a program.

    Args:
        text: in lower case; at most its first 600 characters are read.
    """
    return _CODE.search(text[:_HEAD]) is not None


def _shape(text: str) -> str:
    """Whether a text has ``rows`` of one number of fields, is a ``tree`` of keys, or neither: empty."""
    if text[:1] in ("{", "[", "<"):
        return "tree"
    lines = [line for line in text[: 2 * _HEAD].split("\n")[:_ROWS] if line.strip()]
    if len(lines) < _LEAST_ROWS:
        return ""
    for mark in ("\t", ",", ";", "|"):
        counts = [line.count(mark) for line in lines[:-1]]
        if counts[0] and all(count == counts[0] for count in counts):
            return "rows"
    return ""


def _data_work(said: str, text: str, shape: str) -> Work | None:
    """What is done with data, where a table or a list is given and no program is asked for."""
    if _PROGRAM.search(said):
        return None
    if shape == "rows" and _ADDS_COLUMN.search(said):
        return _COLUMN
    if shape:
        for target, pattern in _TARGETS:
            if pattern.search(said):
                return _FORMATS[shape, target]
    if text.count("\n") >= _LEAST_ROWS and _ORDERS.search(said):
        return _ORDER
    return None


def _work(said: str, text: str, whole: bool, code: bool, shape: str) -> Work | None:
    if _COPIES.search(said):
        return None if _TIMES.search(said) else _COPY
    if not code and (data := _data_work(said, text, shape)):
        return data
    if code:
        if _COMMENTS_ON.search(said) and (whole or _EVERY.search(said)):
            return _COMMENTS
        if _PORTS.search(said):
            return _PORT
    elif _MASKS.search(said) and not _PROGRAM.search(said):
        return _MASKING
    return _EDIT if whole and not _SHORTENS.search(said) else None


def whole_text_size(
    instruction: str, given: str, left_out: int, *, more: bool
) -> AnswerSize | None:
    """How long an answer is that gives the text back, changed or not.

    Args:
        instruction: in lower case.
        given: the text, in lower case, or its two ends.
        left_out: characters that it lacks, ≥ 0.
        more: whether the text seems to end with a second request.

    Returns:
        ``None`` where the instruction does not say so.
    """
    fenced = _FENCE.fullmatch(given)
    text = fenced[1] if fenced else given
    whole = _WHOLE.search(instruction) is not None
    said = _WHOLE.sub(" ", instruction).strip() if whole else instruction
    if "```" in text:
        return None
    code, shape = is_code(text), _shape(text)
    work = _work(said, text, whole, code, shape)
    if work is None:
        return None
    characters = len(text) + left_out
    data = fenced or work is _ORDER or code or shape
    tokens = data_tokens(text, characters) if data else text_tokens(text, characters)
    size = work.size(tokens)
    if more or work is _PORT or _MORE.search(said):
        return AnswerSize(size.least, math.inf, math.inf)
    return size
