"""What is taken out of a text before it is kept, and what is left alone."""

from __future__ import annotations

import re
import string
import sys
from re import _constants, _parser  # type: ignore[attr-defined]
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stdnum import luhn
from stdnum.jp import in_ as my_number

from benchmarks.texts import HOSTILE
from router.decision_log.redaction import internet, numbers, places, redact, secrets, spans
from router.decision_log.redaction.numbers import JUDGED_CHARACTERS

FOUND = {
    "taro.yamada@example.co.jp": "[email]",
    "mailto:josé+news@sub.example.com": "mailto:[email]",
    "太郎@example.jp": "[email]",
    "info@例え.jp": "[email]",
    "Ｔａｒｏ＠ｅｘａｍｐｌｅ．ｃｏｍ": "[email]",
    "a@b.example,c@d.example;": "[email],[email];",
    "090-1234-5678": "[phone]",
    "０９０−１２３４−５６７８": "[phone]",
    "080ー1234ー5678": "[phone]",
    "09012345678": "[phone]",
    "TEL03-1234-5678": "TEL[phone]",
    "Tel.: 03(1234)5678": "Tel.: [phone]",
    "+81 90 1234 5678": "[phone]",
    "(650) 253-0000": "[phone]",
    "650.253.0000": "[phone]",
    "call me at 6502530000": "call me at [phone]",
    "+44 20 7946 0958": "[phone]",
    "090-1234-5678 080-1234-5678": "[phone] [phone]",
    "4111 1111 1111 1111 exp 12/27": "[card] exp 12/27",
    "４１１１１１１１１１１１１１１１": "[card]",
    "378282246310005": "[card]",
    "3782 822463 10005": "[card]",
    "DE89 3704 0044 0532 0130 00 AND SO ON": "[iban] AND SO ON",
    "gb82west12345698765432": "[iban]",
    "6214 9832 0257": "[my_number]",
    "マイナンバーは６２１４９８３２０２５７です": "マイナンバーは[my_number]です",
    "536-90-4399": "[ssn]",
    "from 192.168.0.12 to 8.8.8.8.": "from [ip] to [ip].",
    "2001:db8::17 and fe80::dead:beef:1": "[ip] and [ip]",
    "〒100-0005 東京都千代田区丸の内1-9-2 グラントウキョウビル10Fへ": "[address]へ",
    "〒１５０−０００２": "[address]",
    "神奈川県横浜市西区みなとみらい2丁目3番1号に住む": "[address]に住む",
    "postgres://admin:s3cr3t@db/x": "postgres://[secret]@db/x",
    "https://x.test/a?lang=ja&access_token=abc123": "https://x.test/a?lang=ja&access_token=[secret]",
    "sk-proj-abcDEF1234567890abcdef": "[secret]",
    "export KEY=ghp_abcdefghijklmnopqrstuvwxyz0123456789": "export KEY=[secret]",
    "AKIAIOSFODNN7EXAMPLE": "[secret]",
    "xoxb-123456789012-abcdefGHIJ": "[secret]",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3": "[secret]",
    "Authorization: Bearer abcdefghijklmnop": "Authorization: Bearer [secret]",
    "password: hunter2": "password: [secret]",
    "my password is hunter2.": "my password is [secret].",
    '{"password": "a b,c", "x": 1}': '{"password": "[secret]", "x": 1}',
    "api_key = 'abcd1234efgh'": "api_key = '[secret]'",
    "DB_PASSWORD=swordfish": "DB_PASSWORD=[secret]",
    "パスワード：さくら123": "パスワード：[secret]",
    "パスワードはabc123です": "パスワードは[secret]です",
    "パスワードは「さくらさく」です": "パスワードは「[secret]」です",
    "ｐａｓｓｗｏｒｄ：ｈｕｎｔｅｒ２": "ｐａｓｓｗｏｒｄ：[secret]",
    "-----BEGIN RSA PRIVATE KEY-----\nMIIE\nabc=\n-----END RSA PRIVATE KEY----- and": "[secret] and",
}

