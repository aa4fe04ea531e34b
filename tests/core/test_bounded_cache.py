"""The cache that is bounded in bytes."""

from __future__ import annotations

from router.core.bounded_cache import BoundedCache, bytes_of_pairs


def test_the_oldest_entries_go_where_the_bytes_run_out() -> None:
    cache = BoundedCache[str, int](10_000)
    for number in range(100):
        cache.put(str(number), number, 800)  # 1,000 bytes with what an entry takes itself
    assert len(cache) == 10
    assert cache.nbytes == 10_000
    assert [cache.get(str(number)) for number in (89, 90, 99)] == [None, 90, 99]


def test_an_entry_that_would_push_out_the_others_is_not_kept() -> None:
    cache = BoundedCache[str, str](10_000)
    cache.put("small", "kept", 10)
    cache.put("large", "not kept", 2_000)
    assert (cache.get("small"), cache.get("large")) == ("kept", None)


def test_a_value_that_is_replaced_or_forgotten_takes_no_bytes() -> None:
    cache = BoundedCache[str, int](10_000)
    for number in range(1_000):
        cache.put("one", number, 100)
    assert (cache.get("one"), cache.nbytes) == (999, 300)
    cache.pop("one")
    cache.pop("one")
    assert (len(cache), cache.nbytes) == (0, 0)


def test_long_characters_count_for_what_they_take() -> None:
    assert bytes_of_pairs([("a", "😀" * 128)]) > bytes_of_pairs([("a", "x" * 128)]) + 300
