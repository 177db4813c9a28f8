"""URLs to files: plain paths, file:// and memory://; what is written whole, and how failures read."""

from __future__ import annotations

import errno
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pyarrow.fs as pafs
import pytest
import xxhash

from distjoint.base.errors import DistjointError, UsageError
from distjoint.storage import Location, expand, locate, parse_options, use_options

pytestmark = pytest.mark.unit


@pytest.fixture(params=["plain", "file", "memory"])
def base(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of an empty folder on each kind of filesystem."""
    return {"plain": str(tmp_path), "file": f"file://{tmp_path}", "memory": f"memory://{uuid.uuid4().hex}"}[
        request.param
    ]


def test_what_is_written_is_read_listed_and_deleted(base: str) -> None:
    folder = locate(base) / "runs/one"
    assert not folder.exists()
    assert folder.list() == []
    folder.make_dir()
    place = folder / "b.bin"
    place.write_bytes(b"first")
    place.write_bytes(b"second, longer")
    (folder / "a.bin").write_bytes(b"")
    assert (place.read_bytes(), place.size(), place.name) == (b"second, longer", 14, "b.bin")
    assert place.checksum() == f"xxh3:{xxhash.xxh3_64(b'second, longer').hexdigest()}"
    assert [found.name for found in folder.list()] == ["a.bin", "b.bin"]
    assert folder.is_dir()
    assert not place.is_dir()
    place.delete()
    assert not place.exists()
    place.delete()  # deleting nothing is fine
    folder.delete()
    assert not folder.exists()


def test_streams_seek_and_write(base: str) -> None:
    folder = locate(base) / "streams"
    folder.make_dir()
    with (folder / "x").open_output() as stream:
        stream.write(b"0123456789")
    with (folder / "x").open_input() as stream:
        stream.seek(4)
        assert stream.read(3) == b"456"


def test_urls_are_kept_as_they_were_given(base: str) -> None:
    place = locate(base + "/") / "x" / "y.json"
    assert str(place) == f"{base}/x/y.json"
    assert locate(place) is place


def test_plain_paths_are_local_and_relative_ones_start_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert locate("data/x").path == locate("data/x").absolute == str(tmp_path / "data/x")
    assert locate("memory://x/y").absolute == "memory://x/y"
    assert locate("~/data").path == str(tmp_path / "data")
    assert locate("data/x").is_local
    assert not locate("memory://x").is_local


def test_what_is_missing_is_named(base: str) -> None:
    place = locate(base) / "none.bin"
    for read in (place.read_bytes, place.size, place.checksum):
        with pytest.raises(DistjointError, match=r"none\.bin: no such file"):
            read()


def test_an_unknown_protocol_is_named() -> None:
    with pytest.raises(DistjointError, match="what://x"):
        locate("what://x")
    with pytest.raises(DistjointError, match="what://x"):
        expand("what://x")


def test_a_file_where_a_folder_should_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DistjointError, match="file/run"):
        (locate(str(tmp_path)) / "file" / "run").make_dir()


class Full(pafs.LocalFileSystem):
    """A disk that is full after the first byte."""

    def open_output_stream(self, path: str, *args: object, **kwargs: object) -> object:
        stream = super().open_output_stream(path, *args, **kwargs)
        stream.write(b"x")

        class Stream:
            def __enter__(self) -> Stream:
                return self

            def __exit__(self, *_: object) -> None:
                stream.close()

            def write(self, _: bytes) -> None:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        return Stream()


def test_a_full_disk_leaves_the_old_file_whole_and_nothing_beside_it(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_bytes(b"old")
    place = Location(Full(), str(tmp_path / "run.json"), "run.json")
    with pytest.raises(DistjointError, match=r"run\.json: no space left on the disk"):
        place.write_bytes(b"new")
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [("run.json", b"old")]


@pytest.mark.parametrize("protocol", ["plain", "memory"])
def test_a_pattern_stands_for_its_files_in_order(protocol: str, tmp_path: Path) -> None:
    base = str(tmp_path) if protocol == "plain" else f"memory://{uuid.uuid4().hex}"
    folder = locate(base)
    (folder / "sub").make_dir()
    for name in ("b.txt", "a.txt", "c.csv", "sub/d.txt", ".hidden"):
        (folder / name).write_bytes(b"x")

    def names(pattern: str) -> list[str]:
        found = expand(f"{base}/{pattern}" if pattern else base)
        assert all(locate(url).read_bytes() == b"x" for url in found)
        return [url.removeprefix(base).removeprefix(f"memory:///{base[9:]}").lstrip("/") for url in found]

    assert names("*.txt") == ["a.txt", "b.txt"]
    assert names("a.txt") == ["a.txt"]
    assert names("") == ["a.txt", "b.txt", "c.csv", "sub/d.txt"]
    with pytest.raises(DistjointError, match=r"\*\.zst: no such file"):
        names("*.zst")
    with pytest.raises(DistjointError, match=r"none\.txt: no such file"):
        names("none.txt")


@pytest.fixture
def no_options() -> Iterator[None]:
    yield
    use_options({})


@pytest.mark.usefixtures("no_options")
def test_options_of_the_process_serve_every_url_but_local_ones(tmp_path: Path) -> None:
    use_options({"endpoint_url": "http://127.0.0.1:1", "key": "k", "secret": "s"})
    place = locate("s3://bucket/x", {"key": "other"})
    assert place.options == {"endpoint_url": "http://127.0.0.1:1", "key": "other", "secret": "s"}
    (tmp_path / "a.txt").write_text("a")
    assert locate(str(tmp_path / "a.txt")).read_bytes() == b"a"
    assert expand(str(tmp_path)) == [str(tmp_path / "a.txt")]


@pytest.mark.usefixtures("no_options")
def test_default_options_replace_those_before_them() -> None:
    use_options({"key": "k", "secret": "s"})
    use_options({"key": "other"})
    assert locate("memory://x").options == {"key": "other"}


def test_a_file_and_a_folder_are_told_apart(base: str) -> None:
    folder = locate(base)
    folder.make_dir()
    (folder / "a").make_dir()
    (folder / "a/b.txt").write_bytes(b"12")
    assert (folder / "a/b.txt").info().size == 2
    assert [(folder / name).is_dir() for name in ("a", "a/b.txt", "c")] == [True, False, False]
    assert [info.base_name for info in folder.entries()] == ["a"]
    assert [info.base_name for info in folder.entries(recursive=True)] == ["a", "b.txt"]
    assert (folder / "none").entries(recursive=True) == []


def test_options_are_pairs_or_json() -> None:
    assert parse_options(["key=a=b", '{"client_kwargs": {"region_name": "eu-west-1"}}']) == {
        "key": "a=b",
        "client_kwargs": {"region_name": "eu-west-1"},
    }


@pytest.mark.parametrize("text", ["hunter2", "=hunter2", "{hunter2"])
def test_options_that_cannot_be_read_are_not_repeated(text: str) -> None:
    with pytest.raises(UsageError, match="--storage-options") as caught:
        parse_options([text])
    assert "hunter2" not in str(caught.value)


def test_secrets_are_not_in_the_text_of_a_place() -> None:
    assert "hunter2" not in repr(locate("s3://bucket/x", {"key": "k", "secret": "hunter2"}))


def test_a_profile_brings_its_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = tmp_path / "config"
    settings.write_text("[profile mine]\naws_access_key_id = a\naws_secret_access_key = b\n[profile empty]\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(settings))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    assert locate("s3://bucket/x", {"profile": "mine"}).path == "bucket/x"
    for profile in ("absent", "empty"):
        with pytest.raises(DistjointError, match=f"profile={profile}"):
            locate("s3://bucket/x", {"profile": profile})