LEFT = [
    "Prove that 0.1 + 0.2 != 0.3 in Python 3.11.7; pi = 3.14159265358979, x = 0.4539578763621486",
    "x^2 + y^2 = z^2, 10^100, 2**64 = 18446744073709551616, 6.02214076e23",
    "On 2026-11-23 12:00:00 and 2026/11/23, from 12:30:45 to 13:00, 2019–2021, pp. 123–145",
    "ISBN 978-3-16-148410-0, EAN 4006381333931, order 20261123-0001, ord-1234567890123",
    "Order A-0312345678 of batch 202611230017, part no. 123-45-678, tracking 1Z999AA10123456784",
    "価格は1,234,567円、$1,299.00。東京都の人口は1400万人、千代田区は2020年に6万人。",
    "注文番号20261123-0001、2026年11月23日 12時30分、第123回",
    "def f(password: str, token: str | None = None) -> str: return x[1::2]",
    "token = tokenizer.encode(text); password = getpass(); secret = os.environ['X']; max_tokens=100",
    "std::vector<int> v; Foo::Bar; abc::def; W@x.reshape(3); @app.route('/x'); a @ b.T",
    "password: ${PASSWORD}, password: <password>, password=****, password = config.password",
    "The password is required. I forgot my password. The secret: never give up.",
    "token: the smallest unit of text; API key: how do I get one?",
    "パスワードを忘れました。パスワードは必要ですか。トークンは何ですか？",
    "git clone git@github.com:me/it.git; icon@2x.png; npm i react@18.2.0 @types/node",
    "uuid 550e8400-e29b-41d4-a716-446655440000, sha 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b",
    "version 1.2.3.4, v1.2.3.4, 127.0.0.1, 0.0.0.0, 255.255.255.0, ::1, バージョン10.0.0.1",
    "1700000000 1700000001 1700000002123 12345678 123456789 1234567890",
    "12.50 13.75 14.25 100.00 2020 2021 2022 2023 2024 1 2 3 4 5 6 7 8 9 10 11 12",
    "https://example.com/a/2026-11-23?q=x&code_style=y#top and https://user.example.com/",
    "gpt-4o-2024-08-06, RTX 4090, A4 210x297, 10-20-30, (555) 12, 郵便番号とは何ですか",
    "[email] and [secret] and [phone] stay as they are",
    "",
]  # fmt: skip


@pytest.mark.parametrize(("text", "kept"), FOUND.items(), ids=FOUND.keys())
def test_what_has_a_form_of_its_own_is_replaced(text: str, kept: str) -> None:
    assert redact(text) == kept
    assert redact(f"前の文。\n{text}\nNext line.") == f"前の文。\n{kept}\nNext line."


def test_a_private_key_that_is_cut_off_goes_as_far_as_it_may_go() -> None:
    assert redact("-----BEGIN PRIVATE KEY-----\nMIIE\nabc=\n(the rest is lost)") == (
        "[secret](the rest is lost)"
    )
    assert "MIIE" not in redact("-----BEGIN EC PRIVATE KEY-----\nMIIE\n" * 3)


@pytest.mark.parametrize("text", LEFT)
def test_text_without_personal_data_is_left_as_it_is(text: str) -> None:
    assert redact(text) == text


# ── planted canaries ──────────────────────────────────────────────────────────────────────────────

ALNUM = string.ascii_letters + string.digits
SENTENCES = [
    "Please write to {} about the invoice.",
    "{}",
    "What is wrong with {}, and why?",
    "「{}」に送ってください。",
    "山田さんの連絡先は{}です。",
    "私の番号：{}、よろしく",
    '{{"contact": "{}", "n": 3}}',
    "first line\n{}\nlast line",
    "| name | {} |",
]
WIDE = str.maketrans({chr(c): chr(c + 0xFEE0) for c in range(0x21, 0x7F)})

emails = st.builds(
    "{}@{}.{}".format,
    st.from_regex(r"[a-z][a-z0-9]{0,12}([._+-][a-z0-9]{1,8})?", fullmatch=True),
    st.from_regex(r"[a-z][a-z0-9]{1,12}(-[a-z0-9]{1,6})?(\.[a-z]{2,8})?", fullmatch=True),
    st.sampled_from(["com", "jp", "co.jp", "org", "example", "io"]),
)


