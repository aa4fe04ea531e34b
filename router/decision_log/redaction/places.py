"""Japanese postal addresses."""

from __future__ import annotations

import re
from collections.abc import Iterator

from router.decision_log.redaction.spans import Span

__all__ = ["PATTERNS", "postal_addresses"]

_PREFECTURE = (
    r"(?:北海道|東京都|京都府|大阪府|(?:青森|岩手|宮城|秋田|山形|福島|茨城|栃木|群馬|埼玉|千葉|神奈川|新潟"
    r"|富山|石川|福井|山梨|長野|岐阜|静岡|愛知|三重|滋賀|兵庫|奈良|和歌山|鳥取|島根|岡山|広島|山口|徳島"
    r"|香川|愛媛|高知|福岡|佐賀|長崎|熊本|大分|宮崎|鹿児島|沖縄)県)"
)
_BLOCK = r"\d{1,4}(?:(?:丁目|番地?|号|[-ー−の])\d{0,4}){1,4}"
_TOWN = r"[^\s、。,.!?\d\[\]「」()]{1,12}[市区町村郡][^\s、。,.!?\d\[\]「」()]{0,16}"
_HOUSE = (
    r"(?: ?[^\s、。,!?\[\]「」]{1,24}?(?:ビル|マンション|タワー|ハイツ|コーポ|荘|館|棟)"
    r"(?: ?[A-Z]?\d{1,4}(?:号室|階|F)?)?| ?\d{1,4}(?:号室|階|F))?"
)
_ADDRESS = rf"(?:{_PREFECTURE} ?)?{_TOWN}{_BLOCK}{_HOUSE}"
_WITH_CODE = re.compile(
    r"(?:〒 ?|郵便番号 ?[:は]? ?)\d{3}[-ー]?\d{4}"
    rf"(?:\s{{0,4}}(?:住所[:は]? ?)?(?:{_ADDRESS}|{_PREFECTURE}(?:{_TOWN})?))?"
)
_WITHOUT_CODE = re.compile(rf"{_PREFECTURE} ?{_TOWN}{_BLOCK}(?![年月日]){_HOUSE}")

PATTERNS = (_WITH_CODE, _WITHOUT_CODE)
"""Every pattern that reads prompts, for the test that none of them can take quadratic time."""


def postal_addresses(text: str) -> Iterator[Span]:
    """Postal codes with the address that follows, and addresses down to the block number, in a folded text.

    A town alone is not an address: many prompts are about towns.
    """
    for pattern in PATTERNS:
        for match in pattern.finditer(text):
            yield Span(match.start(), match.end(), "address")
