"""Replaces personal data and secrets in a text before it is stored.

The placeholders: e-mail addresses ``[email]``, phone numbers ``[phone]`` (with a country code from any
country, without one in the forms of Japan and North America), payment cards ``[card]``, bank accounts
``[iban]``, Japanese My Numbers ``[my_number]``, US social security numbers ``[ssn]``, IP
addresses ``[ip]``, Japanese postal addresses ``[address]``, and passwords, keys and tokens ``[secret]``:
those of well-known shapes, in URLs, in PEM blocks, or after a word such as «password» or «パスワード».
Full-width forms are recognised as well.

**What is not caught**: names of people, addresses outside Japan, birthdays, health, customer numbers,
statements about a person that contain none of the above, and anything disguised (spelled out, split over
lines, encoded). A redacted text contains less private data, but it is not anonymous.

Checksums also match by chance: one in eleven numbers of twelve digits is taken for a My Number.
"""

from __future__ import annotations

from router.decision_log.redaction.internet import email_addresses, ip_addresses, url_secrets
from router.decision_log.redaction.numbers import Judge, bank_accounts, personal_numbers
from router.decision_log.redaction.places import postal_addresses
from router.decision_log.redaction.secrets import private_keys, spoken_secrets, tokens
from router.decision_log.redaction.spans import folded, replaced

__all__ = ["redact"]

_PASSES = 8
"""A replacement can expose another match beside it; this is one pass more than any text has needed."""


def redact(text: str) -> str:
    """The text with placeholders for personal data and secrets.

    Pure, deterministic and idempotent, in time linear in the length. After
    :data:`numbers.JUDGED_CHARACTERS` characters of candidates, further numbers of eight digits or more become
    ``[number]`` without a check.
    """
    judge = Judge()
    for _ in range(_PASSES):
        plain = folded(text)
        changed = replaced(
            text,
            (
                *private_keys(plain),
                *tokens(plain),
                *url_secrets(plain),
                *spoken_secrets(plain),
                *email_addresses(plain),
                *ip_addresses(plain),
                *bank_accounts(plain, judge),
                *personal_numbers(plain, judge),
                *postal_addresses(plain),
            ),
        )
        if changed == text:
            break
        text = changed
    return text
