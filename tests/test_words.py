"""Words by Unicode's rules, other encodings, damaged bytes, scripts without blanks, tokenisers of one's own."""

from __future__ import annotations

import json
import os
import re
import unicodedata
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from reference.words import OF
from reference.words import words as plain_words

import distjoint
from distjoint.base.errors import DistjointError, UsageError
from distjoint.data.dataset import Dataset
from distjoint.data.normal import look
from distjoint.data.tokenizers import tokenizer_of
from distjoint.data.tokens import Lexicon
from distjoint.registry import TOKENIZERS

pytestmark = pytest.mark.unit


def words(text: str, tokenizer: str = "uax29") -> list[str]:
    lexicon = Lexicon(tokenizer)
    known, ids = [*lexicon.words()], lexicon.encode(f"{text}\n".encode())
    known = lexicon.words()
    return [known[k] for k in ids.tolist() if k >= 0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # As in the Unicode Consortium's WordBreakTest, without what is no word.
        ("A\u0308B", ["äb"]),
        ("A\u00adB", ["ab"]),
        ("A\u2060B", ["ab"]),
        ("\u3031\u3031", ["\u3031\u3031"]),
        ("\u3031A", ["\u3031", "a"]),
        ("A\u3031", ["a", "\u3031"]),
        ("AA1A", ["aa1a"]),
        ("1\u05d0", ["1\u05d0"]),
        ("\u05d0\"\u05d0", ["\u05d0\"\u05d0"]),
        ("\u05d0\"A", ["\u05d0", "a"]),
        ("\u05d0'\u05d0", ["\u05d0'\u05d0"]),
        ("\u05d0' ", ["\u05d0'"]),
        ("a\u00b7\u0308b", ["a\u00b7\u0308b"]),
        ("a\u00b7 b", ["a", "b"]),
        ("a\u00b71", ["a", "1"]),
        ("a\u00b7\u00b7b", ["a", "b"]),
        ("\u3007A", ["\u3007", "a"]),
        ("\u304b\u3099\u304b\u304b\u3099\u304b", ["\u304c", "\u304b", "\u304c", "\u304b"]),
        ("\u6c34\ufe00\u6c34\U00020000\U000e0100", ["\u6c34\ufe00", "\u6c34", "\U00020000\U000e0100"]),
        ("\u6c34\u200d\u6c34\u00ad\u6c34a\u6c34", ["\u6c34", "\u6c34", "\u6c34", "a", "\u6c34"]),
        ("\u4e00\u4e8c\u3042\u30a2\u30a2", ["\u4e00", "\u4e8c", "\u3042", "\u30a2\u30a2"]),
        ("A\u200dB", ["a\u200db"]),
        ("A\u200d ", ["a"]),
        ("\u200dA", ["a"]),
        ("\u0308A", ["a"]),
        (" \u0301A", ["a"]),
        ("\u2701\u200d\u2701", []),
        ("\uac00\uac01", ["\uac00\uac01"]),
        # What docs/data.md says of apostrophes, points, hyphens and underscores.
        (
            "don't can\u2019t 3.14 1,000 e.g. new_york well-known a:b",
            ["don", "t", "can", "t", "3", "14", "1", "000", "e", "g", "new", "york", "well", "known", "a", "b"],
        ),
        ("نمی\u200cخواهم क्\u200dष\u200d।", ["نمی\u200cخواهم", "क्\u200dष"]),
        ("हिन्दी ไทย មិន\u200bមែន", ["हिन्दी", "ไทย", "មិន", "មែន"]),
        ("ΟΔΟΣ ΣΑΣ Σ", ["οδος", "σας", "σ"]),
        ("e\u0301 \u1100\u1161\u11a8 \u0958 \u212b", ["é", "\uac01", "\u0915\u093c", "å"]),
        ("col·lecció צה״ל ג'ירפה", ["col·lecció", "צה״ל", "ג'ירפה"]),
    ],
)  # fmt: skip
def test_words_by_the_annex(text: str, expected: list[str]) -> None:
    assert words(text) == expected
    assert tokenizer_of("uax29").words(unicodedata.normalize("NFC", text).lower()) == words(text.lower())


