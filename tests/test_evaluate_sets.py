"""Evaluation sets as files: every form as it is published, what is refused, and that nothing is guessed in silence."""

from __future__ import annotations

import bz2
import gzip
import os
import re
import zipfile
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from distjoint.base.errors import DistjointError, UsageError
from distjoint.evaluate.options import SetForm
from distjoint.evaluate.sets import FORMS, EvaluationSets, Question, files, read_analogies, read_similarity

pytestmark = pytest.mark.unit

MORE = int(os.environ.get("DISTJOINT_FUZZ", "60"))
SUN = [("sun", "sunlight", 5.0), ("New York", "city", 4.5), ("old", "new", 1.58)]
ONE_WORD = [("sun", "sunlight", 5.0), ("york", "city", 4.5), ("old", "new", 1.58)]
CHINESE = [("太阳", "阳光照", 5.0), ("纽约", "城市", 4.5), ("旧", "新", 1.58)]
BANK = [("bank", "money", 7.5), ("run", "walk", 4.0), ("old", "new", 1.25)]
ROYAL = Question("man", ("woman",), "king", ("queen",))
BETTER = Question("good", ("better",), "rough", ("rougher",))

PAIRS = {
    "tabs": ("sun\tsunlight\t5.0\nNew York\tcity\t4.5\nold\tnew\t1.58\n", SUN),
    "commas": ("sun,sunlight,5.0\nNew York,city,4.5\nold,new,1.58", SUN),
    "quoted": ('"sun","sunlight",5.0\n"New York","city",4.5\n"old","new",1.58', SUN),
    "wordsim": ("Word 1,Word 2,Human (mean)\r\nsun,sunlight,5.0\r\nNew York,city,4.5\r\nold,new,1.58\r\n", SUN),
    "wordsim, tabs": ("Word 1\tWord 2\tHuman (mean)\nsun\tsunlight\t5.0\nNew York\tcity\t4.5\nold\tnew\t1.58\n", SUN),
    "comments": ("# The set\n# Word 1\tWord 2\n\nsun \tsunlight\t 5.0\nNew York\tcity\t4.5\n\nold\tnew\t1.58\n", SUN),
    "simlex": (
        "\ufeffword1\tword2\tPOS\tSimLex999\tconc(w1)\nsun\tsunlight\tN\t5\t1\nNew York\tcity\tN\t4.5\t3\n"
        "old\tnew\tA\t1.58\t0.9\n",
        SUN,
    ),
    "simverb": ("sun\tsunlight\tV\t5\tNONE\nNew York\tcity\tV\t4.5\tSYNONYMS\nold\tnew\tV\t1.58\tNONE\n", SUN),
    "rg": ("sun;sunlight;5.0\nNew York;city;4.5\nold;new;1.58\n", SUN),
    "mturk": ("sun,sunlight,5.0\nyork,city,4.5\nold,new,1.58\n", ONE_WORD),
    "rw": ("sun\tsunlight\t5.0\t5\t5\t5\nyork\tcity\t4.5\t4\t5\nold\tnew\t1.58\t1\t2\n", ONE_WORD),
    "men": ("sun sunlight 5.000000\nyork city 4.500000\nold new 1.580000\n", ONE_WORD),
    "blanks": ("sun   sunlight 5.0\nyork city  4.5\nold new 1.58", ONE_WORD),
    "numbered": ("1,sun,sunlight,5.0\n2,York,city,4.5\n3,old,new,1.58\n", [SUN[0], ("York", "city", 4.5), SUN[2]]),
    "wordsim agreed": ("# r = 0.9\ni\tsun\tsunlight\t5.0\nS\tNew York\tcity\t4.5\nA\told\tnew\t1.58\n", SUN),
    "short words": ("太阳\t阳光照\tN\t5\n纽约\t城市\tN\t4.5\n旧\t新\tA\t1.58\n", CHINESE),
    "words last": (
        "id,score,word_b,word_a\n1,5.0,sunlight,sun\n2,4.5,city,New York\n3,1.58,new,old\n",
        None,
    ),
}


def triples(found: EvaluationSets) -> list[tuple[str, str, float]]:
    (pairs,) = found.pairs
    return [(*pair, score) for pair, score in zip(pairs.pairs, pairs.scores, strict=True)]


def write(path: Path, content: str | bytes) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return str(path)


