"""From files to words: formats, tokenisers, names of several words, vocabulary."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import unicodedata
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import example, given
from hypothesis import strategies as st

from distjoint.base.errors import DistjointError
from distjoint.data import lines as lines_module
from distjoint.data import vocabulary
from distjoint.data.corpus import Corpus, read_ahead
from distjoint.data.spool import Spool
from distjoint.data.text import join_names
from distjoint.data.tokens import Counter, Lexicon, encode_blocks
from distjoint.data.workers import Local

pytestmark = pytest.mark.unit

LINES = ["The cat sat.", "", "Émile's 2nd naïve ÜBER-cat", "日本語 テキスト", "the end"]
WORDS = [["the", "cat", "sat"], ["émile", "s", "2nd", "naïve", "über", "cat"], ["日本語", "テキスト"], ["the", "end"]]


def plain_words(text: str) -> list[list[str]]:
    """The unicode tokeniser in words: runs of letters, marks and numbers, each character in lower case."""
    lines = []
    for line in text.split("\n"):
        kept = "".join(
            (c.lower()[0] if ord(c) < 0x40000 else c) if unicodedata.category(c)[0] in "LMN" else " " for c in line
        )
        lines.append(kept.split(" "))
    return [words for words in ([w for w in line if w] for line in lines) if words]


def split(ids: Iterable[int], words: list[str]) -> list[list[str]]:
    """Documents of token ids, as words."""
    documents: list[list[str]] = [[]]
    for token in ids:
        if token < 0:
            documents.append([])
        else:
            documents[-1].append(words[token])
    return [document for document in documents if document]


def read(*patterns: str | Path, tokenizer: str = "unicode", **options: str) -> list[list[str]]:
    lexicon = Lexicon(tokenizer)
    blocks = Corpus.find([str(pattern) for pattern in patterns], **options).blocks()
    ids = [ids for _, ids in encode_blocks(blocks, lexicon, Counter())]
    return split(np.concatenate(ids).tolist(), lexicon.words())


@pytest.mark.parametrize(
    ("ending", "compress"),
    [
        ("", bytes),
        (".gz", gzip.compress),
        (".bz2", bz2.compress),
        (".xz", lzma.compress),
        (".zst", lambda content: zstandard.compress(content[:9]) + zstandard.compress(content[9:])),
    ],
)
def test_text_and_json_lines_read_the_same_whatever_the_compression(
    tmp_path: Path, ending: str, compress: Callable[[bytes], bytes]
) -> None:
    plain, lines = tmp_path / f"a.txt{ending}", tmp_path / f"a.jsonl{ending}"
    plain.write_bytes(compress("\n".join(LINES).encode()))
    lines.write_bytes(compress("\n".join(json.dumps({"n": 1, "body": line}) for line in LINES).encode()))
    assert read(plain) == WORDS
    assert read(lines, field="body") == WORDS


def test_parquet_a_record_is_a_document(tmp_path: Path) -> None:
    table = pa.table({"body": ["one two\nthree", None, "four"], "n": [1, 2, 3]})
    pq.write_table(table, tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet", column="body") == [["one", "two", "three"], ["four"]]


def test_globs_and_folders_in_order_each_file_once(tmp_path: Path) -> None:
    for name in ("b", "a", "c"):
        (tmp_path / f"{name}.txt").write_text(name)
    assert read(tmp_path / "*.txt", tmp_path, tmp_path / "c.txt") == [["a"], ["b"], ["c"]]


@pytest.mark.parametrize("size", [3, 5, 16])
def test_blocks_cut_neither_words_nor_documents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(lines_module, "BLOCK", size)
    (tmp_path / "a.txt").write_text("\n".join(LINES) + " \n\n x \ny")
    (tmp_path / "b.jsonl").write_text("\n".join(json.dumps({"text": line}) for line in LINES))
    assert read(tmp_path / "a.txt", tmp_path / "b.jsonl") == [*WORDS[:3], ["the", "end"], ["x"], ["y"], *WORDS]
    (tmp_path / "c.json").write_text(json.dumps([None, *LINES], indent=1))
    (tmp_path / "d.json").write_text(json.dumps([{"n": 7, "text": line} for line in LINES]))
    assert read(tmp_path / "c.json", tmp_path / "d.json") == [*WORDS, *WORDS]
    assert len(Corpus.find([str(tmp_path / "d.json")]).parts(9)) == 1


def test_nul_characters_in_records_are_blanks(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "one\\u0000two"}\n')
    (tmp_path / "b.json").write_text('["three\\u0000four"]')
    pq.write_table(pa.table({"text": ["five\0six"]}), tmp_path / "c.parquet")
    assert read(tmp_path) == [["one", "two"], ["three", "four"], ["five", "six"]]


@given(
    files=st.lists(
        st.lists(st.sampled_from(["", "a", "bb c", "dé f  ", "g" * 30]), max_size=12), min_size=1, max_size=3
    ),
    size=st.integers(1, 40),
    block=st.integers(1, 20),
    kind=st.sampled_from(["txt", "jsonl", "txt.gz"]),
    ending=st.sampled_from(["", "\n"]),
)
def test_parts_of_any_size_hold_the_text_once_and_in_order(
    tmp_path_factory: pytest.TempPathFactory, files: list[list[str]], size: int, block: int, kind: str, ending: str
) -> None:
    folder = tmp_path_factory.mktemp("parts")
    for k, lines in enumerate(files):
        written = [json.dumps({"text": line}) for line in lines] if kind == "jsonl" else [*lines]
        content = ("\ufeff" * (kind == "txt") + "\n".join(written) + ending).encode() or b"\n"
        (folder / f"{k}.{kind}").write_bytes(gzip.compress(content or b"\n") if kind == "txt.gz" else content)
    corpus = Corpus.find([str(folder)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines_module, "BLOCK", block)
        whole, parts = Lexicon("whitespace"), Lexicon("whitespace")
        expected = [ids for _, ids in encode_blocks(corpus.blocks(), whole, Counter())]
        cuts = corpus.parts(size)
        found = [ids for cut in cuts for _, ids in encode_blocks(corpus.blocks(cut), parts, Counter())]
    assert np.concatenate([*expected, [0]]).tolist() == np.concatenate([*found, [0]]).tolist()
    assert whole.words() == parts.words()
    sizes = {file.url: bytes_ for file, bytes_ in zip(corpus.files, corpus.sizes, strict=True)}
    taken = [sum((piece.stop or sizes[piece.file.url]) - piece.start for piece in cut) for cut in cuts]
    assert kind == "txt.gz" or max(taken) <= size


@given(st.text())
@example("İSTANBUL Ⱥb ǅ ﬁn 𝔘nicode a\u0301 \U000e0100 ²½ Ⅷ x\r\ny _a_b_")
def test_unicode_words_are_those_of_a_plain_loop(text: str) -> None:
    text = text.replace("\0", "")
    lexicon = Lexicon("unicode")
    ids = lexicon.encode((text + "\n").encode(errors="replace"))
    assert split(ids.tolist(), lexicon.words()) == plain_words(text.encode(errors="replace").decode())


def test_whitespace_keeps_words_as_they_stand() -> None:
    lexicon = Lexicon("whitespace")
    ids = lexicon.encode("Don't  New_York,\tÉ\x0b1\u00a01/2\r\nend\n".encode())
    assert split(ids.tolist(), lexicon.words()) == [["Don't", "New_York,", "É", "1\u00a01/2"], ["end"]]


@pytest.mark.parametrize("tokenizer", ["uax29", "unicode", "whitespace"])
def test_every_word_read_again_is_itself(tokenizer: str) -> None:
    """Every character but for ideographs and syllables that come by the ten thousand: of these every eleventh."""
    first, second = Lexicon(tokenizer), Lexicon(tokenizer)
    alike = [range(0x3400, 0xA000, 11), range(0xAC00, 0xD7A4, 11), range(0x17000, 0x18D00, 11)]
    alike += [range(0x20000, 0x2F800, 11), range(0x2FA20, 0x40000, 11)]
    single = [range(1, 0x3400), range(0xA000, 0xAC00), range(0xD7A4, 0xD800), range(0xE000, 0xE010)]
    single += [range(0xF8F0, 0x17000), range(0x18D00, 0x20000), range(0x2F800, 0x2FA20), range(0xE0100, 0xE01F0)]
    every = [chr(code) for codes in (*single, *alike) for code in codes]
    first.encode(" ".join([f"a{character}b {character}" for character in every]).encode())
    words = first.words()
    assert second.encode(" ".join(words).encode()).tolist() == list(range(len(words)))
    assert second.words() == words


def test_lexicon_keeps_ids_and_counts_while_it_grows() -> None:
    lexicon, words = Lexicon("unicode"), [f"w{k % 70_000}" for k in range(150_000)]
    ids = np.concatenate(
        [lexicon.encode((" ".join(words[k : k + 9000]) + " ").encode()) for k in range(0, 150_000, 9000)]
    )
    assert lexicon.size == 70_000
    assert lexicon.words() == words[:70_000]
    assert (ids == np.arange(150_000) % 70_000).all()
    assert (lexicon.counts[:70_000] == np.bincount(ids)).all()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"", "a.txt: the file is empty"),
        ("a.txt.gz", gzip.compress(b"", mtime=0), "a.txt.gz: the file is empty"),
        ("a.txt.zst", zstandard.compress(b"one two " * 999)[:-8], "a.txt.zst: the file is cut short"),
        ("a.txt.xz", lzma.compress(b"one two " * 999)[:-20], "a.txt.xz: the file is cut short"),
        ("a.txt.gz", b"\x1f\x8b\x08 and no more of gzip", "a.txt.gz: cannot be read"),
        ("a.jsonl", b'{"text": "x"}\n{"text": \n', "a.jsonl, line 2: not JSON"),
        ("a.jsonl", b'{"text": "x"}\n\n{"body": "x"}\n', "a.jsonl, line 3: no field 'text'.*--text-field"),
        ("a.jsonl", b'{"text": 7}\n', "a.jsonl, line 1: field 'text' holds 7, not text"),
        ("a.json", b'{\n"text": "x"\n}\n', "a.json, line 1: not JSON .*; a record over several lines .* jq -c . FILE"),
        ("a.json", b'["x", {"body": "x"}]', "a.json, record 2: no field 'text'.*--text-field"),
        ("a.json", b'["x", 7]', "a.json, record 2: no field 'text'"),
        (
            "a.json",
            b'["x" "y"]',
            r"a.json, record 2: not an array of JSON \('\"' where a comma .* jq -c '\.\[\]' a.json",
        ),
        ("a.json", b'["x", "y"', r"a.json, record 3: not an array of JSON \(its end is missing\)"),
        ("a.json", b'["x"] ["y"]', r"a.json, record 2: not an array of JSON \(there is more after its end\)"),
        ("a.parquet", b"not parquet", "a.parquet: damaged or not Parquet"),
    ],
)
def test_bad_files_are_named(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DistjointError, match=message):
        read(tmp_path / name)


def test_parquet_without_the_column_says_what_it_has(tmp_path: Path) -> None:
    pq.write_table(pa.table({"body": ["x"], "n": [1]}), tmp_path / "a.parquet")
    with pytest.raises(DistjointError, match="no column 'text', it has body, n"):
        read(tmp_path / "a.parquet")
    with pytest.raises(DistjointError, match="column 'n' holds int64, not text"):
        read(tmp_path / "a.parquet", column="n")


def test_read_ahead_raises_what_the_source_raises_and_stops_with_its_reader() -> None:
    def source():  # type: ignore[no-untyped-def]
        yield 1
        raise DistjointError("broken")

    items = read_ahead(source())
    assert next(items) == 1
    with pytest.raises(DistjointError, match="broken"):
        next(items)
    endless = read_ahead(iter(int, 1))
    assert next(endless) == 0
    endless.close()


def merged(
    tmp_path: Path, text: str, names: list[str], min_count: int = 1, tokenizer: str = "unicode"
) -> list[list[str]]:
    lexicon = Lexicon(tokenizer)
    spool = Spool(tmp_path / "in")
    spool.write(lexicon.encode(text.encode()))
    keys = [vocabulary.key(name, lexicon.tokenizer) for name in names]
    found = join_names(Local(tmp_path), spool, keys, lexicon, min_count)
    if found is None:
        return split(np.concatenate(list(spool.blocks())).tolist(), lexicon.words())
    joined, counts = found
    ids = np.concatenate(list(joined.blocks()))
    assert (counts == np.bincount(ids[ids >= 0], minlength=lexicon.size)).all()
    return split(ids.tolist(), lexicon.words())


def test_names_of_several_words_become_one_token_by_longest_match(tmp_path: Path) -> None:
    text = "In New York City and new york, not New\nYork. new york new york city hall\n"
    found = merged(tmp_path, text, ["New York", "New_York-City", "york", "never seen"])
    assert found == [
        ["in", "new_york_city", "and", "new_york", "not", "new"],
        ["york", "new_york", "new_york_city", "hall"],
    ]


def test_rare_names_stay_apart_and_leave_their_words_to_shorter_ones(tmp_path: Path) -> None:
    found = merged(tmp_path, "new york city\nnew york\nnew york\n", ["new york city", "new york"], min_count=2)
    assert found == [["new_york", "city"], ["new_york"], ["new_york"]]
    assert merged(tmp_path, "a b c\n", ["a b"], min_count=2) == [["a", "b", "c"]]


def test_names_are_found_across_blocks_and_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = Spool.blocks
    monkeypatch.setattr(Spool, "blocks", lambda self, length=2: blocks(self, length))
    assert merged(tmp_path, "x a b c d a b c a b\n", ["a b c", "c d", "a b"]) == [["x", "a_b_c", "d", "a_b_c", "a_b"]]


def test_already_tokenised_text_matches_names_in_any_case(tmp_path: Path) -> None:
    found = merged(tmp_path, "NEW York new_york AT&T Corp .\n", ["New York", "AT&T Corp"], tokenizer="whitespace")
    assert found == [["new_york", "new_york", "at&t_corp", "."]]


def test_vocabulary_by_count_then_word_with_least_count_and_most_words() -> None:
    lexicon = Lexicon("unicode")
    lexicon.encode(b"d c c b b b a a a e e\n")
    chosen = vocabulary.choose(lexicon, lexicon.counts, min_count=2, max_words=None)
    assert chosen.words == ["a", "b", "c", "e"]
    assert chosen.counts.tolist() == [3, 3, 2, 2]
    assert vocabulary.choose(lexicon, lexicon.counts, 1, 3).words == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("name", "form"),
    [("New York", "new_york"), ("new_york", "new_york"), ("  ＮＥＷ  york! ", "new_york"), ("Straße", "strasse"),
     ("ﬁsh", "fish"), ("AT&T", "at_t"), ("!?", ""), ("Ⅷ", "viii"), ("É", "é"), ("E\u0301", "é")],
)  # fmt: skip
def test_names_are_compared_in_one_form(name: str, form: str) -> None:
    assert vocabulary.key(name, "unicode") == form


def test_an_arrow_file_with_damaged_offsets_is_refused(tmp_path: Path) -> None:
    table = pa.table({"text": ["one two", "three"]})
    with pa.ipc.new_file(str(tmp_path / "a.arrow"), table.schema) as writer:
        writer.write_table(table)
    content = (tmp_path / "a.arrow").read_bytes()
    offsets = np.array([0, 7, 12], np.int32).tobytes()
    assert content.count(offsets) == 1
    (tmp_path / "a.arrow").write_bytes(content.replace(offsets, np.array([0, 2**30, 2**31 - 9], np.int32).tobytes()))
    with pytest.raises(DistjointError, match=r"a\.arrow: damaged or not Arrow"):
        read(tmp_path / "a.arrow")