@settings(max_examples=150, deadline=None)
@given(st.text(st.sampled_from(sorted(OF)), max_size=12))
@example("א\"א'א a\u00b7\u0301b")
def test_words_are_those_of_the_rules_one_by_one(text: str) -> None:
    text = unicodedata.normalize("NFC", text)
    if all(character in OF for character in text):
        assert words(text) == plain_words(text)
        assert words(f"日本 {text} {text}") == ["日", "本", *plain_words(text) * 2], "of words that are known"


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=8) | st.text("e\u0301\u0323\u0308가\u11a8\u1161क\u093c\u0958a\u0653\u0627"))
def test_what_is_in_nfc_is_told(text: str) -> None:
    content = text.encode(errors="replace")
    found = look(content)
    assert found.normal == unicodedata.is_normalized("NFC", content.decode()) and not found.bad
    assert found.nuls == text.count("\0") and found.others == sum(c > "\x7f" for c in content.decode())


SENTENCE = "Don't say E\u0301mile\u00a0a well-known \u05d0\"\u05d0 東京 word_s\u00ad2"
WORDS = {
    "uax29": ["don", "t", "say", "émile", "a", "well", "known", '\u05d0"\u05d0', "東", "京", "word", "s2"],
    "unicode": ["don", "t", "say", "e\u0301mile", "a", "well", "known", "\u05d0", "\u05d0", "東京", "word", "s", "2"],
    "whitespace": ["Don't", "say", "E\u0301mile\u00a0a", "well-known", '\u05d0"\u05d0', "東京", "word_s\u00ad2"],
    "icu": ["don't", "say", "émile", "a", "well", "known", '\u05d0"\u05d0', "東京", "word", "s2"],
}


@pytest.mark.parametrize("name", WORDS)
def test_a_tokenizer_has_these_words_for_good(name: str) -> None:
    """Datasets record the name: what is typed later must be read as they were."""
    assert set(WORDS) == set(TOKENIZERS.names())
    if name == "icu":
        pytest.importorskip("icu4py")
    assert words(SENTENCE, name) == WORDS[name]
    assert tokenizer_of(name).form("New  YORK") == tokenizer_of(name).form("new_york") == "new_york"


def test_ascii_text_has_the_words_that_it_had_before() -> None:
    text = " ".join(map(chr, range(1, 128))) + " It's Rock'n'roll, x2 3D 1st U.S.A. <b>\"q\"</b> a_b\n"
    assert words(text) == words(text, "unicode")


def prepared(folder: Path, content: bytes, name: str = "a.txt", **options: object) -> tuple[list[str], str]:
    """Words of the dataset of one file, by count, and the notes on it."""
    (folder / name).write_bytes(content)
    summary = distjoint.prepare(
        str(folder / "out"), corpus=str(folder / name), overwrite=True, shards=1, **{"min_count": 1, **options}
    )  # type: ignore[arg-type]
    table = Dataset.open(str(folder / "out")).rows(["word", "count"]).to_pylist()
    found = sorted((row for row in table if row["word"]), key=lambda row: (-row["count"], row["word"]))
    return [row["word"] for row in found], " ".join(summary.notes)


