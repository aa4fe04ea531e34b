"""The shipped encoders: truncation, stability, and what they refuse."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.classifier.encoder import (
    Encoder,
    find_encoder,
    load_encoder,
    session,
)
from router.core.errors import BadArtifact, InvalidInput
from router.core.types import Message, Prompt
from router.paths import ENCODERS

NAMES = ("static", "minilm", "multilingual")
LOADED = {name: load_encoder(find_encoder(ENCODERS, name)) for name in NAMES}

every = pytest.mark.parametrize("encoder", LOADED.values(), ids=LOADED.keys())

# Everything a JSON string can carry: NUL, combining marks, and halves of surrogate pairs.
any_text = st.text(
    st.one_of(
        st.characters(exclude_categories=()),
        st.sampled_from("\x00\u0301\u200d\ud83d\ude00\U0001f468\u3042漢\u202e\ufeff\n\t "),
    ),
    max_size=400,
)


def words(count: int) -> str:
    """A text of ``count`` different one-token words."""
    return " ".join(["red", "green", "blue", "black", "white"][i % 5] for i in range(count))


def prompt(*turns: tuple[str, str]) -> Prompt:
    return Prompt(tuple(Message(role, text) for role, text in turns))


@every
def test_a_short_text_is_kept_whole(encoder: Encoder) -> None:
    manifest = encoder.manifest
    room = manifest.max_tokens - len(manifest.prefix_ids) - len(manifest.suffix_ids)
    assert len(encoder.token_ids(words(room))) == manifest.max_tokens
    assert len(encoder.token_ids(words(room - 1))) == manifest.max_tokens - 1


@every
def test_a_long_text_keeps_its_head_and_its_tail(encoder: Encoder) -> None:
    manifest = encoder.manifest
    whole = encoder.token_ids("first " + words(100) + " " + words(100) + " last")
    assert len(whole) == manifest.max_tokens
    start, end = len(manifest.prefix_ids), len(whole) - len(manifest.suffix_ids)
    assert whole[:start] == manifest.prefix_ids
    assert whole[end:] == manifest.suffix_ids
    # SentencePiece writes the space before a word as part of it.
    assert encoder.tokenizer.id_to_token(whole[start]).lstrip("▁") == "first"
    assert encoder.tokenizer.id_to_token(whole[end - 1]).lstrip("▁") == "last"


@every
@pytest.mark.parametrize("middle", [300, 5_000, 400_000])
def test_what_stands_in_the_middle_of_a_long_text_does_not_matter(
    encoder: Encoder, middle: int
) -> None:
    head, tail = words(500), words(501)
    one = encoder.token_ids(head + " " + words(middle) + " " + tail)
    other = encoder.token_ids(head + " " + "secret " * middle + " " + tail)
    assert one == other
    assert len(one) == encoder.manifest.max_tokens


@every
def test_the_window_is_never_exceeded_by_a_text_without_spaces(encoder: Encoder) -> None:
    assert len(encoder.token_ids("漢字" * 50_000)) <= encoder.manifest.max_tokens
    assert len(encoder.token_ids("?!" * 50_000)) == encoder.manifest.max_tokens


@every
def test_the_same_text_gives_the_same_vector(encoder: Encoder) -> None:
    again = load_encoder(find_encoder(ENCODERS, encoder.manifest.name))
    text = "How many prime numbers are there below one hundred?"
    first = encoder.embed(text)
    assert np.array_equal(first, encoder.embed(text))
    assert np.array_equal(first, again.embed(text))


@every
def test_a_vector_has_the_promised_shape_type_and_length(encoder: Encoder) -> None:
    vector = encoder.embed("What is the capital of France?")
    assert vector.shape == (encoder.manifest.dimensions,)
    assert vector.dtype == np.float32
    assert np.linalg.norm(vector) == pytest.approx(1.0, abs=1e-5)


@every
def test_meaning_decides_which_texts_are_near(encoder: Encoder) -> None:
    question, paraphrase, other = (
        encoder.embed(text)
        for text in (
            "How do I sort a list in Python?",
            "What is the way to order a Python list?",
            "My grandmother bakes apple cake on Sundays.",
        )
    )
    assert question @ paraphrase > question @ other + 0.2


@pytest.mark.parametrize(
    ("question", "paraphrase", "other"),
    [
        (
            "日本の首都はどこですか。",
            "日本の首都を教えてください。",
            "祖母は日曜日に林檎のケーキを焼きます。",
        ),
        ("リストを並べ替える方法は？", "リストをソートするには？", "契約違反の時効は何年ですか。"),
        (
            "次の英文を和訳してください。",
            "この英語を日本語に翻訳して。",
            "二次方程式を解いてください。",
        ),
        # The same question in English, then in Spanish and Korean.
        (
            "What is the capital of Japan?",
            "日本の首都はどこですか。",
            "契約違反の時効は何年ですか。",
        ),
        ("日本の首都はどこですか。", "¿Cuál es la capital de Japón?", "¿Cómo se ordena una lista?"),
        (
            "日本の首都はどこですか。",
            "일본의 수도는 어디입니까?",
            "할머니는 일요일에 사과 케이크를 굽습니다.",
        ),
    ],
)
def test_meaning_decides_in_japanese_and_across_languages(
    question: str, paraphrase: str, other: str
) -> None:
    asked, same, unlike = map(LOADED["multilingual"].embed, (question, paraphrase, other))
    assert asked @ same > asked @ unlike + 0.3


def test_the_multilingual_encoder_says_that_it_reads_japanese() -> None:
    assert {"en", "ja"} <= set(LOADED["multilingual"].manifest.languages)
    assert LOADED["static"].manifest.languages == LOADED["minilm"].manifest.languages == ["en"]


def test_the_width_of_kana_and_latin_letters_does_not_matter_to_the_multilingual_encoder() -> None:
    cut = LOADED["multilingual"].token_ids
    assert cut("ｶﾞｷﾞｸﾞ ﾊﾟﾋﾟﾌﾟ") == cut("ガギグ パピプ")
    assert cut("ＡＢＣ　１２３") == cut("ABC 123")


def test_a_text_that_spells_a_special_token_is_text() -> None:
    encoder = LOADED["multilingual"]
    special = {*encoder.manifest.prefix_ids, *encoder.manifest.suffix_ids}
    assert not special & set(encoder.word_ids("<s> a </s> <unk>"))


def test_japanese_is_cut_into_words_that_are_known() -> None:
    pieces = LOADED["multilingual"].tokenizer.encode("日本の首都はどこですか。").tokens
    assert pieces == ["<s>", "▁日本の", "首都", "は", "どこ", "です", "か", "。", "</s>"]


def test_an_empty_text_is_zeros_for_a_table_and_a_unit_vector_for_the_others() -> None:
    assert not LOADED["static"].embed("").any()
    assert LOADED["static"].embed("").shape == (LOADED["static"].manifest.dimensions,)
    for name in ("minilm", "multilingual"):
        assert np.linalg.norm(LOADED[name].embed("")) == pytest.approx(1.0, abs=1e-5)


def test_a_table_skips_tokens_it_does_not_know() -> None:
    static = LOADED["static"]
    assert static.manifest.unknown_id is not None
    assert static.token_ids("𓀀 hello 𓀀") == static.token_ids("hello")


def test_half_of_a_surrogate_pair_counts_as_a_question_mark() -> None:
    for encoder in LOADED.values():
        assert encoder.token_ids("why \ud83d") == encoder.token_ids("why ?")


@given(any_text)
@settings(max_examples=300)
def test_any_text_gives_a_finite_unit_or_zero_vector_from_the_table(text: str) -> None:
    encoder = LOADED["static"]
    ids = encoder.token_ids(text)
    vector = encoder.embed(text)
    assert len(ids) <= encoder.manifest.max_tokens
    assert np.isfinite(vector).all()
    # A table has no special tokens: a text of nothing that it knows is a zero vector.
    assert np.linalg.norm(vector) == pytest.approx(1.0 if ids else 0.0, abs=1e-5)


@pytest.mark.parametrize("name", ["minilm", "multilingual"])
@given(text=any_text)
@settings(max_examples=60)
def test_any_text_gives_a_finite_unit_vector_from_the_others(name: str, text: str) -> None:
    encoder = LOADED[name]
    vector = encoder.embed(text)
    ids = encoder.token_ids(text)
    assert len(ids) <= encoder.manifest.max_tokens
    # What hashes them counts on small numbers that are not negative.
    assert 0 <= min(ids) <= max(ids) < 2**17
    assert np.isfinite(vector).all()
    assert np.linalg.norm(vector) == pytest.approx(1.0, abs=1e-5)


@every
def test_the_directory_is_named_by_the_identity(encoder: Encoder) -> None:
    name = encoder.manifest.name
    directory = find_encoder(ENCODERS, name)
    assert directory == ENCODERS / name / encoder.manifest.sha256[:12]
    selected = json.loads((ENCODERS / "selected.json").read_text())
    assert selected[name] == encoder.manifest.sha256
    assert find_encoder(ENCODERS, name, encoder.manifest.sha256) == directory


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """A folder of encoders that a test may damage; only ``static`` is there."""
    directory = find_encoder(ENCODERS, "static")
    shutil.copytree(directory, tmp_path / "static" / directory.name)
    sha256 = LOADED["static"].manifest.sha256
    (tmp_path / "selected.json").write_text(json.dumps({"static": sha256}))
    return tmp_path


@pytest.mark.parametrize("file", ["model.onnx", "tokenizer.json", "LICENSE"])
def test_an_altered_file_is_refused_by_name(copied: Path, file: str) -> None:
    path = find_encoder(copied, "static") / file
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(BadArtifact, match=rf"{file} was altered.*make encoder") as caught:
        load_encoder(path.parent)
    assert caught.value.reason == "HASH_MISMATCH"
    assert caught.value.field == str(path)


@pytest.mark.parametrize("file", ["model.onnx", "tokenizer.json", "encoder.json"])
def test_a_missing_file_is_named_with_the_remedy(copied: Path, file: str) -> None:
    directory = find_encoder(copied, "static")
    (directory / file).unlink()
    with pytest.raises(BadArtifact, match=rf"{file} .*make encoder") as caught:
        load_encoder(directory)
    assert caught.value.reason == "FILE_MISSING"


def test_a_newer_format_is_refused_with_both_versions(copied: Path) -> None:
    path = find_encoder(copied, "static") / "encoder.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format_version": 2, "new": 1}))
    with pytest.raises(BadArtifact, match=r"has format 2.*reads format 1.*upgrade") as caught:
        load_encoder(path.parent)
    assert caught.value.reason == "FORMAT_UNKNOWN"


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "3", '{"format_version": 1}', "\x00"])
def test_a_broken_description_is_one_clear_error(copied: Path, text: str) -> None:
    path = find_encoder(copied, "static") / "encoder.json"
    path.write_text(text)
    with pytest.raises(BadArtifact, match=r"encoder\.json cannot be read"):
        load_encoder(path.parent)


def test_a_description_that_changes_the_window_is_no_longer_the_pinned_version(
    copied: Path,
) -> None:
    path = find_encoder(copied, "static") / "encoder.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"max_tokens": 64}))
    with pytest.raises(BadArtifact) as caught:
        find_encoder(copied, "static")
    assert caught.value.reason == "ENCODER_MISSING"


def test_an_unknown_name_lists_those_that_are_there(copied: Path) -> None:
    with pytest.raises(InvalidInput, match=r"'bert'.*\(there: static\)") as caught:
        find_encoder(copied, "bert")
    assert caught.value.reason == "ENCODER_UNKNOWN"
    with pytest.raises(InvalidInput, match=r"there: none"):
        find_encoder(copied / "nowhere", "bert")


def test_a_pinned_version_that_is_not_there_is_named(copied: Path) -> None:
    with pytest.raises(BadArtifact, match=r"static 0{12}… is not in .*--encoders") as caught:
        find_encoder(copied, "static", "0" * 64)
    assert caught.value.reason == "ENCODER_MISSING"
    # The first twelve digits name the directory; all sixty-four must agree.
    sha256 = LOADED["static"].manifest.sha256
    with pytest.raises(BadArtifact):
        find_encoder(copied, "static", sha256[:12] + "0" * 52)


@pytest.mark.parametrize("text", ["{", "[]", "3"])
def test_an_unreadable_selection_is_one_clear_error(copied: Path, text: str) -> None:
    (copied / "selected.json").write_text(text)
    with pytest.raises(BadArtifact, match=r"selected\.json cannot be read"):
        find_encoder(copied, "static")


def test_a_loaded_graph_does_not_keep_the_content_of_its_file() -> None:
    content = (find_encoder(ENCODERS, "static") / "model.onnx").read_bytes()
    before = sys.getrefcount(content)
    loaded = session(content)
    assert [one.name for one in loaded.get_outputs()] == ["embedding"]
    assert sys.getrefcount(content) == before
