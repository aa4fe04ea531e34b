from __future__ import annotations

import json
import os
import stat
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from router.access.api_keys import ApiKey, id_of_key, write_keys
from router.access.caller import Role
from router.access.key_store import KeyStore, watch_keys
from router.core.errors import BadArtifact, InvalidInput, MitsumoriError, NotFound

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


@dataclass
class Clock:
    now: datetime = field(default=NOON)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> KeyStore:
    return KeyStore(tmp_path / "keys.json", clock)


def create(store: KeyStore, **rights: Any) -> tuple[str, ApiKey]:
    given: dict[str, Any] = {
        "name": "gateway", "tenant": "acme", "roles": ["route"], "labels": {}, "scopes": {}, "expires": None,
    }  # fmt: skip
    return store.create(**{**given, **rights})


def valid(store: KeyStore, text: str, moment: datetime = NOON) -> bool:
    return store.book().caller(text, moment) is not None


def test_a_key_says_who_calls(store: KeyStore) -> None:
    text, key = create(store, labels={"team": "search"}, scopes={"user": ["a", "b"]})
    found = store.book().caller(text, NOON)
    assert found is not None
    caller, expires = found
    assert (caller.tenant, caller.roles, expires) == ("acme", frozenset({Role.ROUTE}), None)
    assert (caller.labels, caller.scopes) == ({"team": "search"}, {"user": frozenset({"a", "b"})})
    assert caller.name == f"key mk_{key.id}"
    assert text.startswith(f"mk_{key.id}_")


def test_what_is_kept_does_not_hold_the_key_and_is_the_owners_alone(store: KeyStore) -> None:
    text, key = create(store)
    kept = store.path.read_text() + store.secret_path.read_text()
    assert text not in kept
    assert text.removeprefix(f"mk_{key.id}_") not in kept
    for path in (store.path, store.secret_path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_keys_differ(store: KeyStore) -> None:
    texts = [create(store)[0] for _ in range(20)]
    assert len({id_of_key(text) for text in texts}) == 20
    assert all(valid(store, text) for text in texts)


@pytest.mark.parametrize("place", [3, 13, 14, 30, -1])
def test_no_other_text_is_valid(store: KeyStore, place: int) -> None:
    text, _ = create(store)
    place %= len(text)
    other = text[:place] + ("b" if text[place] != "b" else "c") + text[place + 1 :]
    assert not valid(store, other)
    for wrong in ("", "mk_", text[:-1], text + "a", text.upper(), f" {text}", "mk_é", "x" * 8000):
        assert not valid(store, wrong)


def test_a_copy_of_the_store_without_its_secret_is_of_no_use(
    store: KeyStore, tmp_path: Path
) -> None:
    text, _ = create(store)
    stolen = KeyStore(tmp_path / "stolen.json")
    create(stolen)
    stolen.path.write_bytes(store.path.read_bytes())
    assert not valid(stolen, text)


def test_a_key_expires_at_its_moment(store: KeyStore) -> None:
    text, _ = create(store, expires=NOON + timedelta(days=1))
    assert valid(store, text, NOON + timedelta(days=1) - timedelta(microseconds=1))
    assert not valid(store, text, NOON + timedelta(days=1))


def test_a_revoked_key_is_invalid_for_good(store: KeyStore, clock: Clock) -> None:
    text, key = create(store)
    other, _ = create(store)
    store.revoke(f"mk_{key.id}")
    clock.now += timedelta(hours=1)
    assert store.revoke(key.id).revoked == NOON
    assert not valid(store, text)
    assert valid(store, other)
    assert store.keys()[0].state_at(NOON) == "revoked"
    with pytest.raises(InvalidInput, match="is revoked"):
        store.rotate(key.id, timedelta(0))


def test_both_keys_are_valid_while_one_replaces_the_other(store: KeyStore, clock: Clock) -> None:
    old, key = create(store, labels={"team": "search"}, expires=NOON + timedelta(days=90))
    clock.now += timedelta(days=80)
    new, made = store.rotate(key.id, timedelta(hours=24))
    assert (made.tenant, made.roles, made.labels) == (key.tenant, key.roles, key.labels)
    assert made.expires == clock.now + timedelta(days=90)
    assert valid(store, old, clock.now + timedelta(hours=23))
    assert not valid(store, old, clock.now + timedelta(hours=24))
    assert valid(store, new, clock.now + timedelta(hours=24))


def test_a_rotation_never_makes_the_old_key_last_longer(store: KeyStore) -> None:
    old, key = create(store, expires=NOON + timedelta(hours=1))
    store.rotate(key.id, timedelta(hours=24))
    assert not valid(store, old, NOON + timedelta(hours=1))


@pytest.mark.parametrize("change", ["revoke", "rotate"])
def test_an_unknown_key_is_refused_without_quoting_it(store: KeyStore, change: str) -> None:
    create(store)
    with pytest.raises(NotFound) as caught:
        store.revoke("canary") if change == "revoke" else store.rotate("canary", timedelta(0))
    assert "canary" not in caught.value.message


@pytest.mark.parametrize("tenant", ["", "a b", "a:b"])
def test_a_key_with_wrong_rights_is_not_made(store: KeyStore, tenant: str) -> None:
    with pytest.raises(InvalidInput):
        create(store, tenant=tenant)
    assert not store.path.exists()


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b"\xff", b"[]", b'{"format": 2, "keys": []}', b'{"format": 1, "keys": [{}]}',
     b'{"format": 1, "keys": [], "more": 1}', b"[" * 100_000],
)  # fmt: skip
def test_a_damaged_store_is_refused_by_name(store: KeyStore, content: bytes) -> None:
    create(store)
    store.path.write_bytes(content)
    with pytest.raises(BadArtifact) as caught:
        store.book()
    assert str(store.path) in caught.value.message