def digits(count: int) -> st.SearchStrategy[str]:
    return st.text("0123456789", min_size=count, max_size=count)


@st.composite
def phones(draw: st.DrawFn) -> str:
    mobile = [draw(st.sampled_from(["090", "080", "070"])), f"9{draw(digits(3))}", draw(digits(4))]
    tokyo = ["03", f"3{draw(digits(3))}", draw(digits(4))]
    american = [
        draw(st.sampled_from(["650", "212", "415"])),
        f"5{draw(digits(2))}",
        draw(digits(4)),
    ]
    parts = draw(st.sampled_from([mobile, tokyo]))
    dash = draw(st.sampled_from(["-", " ", "−", "‐", "ー", ""]))
    return draw(
        st.sampled_from(
            [
                dash.join(parts),
                f"{parts[0]}({parts[1]}){parts[2]}",
                f"+81 {parts[0][1:]}-{parts[1]}-{parts[2]}",
                "-".join(american),
                f"+1 ({american[0]}) {american[1]}-{american[2]}",
            ]
        )
    )


@st.composite
def cards(draw: st.DrawFn) -> str:
    start = draw(st.sampled_from(["4", "51", "55", "2221", "3530", "6011", "62"]))
    body = start + draw(digits(15 - len(start)))
    number = body + luhn.calc_check_digit(body)
    sign = draw(st.sampled_from(["", " ", "-"]))
    return sign.join(number[n : n + 4] for n in range(0, 16, 4))


@st.composite
def people_numbers(draw: st.DrawFn) -> str:
    body = "3" + draw(digits(10))
    number = body + my_number.calc_check_digit(body)
    return draw(st.sampled_from(["", " ", "-"])).join(number[n : n + 4] for n in (0, 4, 8))


def of(alphabet: str, least: int, most: int) -> st.SearchStrategy[str]:
    return st.text(alphabet, min_size=least, max_size=most)


keys = st.one_of(
    st.builds("sk-{}".format, of(ALNUM, 20, 48)),
    st.builds("sk-ant-api03-{}".format, of(ALNUM + "-_", 40, 95)),
    st.builds("ghp_{}".format, of(ALNUM, 36, 36)),
    st.builds("AKIA{}".format, of(string.ascii_uppercase + string.digits, 16, 16)),
    st.builds("xoxb-{}-{}".format, digits(12), of(ALNUM, 24, 24)),
    st.builds("eyJ{}.{}.{}".format, of(ALNUM, 20, 40), of(ALNUM, 20, 60), of(ALNUM, 20, 43)),
    st.builds("AIza{}".format, of(ALNUM, 35, 35)),
    st.builds("hf_{}".format, of(ALNUM, 34, 34)),
)
PASSWORD_TALK = [
    "password: {}", "Password = {} ok", '"passwd": "{}"', "パスワード：{}", "パスワードは{}です。",
    "the password is {}", "暗証番号: {}\n", "PWD={}",
]  # fmt: skip