def test_encodings_are_told_or_named(tmp_path: Path) -> None:
    text = "the café sat on the mat\nthe Straße\n"
    for encoding in ("utf-16", "utf-32", "utf-8-sig"):
        found, notes = prepared(tmp_path, text.encode(encoding))
        assert found == ["the", "café", "mat", "on", "sat", "straße"]
        assert (f"Files in {encoding.upper()}, by their byte order mark: 1" in notes) == (encoding != "utf-8-sig")
    for encoding in ("latin-1", "cp1252", "utf-16-le", "cp037"):
        found, notes = prepared(tmp_path, text.encode(encoding), encoding=encoding)
        assert found[:2] == ["the", "café"] and not notes
    lines = "\n".join(json.dumps({"text": line}, ensure_ascii=False) for line in text.split("\n")).encode(
        "shift_jis", "replace"
    )
    assert prepared(tmp_path, lines, "a.jsonl", encoding="shift_jis")[0][0] == "the"
    with pytest.raises(
        DistjointError, match=r"a\.txt, line 1: not ascii, at 9 places of .*leave --encoding out for UTF-8"
    ):
        prepared(tmp_path, "the café\n".encode("latin-1") * 9, encoding="ascii")
    with pytest.raises(UsageError, match=r"'klingon'.*such as latin-1"):
        prepared(tmp_path, b"a", encoding="klingon")


