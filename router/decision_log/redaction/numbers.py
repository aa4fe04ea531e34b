"""Personal numbers: phones, payment cards, bank accounts, My Number, US social security.

Google's libphonenumber and the checksums of python-stdnum judge whether digits are such a number. Both take
microseconds per candidate, so the number of checks per text is bounded (:data:`JUDGED_CHARACTERS`):
further candidates are replaced without a check.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from router.core.errors import MitsumoriError
from router.decision_log.redaction.spans import Span

try:
    from phonenumbers import Leniency, PhoneNumberMatcher
    from stdnum import iban, luhn
    from stdnum.jp import in_ as my_number
    from stdnum.us import ssn
except ImportError as missing:
    raise MitsumoriError(
        "redacting prompts needs phonenumberslite and python-stdnum: "
        "pip install 'mitsumori[redact]'",
        reason="EXTRA_MISSING",
    ) from missing

__all__ = ["JUDGED_CHARACTERS", "PATTERNS", "Judge", "bank_accounts", "personal_numbers"]

JUDGED_CHARACTERS = 32_768
"""Characters of candidates that the libraries check in one text: a few tenths of a second."""

_RUN = re.compile(r"[+(]{0,2}\d(?:[-. ()ー]{0,3}\d)*+", re.ASCII)
_FEWEST_DIGITS = 8
_GROUP = re.compile(r"\d++", re.ASCII)
_GAP = re.compile(r"\D++", re.ASCII)
_MAX_GROUPS = 5
_DECIMAL = re.compile(r"\d{1,11}\.\d++", re.ASCII)
_YEARS = re.compile(r"(?:(?:19|20)\d\d[ -]?){2,5}", re.ASCII)
_ATTACHED_BEFORE = re.compile(r"(?:[A-Za-z0-9_]|[A-Za-z0-9_][-./])\Z")
_ATTACHED_BEHIND = re.compile(r"[-_]?[A-Za-z]")
_PHONE_WORD = re.compile(
    r"(?:tel|telephone|phone|call|mobile|cell|fax|whatsapp|sms|text me|電話|携帯|連絡先|ファックス)"
    r"[^\d\n]{0,10}\Z",
    re.IGNORECASE,
)
_IBAN_COUNTRIES = (
    r"A[DELTZ]|B[AEGHIRY]|C[HRYZ]|D[EJKO]|E[EGS]|F[IKOR]|G[BEILRT]|H[NRU]|I[ELQST]|JO"
    r"|K[WZ]|L[BCITUVY]|M[CDEKNRTU]|N[ILO]|OM|P[KLST]|QA|R[OSU]|S[ACDEIKMOTV]|T[LNR]"
    r"|UA|V[AG]|XK|YE"
)
_IBAN = re.compile(
    rf"(?<![A-Z0-9])(?=((?:{_IBAN_COUNTRIES})\d{{2}}(?:[ -]?[A-Z0-9]){{11,30}}))[A-Z]",
    re.ASCII | re.IGNORECASE,
)
_CARD = re.compile(
    r"4(?:\d{15}|\d{18})|5[1-5]\d{14}|2(?:22[1-9]|2[3-9]\d|[3-6]\d\d|7[01]\d|720)\d{12}|3[47]\d{13}"
    r"|35(?:2[89]|[3-8]\d)\d{12}|3(?:0[0-5]|[689]\d)\d{11}|6(?:011|4[4-9]\d|5\d\d)\d{12}|62\d{14,17}"
)
"""Lengths and first digits of Visa, Mastercard, American Express, JCB, Diners, Discover, UnionPay."""
_CARD_GROUPS = {(4, 4, 4, 4), (4, 4, 4, 4, 3), (4, 6, 5), (4, 6, 4), (6, 13)}
_PHONES = (("JP", Leniency.VALID), ("US", Leniency.STRICT_GROUPING))
"""Where a number without a country code may be from; one with a code may be from anywhere."""

PATTERNS = (
    _RUN,
    _GROUP,
    _GAP,
    _DECIMAL,
    _YEARS,
    _ATTACHED_BEFORE,
    _ATTACHED_BEHIND,
    _PHONE_WORD,
    _IBAN,
    _CARD,
)
"""Every pattern that reads prompts, for the test that none of them can run wild."""


class Judge:
    """Asks the libraries about candidates of one text, each only once, and not without end."""

    def __init__(self, characters: int = JUDGED_CHARACTERS) -> None:
        self._left = characters
        self._accounts: dict[str, Span | None] = {}
        self._known: dict[tuple[str, bool, bool, bool], tuple[Span, ...]] = {}

    def _may_judge(self, candidate: str) -> bool:
        self._left -= len(candidate)
        return self._left >= 0

    def number(self, run: str, *, before: bool, behind: bool, spoken: bool) -> tuple[Span, ...]:
        """What is in a run of digits and separators.

        Args:
            run: as it stands in the folded text.
            before, behind: letters touch it there, as in an order number.
            spoken: a word such as «phone» stands before it.
        """
        key = (run, before, behind, spoken)
        found = self._known.get(key)
        if found is None:
            if not self._may_judge(run):
                return (Span(0, len(run), "number"),)
            found = (
                *_checked(run, attached=before or behind),
                *_phones(run, before=before, behind=behind, spoken=spoken),
            )
            self._known[key] = found
        return found

    def bank_account(self, candidate: str) -> Span | None:
        """The IBAN at the start of a candidate, if there is one."""
        if candidate not in self._accounts:
            if not self._may_judge(candidate):
                return Span(0, len(candidate), "number")
            self._accounts[candidate] = _account(candidate)
        return self._accounts[candidate]


def personal_numbers(text: str, judge: Judge) -> Iterator[Span]:
    """Phones, cards, My Numbers and social security numbers, in a folded text."""
    for match in _RUN.finditer(text):
        run, start, end = match.group(), match.start(), match.end()
        if len(run) < _FEWEST_DIGITS or sum(map(str.isdigit, run)) < _FEWEST_DIGITS:
            continue
        before = text[max(0, start - 24) : start]
        spoken = _PHONE_WORD.search(before) is not None
        if _DECIMAL.fullmatch(run) and not spoken:
            continue
        for span in judge.number(
            run,
            before=_ATTACHED_BEFORE.search(before) is not None,
            behind=_ATTACHED_BEHIND.match(text, end) is not None,
            spoken=spoken,
        ):
            yield Span(start + span.start, start + span.end, span.kind)


def bank_accounts(text: str, judge: Judge) -> Iterator[Span]:
    """International bank account numbers, in a folded text."""
    for match in _IBAN.finditer(text):
        candidate = match[1]
        if sum(map(str.isdigit, candidate)) < _FEWEST_DIGITS:
            continue
        behind = text[match.end(1) : match.end(1) + 1]
        if behind.isascii() and behind.isalnum():
            # The candidate was cut off in the middle of a word: that word does not belong to it.
            candidate = candidate[: max(candidate.rfind(" "), candidate.rfind("-"), 0)]
        span = judge.bank_account(candidate)
        if span is not None:
            yield Span(match.start() + span.start, match.start() + span.end, span.kind)


def _account(candidate: str) -> Span | None:
    for end in range(len(candidate), 14, -1):
        whole = end == len(candidate) or not candidate[end].isalnum()
        if whole and candidate[end - 1].isalnum() and iban.is_valid(candidate[:end]):
            return Span(0, end, "iban")
    return None


def _checked(run: str, *, attached: bool) -> Iterator[Span]:
    """What proves itself by a checksum or by its form."""
    groups = [match.span() for match in _GROUP.finditer(run)]
    for first, (start, previous) in enumerate(groups):
        if start and run[start - 1] == ".":  # the digits behind a decimal point
            continue
        digits = ""
        lengths: tuple[int, ...] = ()
        for begin, end in groups[first : first + _MAX_GROUPS]:
            if lengths and not _joined(run, previous, begin):
                break
            digits, lengths, previous = digits + run[begin:end], (*lengths, end - begin), end
            kind = _kind_of(digits, lengths, attached=attached)
            # A series of numbers makes a My Number at every eleventh place: it must stand alone.
            lone = len(lengths) == 1 or not (
                (first and _joined(run, groups[first - 1][1], start))
                or (groups[-1][1] > end and _joined(run, end, groups[first + len(lengths)][0]))
            )
            if kind and (lone or kind == "card") and not _YEARS.fullmatch(run, start, end):
                yield Span(start, end, kind)


def _joined(run: str, end: int, begin: int) -> bool:
    return begin - end == 1 and run[end] in " -"


def _kind_of(digits: str, lengths: tuple[int, ...], *, attached: bool) -> str | None:
    whole = len(lengths) == 1
    if (whole or lengths in _CARD_GROUPS) and _CARD.fullmatch(digits) and luhn.is_valid(digits):
        return "card"
    if len(digits) == 12 and ((whole and not attached) or lengths == (4, 4, 4)):
        return "my_number" if my_number.is_valid(digits) else None
    if lengths == (3, 2, 4) and not attached and ssn.is_valid(digits):
        return "ssn"
    return None


def _phones(run: str, *, before: bool, behind: bool, spoken: bool) -> Iterator[Span]:
    for region, leniency in _PHONES:
        for match in PhoneNumberMatcher(run, region, leniency, len(run)):
            attached = (before and match.start == 0) or (behind and match.end == len(run))
            if _is_said_as_phone(match.raw_string, region, attached=attached, spoken=spoken):
                yield Span(match.start, match.end, "phone")


def _is_said_as_phone(raw: str, region: str, *, attached: bool, spoken: bool) -> bool:
    """Whether its form says phone, and not order number, decimal or timestamp."""
    if spoken or raw.startswith(("+", "(+")):
        return True
    gaps = _GAP.findall(raw.strip("()"))
    if region == "JP" and not raw.lstrip("(").startswith("0"):
        return False
    return len(gaps) >= 2 or not (attached or region == "US" or gaps == ["."])
