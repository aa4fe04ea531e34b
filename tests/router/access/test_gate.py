from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from router.access.api_keys import KeyBook
from router.access.caller import ANONYMOUS
from router.access.failed_logins import FailedLogins
from router.access.gate import Gate
from router.access.key_store import KeyStore
from router.access.tokens import KeySet, TokenRules, TokenVerifier, read_key_set
from router.core.errors import Throttled, Unauthenticated
from tests.tokens import AUDIENCE, ISSUER, Issuer

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
ISSUED = Issuer()
WRONG = "mk_aaaaaaaaaa_" + "x" * 43


@dataclass
class Time:
    moment: datetime = NOON

    def __call__(self) -> datetime:
        return self.moment

    def seconds(self) -> float:
        return self.moment.timestamp()

    def pass_s(self, seconds: float) -> None:
        self.moment += timedelta(seconds=seconds)


@dataclass
class Changing:
    """What a watched file gives."""

    value: KeyBook
    version: int = 0
    looks: int = field(default=0)

    def current(self) -> tuple[KeyBook, int]:
        return self.value, self.version


@dataclass
class World:
    time: Time
    store: KeyStore
    keys: Changing
    gate: Gate
    text: str

    def call(self, text: str, peer: str = "10.0.0.1") -> str:
        return self.gate.caller([("authorization", f"Bearer {text}")], peer).name

    def reload(self) -> None:
        self.keys.value, self.keys.version = self.store.book(), self.keys.version + 1

    def ended_keys(self) -> tuple[str, str]:
        """A key that is revoked, and one that has expired."""
        revoked, key = self.store.create(
            name="b", tenant="b", roles=["route"], labels={}, scopes={}, expires=None
        )
        self.store.revoke(key.id)
        expired, _ = self.store.create(
            name="c", tenant="c", roles=["route"], labels={}, scopes={}, expires=NOON
        )
        self.reload()
        return revoked, expired


@pytest.fixture
def world(tmp_path: Path) -> World:
    time = Time()
    store = KeyStore(tmp_path / "keys.json", time)
    text, _ = store.create(
        name="gateway", tenant="acme", roles=["route"], labels={}, scopes={},
        expires=NOON + timedelta(days=1),
    )  # fmt: skip
    keys = Changing(store.book())
    logins = FailedLogins(3, clock=time.seconds)
    return World(time, store, keys, Gate(keys, logins=logins, now=time), text)


def test_without_credentials_every_caller_may_do_everything() -> None:
    gate = Gate()
    assert not gate.asks_for_credentials
    assert gate.caller([("authorization", "Bearer whatever")], "10.0.0.1") is ANONYMOUS


@pytest.mark.parametrize(
    "metadata",
    [
        [],
        [("authorization", "")],
        [("authorization", "Basic abc")],
        [("authorization", "Bearer ")],
        [("authorization", b"Bearer x")],
        [("x-api-key", "mk_x")],
    ],
)
def test_no_credential_is_said_plainly(world: World, metadata: list[tuple[str, str]]) -> None:
    for _ in range(50):  # it is no failed login
        with pytest.raises(Unauthenticated) as caught:
            world.gate.caller(metadata, "10.0.0.1")
    assert caught.value.reason == "NO_CREDENTIAL"


def test_unknown_expired_and_revoked_keys_get_the_same_answer(world: World) -> None:
    revoked, expired = world.ended_keys()
    said = set()
    for number, text in enumerate(
        [WRONG, revoked, expired, "nonsense", world.text[:-1] + "!", "x" * 100_000]
    ):
        with pytest.raises(Unauthenticated) as caught:
            world.call(text, f"10.0.0.{number}")
        said.add((caught.value.reason, caught.value.message))
        assert text not in caught.value.message
    assert len(said) == 1


