"""Personal data and secrets out of a text, before it is kept.

What is replaced, by which placeholder: e-mail addresses ``[email]``, phone numbers ``[phone]`` (with
country code from anywhere; without, as said in Japan and North America), payment cards ``[card]``, bank
accounts ``[iban]``, Japanese My Numbers ``[my_number]``, US social security numbers ``[ssn]``, IP
addresses ``[ip]``, Japanese postal addresses ``[address]``, and as ``[secret]`` passwords, keys and
tokens: of well-known shapes, in URLs, in PEM blocks, or behind a word such as «password» or «パスワード».
Full-width forms are seen as well.

**What is not caught**: names of people, addresses outside Japan, birthdays, health, customer numbers,
what a text says about somebody without such a mark, and anything disguised (spelled out, split over
lines, encoded). A redacted text is less private data, it is not anonymous.

What has a checksum is also found by chance: one in eleven numbers of twelve digits is taken for a My
Number.
"""

from __future__ import annotations

from router.decision_log.redaction.internet import email_addresses, ip_addresses, url_secrets
from router.decision_log.redaction.numbers import Judge, bank_accounts, personal_numbers
from router.decision_log.redaction.places import postal_addresses
from router.decision_log.redaction.secrets import private_keys, spoken_secrets, tokens
from router.decision_log.redaction.spans import folded, replaced

__all__ = ["redact"]

_PASSES = 8
"""A placeholder can lay bare what its neighbour hid; one pass more than any text has needed."""


def redact(text: str) -> str:
    """The text with placeholders for personal data and secrets.

    Pure and deterministic, in time linear in the length; redacting twice changes nothing more. In a
    text with more candidates than :data:`numbers.JUDGED_CHARACTERS` holds, further
    numbers of eight digits or more become ``[number]`` without being looked at.
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