@pytest.mark.parametrize("name", PAIRS)
def test_pairs_as_they_are_published(name: str, tmp_path: Path) -> None:
    text, expected = PAIRS[name]
    place = write(tmp_path / "set.bin", text)  # whatever it is called
    if expected is None:  # the score stands before the words, so it must be named
        with pytest.raises(
            DistjointError, match=r"set\.bin, line 1: 'id,score.* of no known form .*--pair-columns names it"
        ):
            read_similarity([place])
        for columns in (("word_a", "word_b", "score"), ("3", "2", "1")):
            assert triples(read_similarity([place], columns=columns)[0]) == SUN
        return
    found, notes = read_similarity([place])
    assert found.pairs[0].name == "set" and found.pairs[0].form == "pairs" and triples(found) == expected
    (note,) = notes
    assert note.startswith(f"{place} read as pairs: word pairs with a score, words in columns ")
    assert note.endswith(f"(first: {expected[0][0]}, {expected[0][1]}, 5).")
    assert ("after a header" in note) == (name in ("wordsim", "wordsim, tabs", "simlex"))


def test_the_score_of_a_header_is_taken_by_its_name(tmp_path: Path) -> None:
    place = write(tmp_path / "s.csv", "word1,word2,freq,score\na,b,10,1\nb,c,20,3\nc,d,30,2\n")
    found, (note,) = read_similarity([place])
    assert found.pairs[0].scores == (1, 3, 2) and "score in 3 'score'" in note
    assert read_similarity([place], columns=("word1", "word2", "freq"))[0].pairs[0].scores == (10, 20, 30)


def test_lemmas_lose_their_part_of_speech_unless_told(tmp_path: Path) -> None:
    place = write(tmp_path / "men.txt", "sun-n shine-v 50.0\nold-j new-j 12.0\nx-ray-n t-shirt-n 3\n")
    found, (note,) = read_similarity([place])
    assert found.pairs[0].pairs == (("sun", "shine"), ("old", "new"), ("x-ray", "t-shirt"))
    assert "read as lemmas" in note and "parts of speech taken off" in note
    assert read_similarity([place], form="pairs")[0].pairs[0].pairs[0] == ("sun-n", "shine-v")
    write(tmp_path / "men.txt", "x-ray bone 5\nt-shirt hat 4\nold new 3\n")
    assert read_similarity([place])[0].pairs[0].pairs[0] == ("x-ray", "bone")


def test_pairs_in_context(tmp_path: Path) -> None:
    lines = [
        f"{k}\t{a}\tn\t{b}\tv\tThe <b> {a} </b> , 9.5 times\tA <b> {b} </b> .\t{score}\t9\t1\n"
        for k, (a, b, score) in enumerate(BANK, 1)
    ]
    found, (note,) = read_similarity([write(tmp_path / "ratings.txt", "".join(lines))])
    assert triples(found) == BANK and "the contexts are not read" in note


def test_ranked_entities_of_seeds(tmp_path: Path) -> None:
    text = "Apple_Inc.\n\tSteve_Jobs\n\tSteve_Wozniak\n\tApple_(fruit)\n\nIBM\n\tWatson_(computer)\n\tOS/2\n"
    found, notes = read_similarity([write(tmp_path / "kore", text)])
    (groups,) = found.groups
    assert [(group.name, group.scores) for group in groups.groups] == [("Apple_Inc.", (0, -1, -2)), ("IBM", (0, -1))]
    assert groups.groups[0].pairs[2] == ("Apple_Inc.", "Apple_(fruit)") and groups.form == "ranked"
    assert "read as ranked" in notes[0] and "Groups of fewer than 3 pairs" in notes[1] and "IBM" in notes[1]


def test_analogy_files_with_sections_and_without(tmp_path: Path) -> None:
    write(tmp_path / "family.txt", "boy girl king queen\n")
    write(
        tmp_path / "google.txt", ": capitals\nAthens Greece Oslo Norway\n: empty\n: gram8-plural\ncat cats dog dogs\n"
    )
    write(tmp_path / "tabs.txt", "New York\tUSA\tRio de Janeiro\tBrazil\n")
    found, notes = read_analogies([str(tmp_path)])
    assert [(each.name, each.category, len(each.questions)) for each in found.questions] == [
        *(
            ("family", "semantic", 1),
            ("capitals", "semantic", 1),
            ("gram8-plural", "syntactic", 1),
            ("tabs", "semantic", 1),
        )
    ]
    assert found.questions[3].questions == (Question("New York", ("USA",), "Rio de Janeiro", ("Brazil",)),)
    assert notes[0].endswith("of one relation, named after the file (first: boy is to girl as king to queen).")