def test_rights_that_were_altered_by_hand_are_refused(store: KeyStore) -> None:
    create(store)
    altered = json.loads(store.path.read_text())
    altered["keys"][0]["labels"] = {"tenant": "other"}
    store.path.write_text(json.dumps(altered))
    with pytest.raises(InvalidInput):
        store.book()


def test_a_store_without_its_secret_says_so(store: KeyStore) -> None:
    create(store)
    store.secret_path.unlink()
    with pytest.raises(BadArtifact, match="without it no key"):
        store.book()
    store.secret_path.write_text("short")
    with pytest.raises(BadArtifact, match="less than 32"):
        store.book()


def test_where_there_is_no_store_the_command_that_makes_it_is_named(store: KeyStore) -> None:
    with pytest.raises(NotFound, match="mitsumori keys create"):
        store.keys()


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(MitsumoriError, match="cannot be written"):
        create(KeyStore(tmp_path / "file" / "keys.json"))


def test_a_watched_store_follows_its_file_and_keeps_what_it_has_where_that_is_damaged(
    store: KeyStore,
) -> None:
    text, key = create(store)
    watched = watch_keys(store.path)
    book, version = watched.current()
    assert book.caller(text, NOON) is not None
    good = store.path.read_bytes()
    store.path.write_bytes(b"damaged")
    watched.look()
    assert watched.current() == (book, version)
    store.path.unlink()
    watched.look()
    assert watched.current() == (book, version)
    store.path.write_bytes(good)
    os.utime(store.path, ns=(1, 1))
    store.revoke(key.id)
    watched.look()
    book, later = watched.current()
    assert later > version
    assert book.caller(text, NOON) is None


def test_a_key_that_is_revoked_by_a_link_is_revoked_for_who_follows_the_file(
    store: KeyStore, tmp_path: Path
) -> None:
    text, key = create(store)
    link = tmp_path / "etc" / "keys.json"
    link.parent.mkdir()
    link.symlink_to(store.path)
    KeyStore(link).revoke(key.id)
    assert not valid(store, text)
    assert link.is_symlink()
    assert not link.with_name("keys.json.lock").exists()  # all writers lock one file


def test_a_store_with_two_names_is_not_changed_by_one_of_them(
    store: KeyStore, tmp_path: Path
) -> None:
    _, key = create(store)
    other = tmp_path / "other.json"
    os.link(store.path, other)
    for change in (lambda: create(store), lambda: KeyStore(other).revoke(key.id)):
        with pytest.raises(InvalidInput, match="hard links"):
            change()
    other.unlink()
    assert store.revoke(key.id).revoked is not None


def test_links_that_lead_in_a_circle_are_one_clear_line(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    first.symlink_to(second)
    second.symlink_to(first)
    with pytest.raises(MitsumoriError, match=r"circle|symbolic links"):
        KeyStore(first).revoke("x")


@pytest.mark.parametrize("name", ["keys.json", "keys.json.secret"])
def test_a_store_that_every_user_can_write_is_refused(store: KeyStore, name: str) -> None:
    create(store)
    path = store.path.with_name(name)
    path.chmod(0o644)  # as a secret of Kubernetes is
    watch_keys(store.path)
    path.chmod(0o602)
    for use in (store.book, lambda: watch_keys(store.path)):
        with pytest.raises(BadArtifact) as caught:
            use()
        assert caught.value.reason == "KEYS_UNPROTECTED"
        assert str(path) in caught.value.message


def test_ten_thousand_keys_are_a_store_and_a_key_too_many_leaves_it_as_it_was(
    store: KeyStore,
) -> None:
    text, key = create(store)
    many = [msgspec.structs.replace(key, id=f"{number:010d}") for number in range(10_000)]
    store.path.write_text(write_keys([key, *many]))
    new, _ = create(store)
    assert watch_keys(store.path).current()[0].caller(new, NOON) is not None
    scopes = {f"label{n}": [f"{v:0128d}" for v in range(256)] for n in range(16)}
    wide = msgspec.structs.replace(key, scopes=scopes)
    full = store.keys()
    while len(write_keys([*full, wide])) <= 8 << 20:
        full.append(wide)
    store.path.write_text(write_keys(full))
    with pytest.raises(InvalidInput, match="more than 8 MiB"):
        create(store, scopes=scopes)
    assert len(store.keys()) == len(full)
    assert valid(store, text)
    store.path.write_text(write_keys([*full, wide]))  # as an editor could
    assert store.revoke(key.id).revoked is not None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_store_that_root_changes_stays_readable_by_the_service(store: KeyStore) -> None:
    nobody = 65534
    _, key = create(store)
    os.chown(store.path, nobody, nobody)
    store.revoke(key.id)
    kept = store.path.stat()
    assert (kept.st_uid, kept.st_gid, stat.S_IMODE(kept.st_mode)) == (nobody, nobody, 0o600)