def test_the_log_says_what_the_caller_is_not_told(
    world: World, log: list[structlog.typing.EventDict]
) -> None:
    revoked, expired = world.ended_keys()
    for number, text in enumerate([WRONG, revoked, expired, "x.y.z", "x" * 100_000]):
        with pytest.raises(Unauthenticated):
            world.call(text, f"10.0.0.{number}")
    assert [line["why"] for line in log] == [
        "not a key of this store",
        "revoked",
        "expired",
        "a token, and no jwt_issuer is set",
        "longer than 8192 characters",
    ]


def test_a_verified_key_expires_all_the_same(world: World) -> None:
    assert world.call(world.text).startswith("key mk_")
    world.time.pass_s(86_400 - 1)
    assert world.call(world.text)
    world.time.pass_s(1)
    with pytest.raises(Unauthenticated):
        world.call(world.text)


def test_a_verified_key_is_revoked_all_the_same(world: World) -> None:
    assert world.call(world.text)
    world.store.revoke(world.store.keys()[0].id)
    world.reload()
    with pytest.raises(Unauthenticated):
        world.call(world.text)


def test_a_peer_that_fails_too_often_waits_and_others_do_not(world: World) -> None:
    for _ in range(3):
        with pytest.raises(Unauthenticated):
            world.call(WRONG)
    with pytest.raises(Throttled) as caught:
        world.call(WRONG)
    assert caught.value.retry_after_s == pytest.approx(20)
    with pytest.raises(Unauthenticated):
        world.call(WRONG, "10.0.0.2")
    world.time.pass_s(20)
    with pytest.raises(Unauthenticated):
        world.call(WRONG)
    with pytest.raises(Throttled):
        world.call(WRONG)


def test_a_credential_in_use_goes_on_working_behind_the_address_of_one_who_guesses(
    world: World,
) -> None:
    assert world.call(world.text)
    for _ in range(10):
        with pytest.raises((Unauthenticated, Throttled)):
            world.call(WRONG)
    assert world.call(world.text)


@pytest.mark.parametrize("happens", ["nothing", "another key is made", "the process starts again"])
def test_a_valid_credential_passes_behind_the_address_of_one_who_guesses(
    world: World, happens: str
) -> None:
    """As behind a proxy: one pod with a revoked key would otherwise shut out all that start after it."""
    assert world.call(world.text)
    new, _ = world.store.create(
        name="new", tenant="beta", roles=["route"], labels={}, scopes={}, expires=None
    )
    for _ in range(10):
        with pytest.raises((Unauthenticated, Throttled)):
            world.call(WRONG)
    if happens != "nothing":
        world.reload()
        assert world.call(new)
    if happens == "the process starts again":
        logins = FailedLogins(1, clock=world.time.seconds)
        logins.record("10.0.0.1")
        world.gate = Gate(world.keys, logins=logins, now=world.time)
    assert world.call(world.text)
    with pytest.raises(Throttled):
        world.call(WRONG)


def test_many_credentials_are_remembered_within_bounds(world: World) -> None:
    texts = [
        world.store.create(
            name=str(n), tenant="t", roles=["route"], labels={}, scopes={}, expires=None
        )[0]
        for n in range(3)
    ]
    world.reload()
    from router.access import gate as module

    most = module._MOST_VERIFIED
    module._MOST_VERIFIED = 2
    try:
        for text in [*texts, world.text, *texts]:
            assert world.call(text)
            assert len(world.gate._verified) <= 2
    finally:
        module._MOST_VERIFIED = most


def test_failures_of_many_peers_are_remembered_within_bounds() -> None:
    logins = FailedLogins(1, clock=lambda: 0.0, most_peers=2)
    for peer in "abc":
        logins.record(peer)
    assert [logins.wait_s(peer) > 0 for peer in "abc"] == [False, True, True]