def test_microsofts_questions_in_one_file_and_in_two(tmp_path: Path) -> None:
    whole = write(tmp_path / "msr.txt", "good better rough rougher JJ_JJR\nman woman king queen NN_NN\n")
    write(tmp_path / "two/word_relationship.questions", "good better rough\nman woman king\n")
    write(tmp_path / "two/word_relationship.answers", "JJ_JJR rougher\nNN_NN queen\n")
    for place in (whole, str(tmp_path / "two")):
        found, (note,) = read_analogies([place])
        assert [(each.name, each.category, each.questions) for each in found.questions] == [
            *(("JJ_JJR", "adjectives", (BETTER,)), ("NN_NN", "nouns", (ROYAL,)))
        ]
        assert "read as msr" in note and ("answers" in note) == (place != whole)
    with pytest.raises(DistjointError, match=r"\.questions: holds questions .* without their answers"):
        read_analogies([str(tmp_path / "two/word_relationship.questions")])
    with pytest.raises(DistjointError, match=r"\.answers: holds answers without questions"):
        read_analogies([str(tmp_path / "two/word_relationship.answers")])
    write(tmp_path / "two/word_relationship.answers", "JJ_JJR rougher\n")
    with pytest.raises(DistjointError, match=r"\.answers: holds 1 answers to 2 questions"):
        read_analogies([str(tmp_path / "two")])


def test_bats_is_a_folder_of_categories_with_a_file_for_each_relation(tmp_path: Path) -> None:
    write(tmp_path / "BATS/1_Inflections/I01 [noun - plural].txt", "cat\tcats\ndog\tdogs\nox\toxen\n")
    write(tmp_path / "BATS/4_Lexicography/L01 [hypernyms].txt", "cat\tfeline/animal\nwolf\tcanine/pack hunter/animal\n")
    write(tmp_path / "BATS/README.md", "The set")
    found, notes = read_analogies([str(tmp_path / "BATS")])
    assert [(each.category, each.name, len(each.questions)) for each in found.questions] == [
        *(("1_Inflections", "I01 [noun - plural]", 6), ("4_Lexicography", "L01 [hypernyms]", 2))
    ]
    assert found.questions[1].questions[0] == Question(
        "cat", ("feline", "animal"), "wolf", ("canine", "pack hunter", "animal")
    )
    assert "and 1 more read as bats" in notes[0] and "Files beside the sets, left out: 1 (such as" in notes[1]
    alone = read_analogies([str(tmp_path / "BATS/1_Inflections/I01 [noun - plural].txt")])[0]
    assert alone.questions == found.questions[:1]
    with zipfile.ZipFile(tmp_path / "bats.zip", "w") as archive:
        for file in sorted((tmp_path / "BATS").glob("*/*.txt")):
            archive.write(file, file.relative_to(tmp_path))
    assert read_analogies([str(tmp_path / "bats.zip")])[0].questions == found.questions
    write(tmp_path / "large.txt", "".join(f"w{k}\tv{k}\n" for k in range(1001)))
    with pytest.raises(DistjointError, match=r"large\.txt: holds 1,001 pairs of a relation; .* 2 to 1,000"):
        read_analogies([str(tmp_path / "large.txt")])


def test_rated_pairs_are_a_relation_a_file(tmp_path: Path) -> None:
    write(tmp_path / "GoldRatings-1a.txt", '# Taxonomic\n50.0 "flower:tulip"\n-8.5 "tulip:flower"\n12 "bird:robin"\n')
    write(tmp_path / "GoldRatings-2b.txt", "car:wheel\t3\nhouse:door\t2\nface:nose\t5\n")
    found, (note,) = read_analogies([str(tmp_path / "Gold*")])
    (groups,) = found.groups
    assert groups.by_offset and [group.name for group in groups.groups] == ["GoldRatings-1a", "GoldRatings-2b"]
    assert groups.groups[0].pairs[1] == ("tulip", "flower") and groups.groups[0].scores == (50, -8.5, 12)
    assert "read as rated" in note
    plain = write(tmp_path / "plain.txt", "flower tulip 50\nbird robin 12\ntulip flower -8.5\n")
    assert read_analogies([plain], form="rated")[0].groups[0].groups[0].scores == (50, 12, -8.5)
    with pytest.raises(
        UsageError, match=r"plain\.txt: holds word pairs with a score \(pairs\); give it with --similarity"
    ):
        read_analogies([plain])


