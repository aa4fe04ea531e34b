"""Filling the cache of embeddings: in threads, on Ray, and after a kill."""

from __future__ import annotations

import contextlib
import json
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from router.classifier.encoder import Encoder, find_encoder, load_encoder
from router.core.errors import MitsumoriError
from router.paths import ENCODERS
from tests.readiness import wait_until
from training import cli
from training.encoders import embedding, ray_encoder
from training.encoders.embedding import Encoding, embed_all, encode_shard, fill_cache
from training.encoders.ray_encoder import on_ray

ray = pytest.importorskip("ray")

SMALL = 8
"""Texts per shard."""
TEXTS = [f"Prompt {number}: {'why ' * (number % 7)}東京" for number in range(10 * SMALL + 3)]


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return load_encoder(find_encoder(ENCODERS, "minilm"))


@pytest.fixture(scope="module")
def encode_on_ray() -> Iterator[Encoding]:
    """One local cluster for all tests: it takes seconds to start, and on a busy machine a second try."""
    with contextlib.ExitStack() as stack:
        cluster = on_ray(find_encoder(ENCODERS, "minilm"), workers=2)
        try:
            encode = stack.enter_context(cluster)
        except Exception:  # noqa: BLE001 - a node that takes over half a minute is a plain Exception
            ray.shutdown()
            encode = stack.enter_context(on_ray(find_encoder(ENCODERS, "minilm"), workers=2))
        yield encode


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding, "SHARD", SMALL)