def test_a_bad_byte_costs_no_word_and_is_counted(tmp_path: Path) -> None:
    line = "the café sat\n" * 3
    found, notes = prepared(tmp_path, f"{line}the dog ".encode() + b"\xe2\x82 on\x00the mat\n" + line.encode())
    assert found == ["the", "café", "sat", "dog", "mat", "on"]
    assert (
        "not UTF-8" in notes
        and ": 2 (such as line 4 of a.txt: the dog \\xe2\\x82 on" in notes
        and "--encoding" in notes
    )
    assert "NUL bytes, read as blanks: 1" in notes
    found, notes = prepared(tmp_path, b'{"text": "one \xff two"}\n{"text": null}\n', "a.jsonl")
    assert found == ["one", "two"] and "line 1 of a.jsonl" in notes and "Records without text, left out: 1" in notes


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("le café était fermé, où êtes-vous allés à la forêt ? ".encode("latin-1") * 9, "--encoding cp1252"),
        ("Съешь ещё этих мягких французских булок, да выпей чаю.\n".encode("koi8-r") * 9, "--encoding koi8-r"),
        ("the cat sat on the mat\n".encode("utf-16-le") * 9, "NUL bytes.*--encoding utf-16-le"),
        ("Η Άννα κάθεται στο ποτάμι\n".encode("utf-16-be") * 9, "NUL bytes.*--encoding utf-16-be"),
        (bytes(range(256)) * 9, "a.txt, line 2: byte 0x80 among control characters: binary, no text"),
        (b"\x89PNG\r\n\x1a\n" + b"\0\0\0\rIHDR" + b"\0" * 90, "NUL bytes in the first .*, so it is binary, no text"),
        (b"<!-- saved --><!DOCTYPE html>\n<html><p>one", "HTML.*trafilatura"),
        (b'<mediawiki xmlns="http://www.mediawiki.org/">', "MediaWiki.*wikiextractor"),
        (b"WARC/1.0\r\n", "WARC"),
        (b"%PDF-1.7\n", "PDF"),
    ],
)
def test_files_that_are_no_text_are_named_with_the_tool(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(DistjointError, match=message):
        prepared(tmp_path, content)


def test_text_among_other_columns_is_said(tmp_path: Path) -> None:
    found, notes = prepared(tmp_path, b"id,text\n1,the cat sat\n", "a.csv")
    assert "id" in found and "whose names say that they hold more: 1 (such as a.csv: id,text)" in notes
    assert "hold more" not in prepared(tmp_path, b"the cat sat\n", "a.txt")[1]


def test_a_folder_of_the_library_datasets(tmp_path: Path) -> None:
    folder = tmp_path / "wiki" / "data"
    folder.mkdir(parents=True)
    table = pa.table({"text": ["one two", None, "two"]})
    pq.write_table(table, folder / "train-00000-of-00001.parquet")
    with pa.OSFile(str(folder / "x.arrow"), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    (folder.parent / "README.md").write_text("# words that are no text")
    (folder.parent / "dataset_info.json").write_text("{}")
    summary = distjoint.prepare(str(tmp_path / "out"), corpus=str(folder.parent), min_count=1)
    notes = " ".join(summary.notes)
    assert summary.counts["words"] == 2 and summary.counts["text_tokens"] == 6
    assert "Files beside those with the text, left out: 2" in notes and "without text, left out: 2" in notes


def test_scripts_without_blanks_are_told_with_the_fix(tmp_path: Path) -> None:
    _, notes = prepared(tmp_path, ("我是中国人。東京タワー " * 3 + "ภาษาไทยง่าย " + "word " * 3).encode())
    assert "Chinese characters" in notes and "(such as 我)" in notes and "Thai" in notes and "ภาษาไทยง่าย" in notes
    assert notes.count("--tokenizer whitespace") == 2
    assert "Thai" not in prepared(tmp_path, b"many words that are plain " * 40 + "ไทย".encode())[1]
    found, notes = prepared(tmp_path, "a new\u00a0york b\n".encode(), tokenizer="whitespace")
    assert "new\u00a0york" in found and "no-break" in notes and repr("new\u00a0york") in notes


def syllables(text: str) -> list[str]:
    return text.upper().replace("-", " ").split()


def bad(text: str) -> list[str]:
    return [text]


def test_a_tokeniser_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for function in (syllables, bad):
        TOKENIZERS.add(function)
    try:
        long = "ba-na-na go " * 60_000  # more than a block: a line is never cut
        found, _ = prepared(tmp_path, f"{long}\ngo e\u0301\n".encode(), tokenizer="syllables")
        assert found == ["NA", "GO", "BA", "E\u0301"]
        assert Dataset.open(str(tmp_path / "out")).manifest.counts["documents"] == 2
        assert Lexicon("syllables").encode(b"\n\nx\n").tolist() == [0, -1]
        with pytest.raises(DistjointError, match=r"tokenizer 'bad' made the word 'a b'.*no blank"):
            prepared(tmp_path, b"a b\n", tokenizer="bad")
    finally:
        for name in ("syllables", "bad"):
            TOKENIZERS.remove(name)
    with pytest.raises(UsageError, match="--tokenizer is 'syllables'; choose uax29, whitespace, icu, unicode"):
        prepared(tmp_path, b"a", tokenizer="syllables")


def test_the_manuals_tokenizer(tmp_path: Path) -> None:
    page = (Path(__file__).parents[1] / "docs/data.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n# stems\.py\n(.*?)```", page, re.DOTALL)
    exec(compile(example, "stems.py", "exec"), {"__name__": __name__})
    try:
        assert prepared(tmp_path, b"Cats and cat\n", tokenizer="stems")[0] == ["cat", "and"]
    finally:
        TOKENIZERS.remove("stems")


def test_icu_finds_words_that_nothing_separates(tmp_path: Path) -> None:
    pytest.importorskip("icu4py")
    assert words("ภาษาไทยง่าย 我是中国人 don't 😀 new_york", "icu")[:3] == ["ภาษา", "ไทย", "ง่าย"]


@settings(max_examples=int(os.environ.get("DISTJOINT_FUZZ", "100")), deadline=None)
@given(st.binary(max_size=60), st.sampled_from(["a.txt", "a.jsonl", "a.parquet", "a.arrow"]), st.booleans())
def test_any_bytes_are_words_or_an_error_that_names_the_file(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, name: str, valid: bool
) -> None:
    from distjoint.data.corpus import Corpus
    from distjoint.data.tokens import Counter, encode_blocks

    place = tmp_path_factory.getbasetemp() / name
    place.write_bytes((b"words \xff\xfe" if valid else b"") + content)
    try:
        lexicon = Lexicon("uax29")
        list(encode_blocks(Corpus.find([str(place)]).blocks(), lexicon, Counter()))
        assert np.all(lexicon.counts[: lexicon.size] > 0) and all(lexicon.words())
    except DistjointError as error:
        assert name in str(error)