def test_packed_files_are_read_by_their_content(tmp_path: Path) -> None:
    text = PAIRS["tabs"][0].encode()
    write(tmp_path / "Sets/A.txt.gz", gzip.compress(text))
    write(tmp_path / "Sets/b.bin", bz2.compress(text))
    with zipfile.ZipFile(tmp_path / "Sets/c.zip", "w") as archive:
        archive.writestr("C.txt", text)
    write(tmp_path / "Sets/u16.txt", text.decode().encode("utf-16"))
    found, (note,) = read_similarity([str(tmp_path / "Sets")])
    assert [each.name for each in found.pairs] == ["A", "b", "C", "u16"] and len(
        {each.pairs for each in found.pairs}
    ) == 1
    assert "and 3 more read as pairs" in note


def test_sets_of_one_name_are_told_apart_and_twins_are_counted(tmp_path: Path) -> None:
    places = [write(tmp_path / f"{k}/set.txt", "a b 1\nb c 2\nB a 3") for k in "xy"]
    found, notes = read_similarity([*places, places[0]])
    assert [each.name for each in found.pairs] == ["x/set", "y/set"]
    assert notes[1] == f"Pairs that a set has more than once, each counted: 2 (such as B, a in {places[0]})."


def test_folders_and_globs_leave_licences_out(tmp_path: Path) -> None:
    for name in ("a.txt", "b.txt"):
        write(tmp_path / name, "a b 1\nb c 2\na c 3")
    write(tmp_path / "LICENSE", "MIT License")
    for pattern in ("", "*"):
        found, notes = read_similarity([str(tmp_path / pattern)])
        assert [each.name for each in found.pairs] == ["a", "b"] and "LICENSE" in notes[1]
    write(tmp_path / "c.txt", "what this may be is not said")
    with pytest.raises(DistjointError, match=r"c\.txt, line 1: 'what this .*' is the first line of a file of no known"):
        read_similarity([str(tmp_path)])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", ": the file is empty"),
        (b"# nothing\n\n", ": holds no line but comments"),
        (b"a b 1\nb c 2\n", ": holds 2 pairs of words"),
        (b"a b 1\na b\nc d 2\n", "line 2: 'a b' is not two words and a score: nothing in column 2"),
        (b"a b 1\na b inf\nc d 2\n", "line 2: 'a b inf' .* 'inf' in column 2 is no number"),
        (b"a b nan\nb c 1\nc d 2\n", "line 1: 'a b nan' .* 'nan' in column 2 is no number"),
        (b"a b\nb c 1\nc d 2\nd e 1\n", "line 1: 'a b' is not two words and a score"),
        (b"a;b;1.2\nb;c;3,5\nc;d;2\n", "line 2: .* '3,5' in column 2 is no number; write it with a point"),
        (b"a,b,3,5\nb,c,3,1\nc,d,2\n", "line 1: .* two whole numbers, which may be one .* --pair-columns 0,1,2"),
        (b"a\tb\t75%\nb\tc\t5%\nc\td\t1%\n", "line 1: .* is the first line of a file of no known form"),
        (b"word1\tword2\tscore\n", "line 1: .* is the first line of a file of no known form"),
        (b"a b what\nb c 1\nc d 2\nd e 1\n", "line 1: 'a b what' is neither a pair .* nor a header that is known"),
        (b"1 2 3\n4 5 6\n7 8 9\n", "line 1: '1 2 3' is the first line of a file of no known form .*pairs: car TAB"),
        (b"x,1,a,4\ny,2,b,5\nz,3,c,6\n", "line 1: .* has numbers where words are sought"),
        (b"a b 1\nb c\x00 2\nc d 3\n", "line 2: holds a control character"),
        ("a b 1\nb caf\u00e9 2\nc d 3\n".encode("latin-1"), r"line 2: not UTF-8 text \(byte 11\); .*iconv"),
        (b"man woman king queen\n", r"holds analogy questions \(google\); give it with --analogies"),
        (b"\x80\x04pickle", "pickle"),
        (b"<!doctype html>\n<p>", "HTML"),
        (b"seed\n\ta\n\tb\nseed\n\ta\n", "line 4: 'seed' is a seed for the second time"),
        (b"seed\n\ta\n\ta\n", "line 3: 'a' stands twice among the entities of 'seed'"),
        (b"seed\n\ta\n\tb\nlast\n", "line 4: 'last' is a seed without entities"),
        (b"seed\nnext\n\ta\n\tb\n\tc\n", "line 2: 'next' follows the seed 'seed', which has no entities"),
        (b"sun-n moon-n 1\nsun-n -n 2\na-n b-n\n", "line 3: .* nothing in column 2"),
    ],
)  # fmt: skip
def test_bad_similarity_files_are_named(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(DistjointError, match=rf"bad\.txt.*{message}"):
        read_similarity([write(tmp_path / "bad.txt", content)])
    with pytest.raises(DistjointError, match=r"none\.txt: no such file"):
        read_similarity([str(tmp_path / "none.txt")])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("boy girl king\nboy girl a b\nc d e f\n", "line 1: 'boy girl king' is not a question of four words: it has 3"),
        (": only a name\n", "line 1: ': only a name' ends a file without questions"),
        (":\na b c d\n", "line 1: ':' begins a relation without a name"),
        ("a b c d R_S\na b c d\na b c d R_S\n", "line 2: .* is not a question with its relation"),
        ("a\tb\nc\td/\ne\tf\n", "line 2: .* has an empty alternative"),
        ("a\tb\nc\nd\te\n", "line 2: 'c' is not a word and its counterparts, .* it has 1 word$"),
        ('5 "a:b"\n4 "c:d"\n3 e\n', "line 3: '3 e' is not a pair and its score"),
        ("a b c d e f g\n", "line 1: .* of no known form"),
        ("Apple\n\tJobs\n\tWozniak\n\tiPod\n", r"holds seeds.*\(ranked\); give it with --similarity"),
    ],
)
def test_bad_analogy_files_are_named(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(DistjointError, match=rf"bad\.txt.*{message}"):
        read_analogies([write(tmp_path / "bad.txt", content)])


@pytest.mark.parametrize("between", [";", "\t", " ", " | "])
def test_decimal_commas_and_bars_are_read_where_they_part_nothing_else(between: str, tmp_path: Path) -> None:
    rows = [("a", "b", "7,5"), ("b", "c", "10"), ("c", "d", "-0,25")]
    place = write(tmp_path / "s.txt", "".join(f"{between.join(row)}\n" for row in rows))
    found, said = read_similarity([place])
    assert found.pairs[0].pairs == (("a", "b"), ("b", "c"), ("c", "d"))
    assert found.pairs[0].scores == (7.5, 10.0, -0.25) and "with decimal commas" in said[0]
    whole = write(tmp_path / "counts.txt", "a,b,3,5\nb,c,3,1\nc,d,2,9\n")
    assert read_similarity([whole], columns=("0", "1", "2"))[0].pairs[0].scores == (3.0, 3.0, 2.0)


def test_a_column_that_may_hold_words_or_labels_is_asked_about(tmp_path: Path) -> None:
    text = "".join(f"{('noun', 'verb')[k % 2]}\tword{k}\tother{k}\t{k}\n" for k in range(20))
    place = write(tmp_path / "s.txt", text)
    with pytest.raises(DistjointError, match=r"line 1: .* begins with one of 2 names alone, .* --pair-columns 1,2,3"):
        read_similarity([place])
    assert read_similarity([place], columns=("1", "2", "3"))[0].pairs[0].pairs[1] == ("word1", "other1")
    assert read_similarity([place], columns=("0", "1", "3"))[0].pairs[0].pairs[1] == ("verb", "word1")


def test_columns_that_are_not_there_are_named(tmp_path: Path) -> None:
    place = write(tmp_path / "s.txt", "word1 word2 score\na b 1\nb c 2\nc d 3\n")
    with pytest.raises(DistjointError, match=r"line 1: .* has no column 'rating'; --pair-columns takes numbers"):
        read_similarity([place], columns=("word1", "word2", "rating"))
    with pytest.raises(DistjointError, match=r"line 1: .* nothing in column 7"):
        read_similarity([place], columns=("0", "1", "7"))


def test_every_form_can_be_named() -> None:
    assert {form.name for form in FORMS} == set(get_args(SetForm))


def documented() -> list[tuple[str, ...]]:
    """Form, how it is published, files and first item of each line in the manual's table."""
    text = (Path(__file__).parent.parent / "docs/evaluation.md").read_text()
    table = text.split("form | published so | file | first item\n--- | --- | --- | ---\n")[1].split("\n\n")[0]
    rows = [tuple(row.split(" | ")) for row in table.splitlines()]
    assert all(len(row) == 4 for row in rows) and {form for form, *_ in rows} == {form.name for form in FORMS}
    return rows


@pytest.mark.parametrize(("form", "published", "files_said", "first"), documented())
def test_every_form_of_the_manual_is_read(
    form: str, published: str, files_said: str, first: str, tmp_path: Path
) -> None:
    for each in files_said.split("; `"):
        name, _, content = each.strip("`").partition("`: `")
        write(tmp_path / name, content.replace("\\t", "\t").replace("\\n", "\n"))
    option = next(each.option for each in FORMS if each.name == form)
    found, notes = (read_similarity if option == "similarity" else read_analogies)([str(tmp_path)])
    assert f"read as {form}: " in notes[0] and notes[0].endswith(f"(first: {first})."), published
    assert len(notes) == 1 and {each.form for each in (*found.pairs, *found.groups, *found.questions)} == {form}


def scrambled(content: bytes, random: np.random.Generator) -> bytes:
    """Cut short, with bytes shuffled or changed, or with a part moved: one of them."""
    data, at = bytearray(content), int(random.integers(len(content)))
    kind, size = int(random.integers(5)), int(random.integers(1, 60))
    if kind == 0:
        return bytes(data[:at])
    if kind == 1:
        random.shuffle(part := np.frombuffer(bytes(data[at : at + size]), np.uint8).copy())
        data[at : at + size] = part.tobytes()
    elif kind == 2:
        data[at : at + size] = random.integers(0, 256, size, np.uint8).tobytes()
    elif kind == 3:
        return bytes(data[at:] + data[:at])
    else:
        random.shuffle(whole := np.frombuffer(content, np.uint8).copy())
        return whole.tobytes()
    return bytes(data)


def test_any_damage_is_an_error_that_names_the_file_or_a_set_that_is_said(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    asked = {
        "google": ": a\nAthens Greece Oslo Norway\nmen man dogs dog\n: gram8\ncat cats dog dogs\n",
        "msr": "good better rough rougher JJ_JJR\nman woman king queen NN_NN\na b c d VB_VBD\n",
        "bats": "cat\tcats/felines\ndog\tdogs\nox\toxen\n",
        "rated": '# r\n50.0 "flower:tulip"\n-8.5 "tulip:flower"\n12 "bird:robin"\n',
    }
    ranked = "Apple_Inc.\n\tSteve_Jobs\n\tSteve_Wozniak\n\tApple_(fruit)\nIBM\n\tWatson\n\tOS/2\n\tPC\n"
    whole = [(read_similarity, text) for text, expected in PAIRS.values() if expected]
    whole += [(read_similarity, ranked)] + [(read_analogies, text) for text in asked.values()]
    for number in range(MORE):
        read, text = whole[number % len(whole)]
        content = text.encode()
        packed = number % 7 == 0
        broken = scrambled(gzip.compress(content, mtime=0) if packed else content, random)
        try:
            found, notes = read([write(tmp_path / "broken.txt", broken)])
        except DistjointError as error:
            assert "broken.txt" in str(error) and "\n" not in str(error) and len(str(error)) < 1000, broken
            continue
        assert f"{tmp_path}/broken.txt read as " in notes[0], broken
        (form,) = {each.form for each in (*found.pairs, *found.groups, *found.questions)}
        pairs = [(pair, score) for each in (*found.pairs, *(group for each in found.groups for group in each.groups))
                 for pair, score in zip(each.pairs, each.scores, strict=True)]  # fmt: skip
        assert all(np.isfinite(score) and all(pair) for pair, score in pairs), broken
        assert not any(re.search(r"[\x00-\x08\n\r]", word) for pair, _ in pairs for word in pair), broken
        if not packed:  # no line is passed over
            lines = [line.strip() for line in re.split(rb"\r\n|\n|\r", broken.removeprefix(b"\xef\xbb\xbf"))]
            lines = [line for line in lines if line.decode().strip() and not line.startswith(b"#")]
            asked = sum(len(each.questions) for each in found.questions)
            items = {
                "ranked": len(pairs) + sum(len(each.groups) for each in found.groups),
                "google": asked + sum(line.startswith(b":") for line in lines),
                "bats": round(asked**0.5 + 0.5),
            }.get(form, asked or len(pairs) + ("after a header" in notes[0]))
            assert items == len(lines), broken


def test_a_file_that_is_too_large_for_a_set_is_refused_before_it_fills_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "LARGEST", 1 << 20)
    place = write(tmp_path / "large.gz", gzip.compress(b"a b 1 " * (1 << 20)))
    with pytest.raises(DistjointError, match=r"large\.gz: holds more than 1 MB, which is no evaluation set"):
        read_similarity([place])