@pytest.mark.parametrize("per_minute", [1, 7, 60, 600])
def test_a_peer_may_fail_as_often_as_was_set_and_then_at_that_rate(per_minute: int) -> None:
    now = [1000.0]
    logins = FailedLogins(per_minute, clock=lambda: now[0])
    for _ in range(per_minute):
        assert logins.wait_s("p") == 0
        logins.record("p")
    wait = logins.wait_s("p")
    assert wait == pytest.approx(60 / per_minute)
    now[0] += wait
    assert logins.wait_s("p") == 0
    logins.record("p")
    assert logins.wait_s("p") > 0


TEXTS = st.text(st.characters(codec="utf-8"), max_size=200)


@given(
    st.lists(st.tuples(st.sampled_from(["authorization", "x"]), TEXTS | st.binary()), max_size=3)
)
def test_no_metadata_is_more_than_refused(metadata: list[tuple[str, str | bytes]]) -> None:
    keys = read_key_set(ISSUED.jwks(), "jwks")
    gate = Gate(Changing(KeyBook([], b"s" * 32)), verifier(keys), logins=FailedLogins(100_000))
    with pytest.raises(Unauthenticated):
        gate.caller(metadata, "p")


@given(TEXTS, TEXTS, st.integers(0, 2))
def test_no_text_is_a_key_or_a_token(head: str, tail: str, place: int) -> None:
    keys = read_key_set(ISSUED.jwks(), "jwks")
    gate = Gate(Changing(KeyBook([], b"s" * 32)), verifier(keys), logins=FailedLogins(100_000))
    parts = ISSUED.token(now=NOON).split(".")
    parts[place] = f"{head}{parts[place]}{tail}" if head or tail else "x"
    for text in (f"mk_{head}_{tail}", ".".join(parts)):
        with pytest.raises(Unauthenticated):
            gate.caller([("authorization", f"Bearer {text}")], "p")


# ── tokens ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def issuer() -> Issuer:
    return ISSUED


def verifier(keys: KeySet, **rules: str) -> TokenVerifier:
    return TokenVerifier(TokenRules(ISSUER, AUDIENCE, **rules), lambda: keys, now=lambda: NOON)


def test_a_token_says_who_calls(issuer: Issuer) -> None:
    checks = verifier(read_key_set(issuer.jwks(), "jwks"))
    token = issuer.token(
        now=NOON, labels={"team": "search"}, roles="settle route other", aud=["x", AUDIENCE]
    )
    found = checks.caller(token)
    assert found is not None
    caller, expires = found
    assert (caller.tenant, sorted(caller.roles), caller.labels) == (
        "acme", ["route", "settle"], {"team": "search"},
    )  # fmt: skip
    assert caller.name == "token of gateway"
    assert expires == NOON + timedelta(hours=1, seconds=30)


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "https://other.example"},
        {"iss": None},
        {"aud": "other"},
        {"aud": None},
        {"exp": None},
        {"exp": NOON - timedelta(seconds=30)},
        {"exp": "soon"},
        {"exp": 1e300},
        {"exp": 10**400},
        {"exp": math.inf},
        {"exp": math.nan},
        {"nbf": NOON + timedelta(seconds=31)},
        {"nbf": math.nan},
        {"nbf": -(10**400)},
        {"tenant": None},
        {"tenant": "a:b"},
        {"tenant": ["acme"]},
        {"roles": 5},
        {"labels": {"tenant": "other"}},
        {"scopes": {"team": "search"}},
    ],
)
def test_a_token_that_says_something_else_is_not_valid(
    issuer: Issuer, claims: dict[str, object]
) -> None:
    checks = verifier(read_key_set(issuer.jwks(), "jwks"))
    assert checks.caller(issuer.token(now=NOON)) is not None
    assert checks.caller(issuer.token(now=NOON, **claims)) is None