def survives(canary: str, kept: str) -> bool:
    """Whether the canary or half of it is still there, in whatever width."""
    plain = spans.folded(kept)
    canary = spans.folded(canary)
    half = max(len(canary) // 2, 6)
    return any(canary[n : n + half] in plain for n in range(len(canary) - half + 1))


@given(
    canary=st.one_of(emails, phones(), cards(), people_numbers(), keys),
    sentence=st.sampled_from(SENTENCES),
    wide=st.booleans(),
)
def test_a_planted_canary_never_survives(canary: str, sentence: str, wide: bool) -> None:
    if wide:
        canary = canary.translate(WIDE).replace(" ", "\u3000")
    kept = redact(sentence.format(canary))
    assert not survives(canary, kept)
    head, _, tail = sentence.replace("{{", "{").replace("}}", "}").partition("{}")
    assert kept.startswith(head)
    assert kept.endswith(tail)
    assert redact(kept) == kept


@given(
    password=of(ALNUM, 4, 20).filter(lambda word: any(c.isdigit() for c in word)),
    sentence=st.sampled_from(PASSWORD_TALK),
)
def test_what_is_said_to_be_a_password_never_survives(password: str, sentence: str) -> None:
    kept = redact(sentence.format(password))
    assert password not in kept
    assert redact(kept) == kept


@given(st.lists(st.one_of(emails, phones(), cards(), keys), min_size=2, max_size=6), st.sampled_from(
    [", ", "\n", "、", " / ", "\t", " と "]))  # fmt: skip
def test_many_canaries_in_a_row_all_go(canaries: list[str], between: str) -> None:
    kept = redact(between.join(canaries))
    assert not any(survives(canary, kept) for canary in canaries)


PIECES = [
    "a@b.jp", "@", "090-1234-5678", "4111 1111 1111 1111", "password: ", "token=", "[secret]", "[phone]",
    "://", "?key=", "〒100-0005 ", "東京都千代田区丸の内1-9-2", "sk-aaaaaaaaaaaaaaaaaaaa", "192.168.1.7",
    "-----BEGIN PRIVATE KEY-----", "-----END", "1", " ", "-", ".", ":", "(", ")", '"', "「", "ー", "x",
    "の", "\n", "０", "DE89370400440532013000", "2001:db8::1",
]  # fmt: skip


@given(st.one_of(st.text(max_size=80), st.lists(st.sampled_from(PIECES), max_size=14).map("".join)))
def test_redacting_twice_changes_nothing_more(text: str) -> None:
    once = redact(text)
    assert redact(once) == once


# ── work ──────────────────────────────────────────────────────────────────────────────────────────

PATTERNS = [
    pattern
    for module in (internet, numbers, places, secrets)
    for pattern in module.PATTERNS  # type: ignore[attr-defined]
]


def unbounded_and_greedy(parsed: Any) -> list[str]:
    """The repeats that have no bound and may be given back one by one."""
    found = []
    for operation, value in parsed:
        repeats = operation in (_constants.MAX_REPEAT, _constants.MIN_REPEAT)
        if repeats and value[1] == _constants.MAXREPEAT:
            found.append(str(value))
        parts = value if isinstance(value, (tuple, list)) else [value]
        for part in parts:
            inner = part if isinstance(part, list) else [part]
            for each in inner:
                if isinstance(each, _parser.SubPattern):
                    found += unbounded_and_greedy(each)
    return found


def test_every_pattern_of_the_package_is_listed() -> None:
    for module in (internet, numbers, places, secrets):
        compiled = {value for value in vars(module).values() if isinstance(value, re.Pattern)}
        assert compiled - set(module.PATTERNS) == set()  # type: ignore[attr-defined]


@pytest.mark.parametrize("pattern", PATTERNS, ids=lambda pattern: pattern.pattern[:30])
def test_no_pattern_can_try_one_text_in_endless_ways(pattern: re.Pattern[str]) -> None:
    assert unbounded_and_greedy(_parser.parse(pattern.pattern, pattern.flags)) == []


@pytest.mark.parametrize("piece", HOSTILE)
def test_the_steps_grow_with_the_text_and_not_with_its_square(piece: str) -> None:
    # Steps outside the patterns; what patterns may do is above, and seconds are in `benchmarks texts`.
    def steps(count: int) -> int:
        taken = 0

        def count_step(_frame: Any, event: str, _value: Any) -> None:
            nonlocal taken
            taken += event in ("call", "c_call")

        text = piece * (count // len(piece))
        sys.setprofile(count_step)
        try:
            redact(text)
        finally:
            sys.setprofile(None)
        return taken

    short, long = steps(4_000), steps(32_000)
    # Eight times the text: a square would be 64 times the steps. The libraries' part is bounded.
    assert long < 12 * short + 1_000


def test_the_libraries_see_only_so_much_of_one_text(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    ask = numbers._phones

    def counted(run: str, **how: bool) -> Any:
        seen.append(run)
        return ask(run, **how)

    monkeypatch.setattr(numbers, "_phones", counted)
    lines = [f"{n:09d}1" for n in range(20_000)]
    kept = redact("\n".join(lines)).split("\n")
    assert sum(map(len, seen)) <= JUDGED_CHARACTERS
    assert kept[0] == lines[0]
    assert kept[-1] == "[number]"  # unseen, and so taken for what it may be