def history(path: Path, texts: list[str]) -> Path:
    rows = [{"prompt": text, "model": model} for model in ("small", "large") for text in texts]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def command(*words: object, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr("sys.argv", ["training", "embed", *map(str, words)])
    with pytest.raises(SystemExit) as left:
        cli.main()
    return int(left.value.code or 0)


def rows(cache: Path) -> dict[bytes, bytes]:
    (file,) = cache.glob("*.sqlite")
    with contextlib.closing(sqlite3.connect(file)) as connection:
        return dict(connection.execute("SELECT key, vector FROM vectors"))


def kill_an_encoding_worker() -> bool:
    """Kill a process of the cluster that is encoding at the moment, if there is one."""
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if "".join(process.cmdline()).startswith("ray::_encode"):
                process.kill()
                return True
    return False


def no_encoding(shards: Any) -> Iterator[Any]:
    assert not list(shards), "everything is in the cache, so nothing is to be encoded"
    return iter(())


# --- In this process ---------------------------------------------------------------------------


def test_every_distinct_prompt_is_encoded_once_and_training_finds_it(
    tmp_path: Path,
    encoder: Encoder,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = history(tmp_path / "a.jsonl", TEXTS)
    options = ("--history", file, "--encoder", "minilm", "--cache", tmp_path / "cache", "--json")
    for found in (0, len(TEXTS)):
        assert command(*options, monkeypatch=monkeypatch) == 0
        told = json.loads(capsys.readouterr().out)
        assert (told["prompts"], told["found"]) == (len(TEXTS), found)
        assert told["encoded"] == len(TEXTS) - found
    monkeypatch.setattr(Encoder, "embed", None)
    assert embed_all(encoder, TEXTS, cache=tmp_path / "cache").shape == (len(TEXTS), 384)


@pytest.mark.usefixtures("small_shards")
def test_a_run_that_breaks_off_keeps_what_it_made(tmp_path: Path, encoder: Encoder) -> None:
    def breaking(shards: Any) -> Iterator[Any]:
        for number, shard in enumerate(shards):
            if number == 3:
                raise KeyboardInterrupt
            yield shard, encode_shard(encoder, shard)

    whole = len(TEXTS)
    with pytest.raises(KeyboardInterrupt):
        fill_cache(encoder, TEXTS, cache=tmp_path, total=whole, encode=breaking)
    again = fill_cache(encoder, TEXTS, cache=tmp_path, total=whole)
    assert (again.prompts, again.found, again.made) == (whole, 3 * SMALL, whole - 3 * SMALL)
    fill_cache(encoder, TEXTS, cache=tmp_path, total=whole, encode=no_encoding)


def test_a_text_that_cannot_be_encoded_is_named_by_its_hash(
    tmp_path: Path, encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(_: Encoder, text: str) -> Any:
        raise RuntimeError(text)

    monkeypatch.setattr(Encoder, "embed", failing)
    with pytest.raises(
        MitsumoriError, match=r"begins with 2bb80d537b1da3e3 \(RuntimeError\)"
    ) as caught:
        fill_cache(encoder, ["secret"], cache=tmp_path, total=1)
    assert "secret" not in caught.value.message


# --- On Ray ------------------------------------------------------------------------------------


@pytest.mark.usefixtures("small_shards")
def test_ray_makes_the_same_bytes_though_a_worker_dies(
    tmp_path: Path, encoder: Encoder, encode_on_ray: Encoding
) -> None:
    killed = False

    def encode(shards: Any) -> Iterator[Any]:
        nonlocal killed
        for made in encode_on_ray(shards):
            killed = killed or kill_an_encoding_worker()
            yield made

    fill_cache(encoder, TEXTS, cache=tmp_path / "ray", total=len(TEXTS), encode=encode)
    fill_cache(encoder, TEXTS, cache=tmp_path / "here", total=len(TEXTS))
    assert killed
    assert rows(tmp_path / "ray") == rows(tmp_path / "here")


def test_a_failure_in_a_worker_is_one_clear_error(encode_on_ray: Encoding) -> None:
    key = bytes(32)
    wrong: Any = {key: 7}  # no text at all
    with pytest.raises(MitsumoriError, match=r"cannot encode the prompt .* \(\w+Error\); leave"):
        list(encode_on_ray([wrong]))


def test_a_killed_run_goes_on_where_it_stopped(
    tmp_path: Path, encoder: Encoder, encode_on_ray: Encoding
) -> None:
    texts = [f"{number}: {'to be or not to be ' * 3}" for number in range(5 * embedding.SHARD)]
    file = history(tmp_path / "a.jsonl", texts)
    address = ray.get_runtime_context().gcs_address
    driver = subprocess.Popen(
        [
            sys.executable, "-m", "training", "embed", "--history", str(file), "--encoder", "minilm",
            "--cache", str(tmp_path / "cache"), "--ray-address", address,
        ],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip

    def begun() -> bool:
        kept = False
        with contextlib.suppress(ValueError, sqlite3.Error):  # the file is not there yet
            kept = bool(rows(tmp_path / "cache"))
        return kept or driver.poll() is not None

    wait_until(begun)
    driver.kill()
    _, said = driver.communicate()
    assert driver.returncode == -signal.SIGKILL, said
    kept = len(rows(tmp_path / "cache"))
    assert 0 < kept < len(texts)
    again = fill_cache(
        encoder, texts, cache=tmp_path / "cache", total=len(texts), encode=encode_on_ray
    )
    assert (again.prompts, again.found) == (len(texts), kept)
    some = texts[:: embedding.SHARD]
    found = embed_all(encoder, some, cache=tmp_path / "cache")
    np.testing.assert_array_equal(found, np.stack([encoder.embed(text) for text in some]))


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("127.0.0.1:1", "nobody answers there (Connection refused)"),
        ("ray://127.0.0.1:1", "nobody answers there (Connection refused)"),
        ("cluster", "is not an address"),
        ("cluster:none", "is not an address"),
    ],
)
def test_an_address_without_a_cluster_is_one_clear_error(
    tmp_path: Path,
    address: str,
    why: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = history(tmp_path / "a.jsonl", TEXTS[:2])
    words = ("--history", file, "--cache", tmp_path / "cache", "--ray-address", address)
    assert command(*words, monkeypatch=monkeypatch) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert f"--ray-address {address}: {why}; give HOST:PORT" in told


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--workers", 2), "--workers is for --ray"),
        (("--workers", 2, "--ray-address", "auto"), "--workers is for a local cluster"),
    ],
)
def test_workers_are_those_of_a_local_cluster(
    tmp_path: Path,
    words: tuple[object, ...],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = history(tmp_path / "a.jsonl", TEXTS[:2])
    assert command("--history", file, *words, monkeypatch=monkeypatch) == 2
    assert message in capsys.readouterr().err


def test_without_ray_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with (
        pytest.raises(MitsumoriError, match=r"pip install 'mitsumori\[ray\]'"),
        on_ray(find_encoder(ENCODERS, "static")),
    ):
        pass


def test_a_local_cluster_that_does_not_start_is_one_clear_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def failing(*_: object, **__: object) -> None:
        raise RuntimeError("No room. Much more.\nAnd a trace")

    monkeypatch.setattr(ray, "init", failing)
    with (
        pytest.raises(MitsumoriError, match=r"cannot be started \(No room\); encode without --ray"),
        on_ray(find_encoder(ENCODERS, "static")),
    ):
        pass


def test_the_encoder_of_a_worker_is_the_one_that_was_sent(encode_on_ray: Encoding) -> None:
    directory = find_encoder(ENCODERS, "static")
    files = ray.put({path.name: path.read_bytes() for path in directory.iterdir()})
    loaded = ray_encoder._loaded(files)
    assert loaded.manifest == load_encoder(directory).manifest