@pytest.mark.parametrize(
    ("claims", "why"),
    [
        ({"exp": NOON - timedelta(seconds=30)}, "expired"),
        ({"nbf": NOON + timedelta(seconds=31)}, "not valid yet (nbf)"),
        ({"iss": "https://other.example"}, "of another issuer than jwt_issuer"),
        ({"aud": "other"}, "for another audience than jwt_audience"),
        ({"exp": None}, "without exp, iss or aud"),
        ({"exp": "soon"}, "not a JSON Web Token that can be read"),
        ({"tenant": None}, "tenant: the claim is missing or has another form"),
        ({"labels": {"tenant": "other"}}, "labels: the claim is missing or has another form"),
        ({}, ""),
    ],
)
def test_the_log_says_why_a_token_is_not_valid(
    issuer: Issuer, claims: dict[str, object], why: str
) -> None:
    checks = verifier(read_key_set(issuer.jwks(), "jwks"))
    assert checks.why_not(issuer.token(now=NOON, **claims)) == why


def test_the_log_says_why_a_signature_is_not_valid(issuer: Issuer) -> None:
    checks = verifier(read_key_set(issuer.jwks(), "jwks"))
    forged = Issuer(issuer.key_id).token(now=NOON)
    unknown = Issuer("k2").token(now=NOON)
    assert [checks.why_not(token) for token in (forged, unknown, "a.b.c")] == [
        "the signature is wrong",
        "signed with a key that jwt_keys does not have",
        "not a JSON Web Token that can be read",
    ]


def test_a_token_of_another_key_is_not_valid_though_it_names_ours(issuer: Issuer) -> None:
    checks = verifier(read_key_set(issuer.jwks(), "jwks"))
    assert checks.caller(Issuer(issuer.key_id).token(now=NOON)) is None


def test_an_unknown_key_is_asked_for_once_more(issuer: Issuer) -> None:
    asked: list[None] = []
    keys = read_key_set(issuer.jwks(), "jwks")
    checks = TokenVerifier(
        TokenRules(ISSUER, AUDIENCE),
        lambda: keys,
        unknown_key=lambda: asked.append(None),
        now=lambda: NOON,
    )
    assert checks.caller(Issuer("k2").token(now=NOON)) is None
    assert len(asked) == 1


def test_a_token_is_not_signed_by_what_anyone_can_read(issuer: Issuer) -> None:
    import jwt

    checks = verifier(read_key_set(issuer.jwks(), "jwks"))
    claims = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "exp": NOON + timedelta(hours=1),
        "tenant": "acme",
        "roles": ["admin"],
    }
    unsigned = jwt.encode(claims, None, algorithm="none", headers={"kid": issuer.key_id})
    shared = jwt.encode(claims, "0" * 64, algorithm="HS256", headers={"kid": issuer.key_id})
    for token in (unsigned, shared, "a.b.c", "", "e30.e30.", "é", issuer.token(now=NOON)[:-4]):
        assert checks.caller(token) is None


def test_the_claims_with_tenant_and_roles_can_have_other_names(issuer: Issuer) -> None:
    keys = read_key_set(issuer.jwks(), "jwks")
    token = issuer.token(now=NOON, org="beta", tenant=None, roles=None, grants=["read"])
    found = verifier(keys, tenant_claim="org", roles_claim="grants").caller(token)
    assert found is not None
    assert (found[0].tenant, sorted(found[0].roles)) == ("beta", ["read"])
    everyone = verifier(keys, tenant_claim="").caller(issuer.token(now=NOON))
    assert everyone is not None
    assert everyone[0].tenant is None


def test_a_verified_token_expires(issuer: Issuer) -> None:
    time = Time()
    keys = read_key_set(issuer.jwks(), "jwks")
    checks = TokenVerifier(TokenRules(ISSUER, AUDIENCE), lambda: keys, now=time)
    gate = Gate(None, checks, now=time)
    metadata = [("authorization", f"bearer {issuer.token(now=NOON)}")]
    assert gate.caller(metadata, "p").tenant == "acme"
    time.pass_s(3630 - 1)
    assert gate.caller(metadata, "p").tenant == "acme"
    time.pass_s(1)
    with pytest.raises(Unauthenticated):
        gate.caller(metadata, "p")
