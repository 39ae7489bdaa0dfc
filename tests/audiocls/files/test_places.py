from __future__ import annotations

from pathlib import Path

import pytest

from audiocls.errors import DataError, MissingExtraError
from audiocls.files.places import chain_fault, file_system, folder_of, is_uri, joined, localised, plain_below, suffix_of


@pytest.mark.parametrize(
    ("text", "uri"),
    [
        ("s3://bucket/a.wav", True),
        ("memory://a", True),
        ("zip://a.wav::s3://bucket/a.zip", True),
        ("simplecache::s3://bucket/a", True),
        ("a/b.wav", False),
        ("/a/b.wav", False),
        ("C://a.wav", False),
        ("talk::part 2.wav", False),
        ("12:30.wav", False),
    ],
)
def test_a_scheme_makes_a_uri(text, uri):
    assert is_uri(text) is uri


@pytest.mark.parametrize(
    ("table", "clip", "place"),
    [
        (Path("/data/clips.csv"), "sub/a.wav", "/data/sub/a.wav"),
        (Path("/data/clips.csv"), "/else/a.wav", "/else/a.wav"),
        (Path("/data/clips.csv"), "s3://bucket/a.wav", "s3://bucket/a.wav"),
        ("s3://bucket/clips.csv", "sub/a.wav", "s3://bucket/sub/a.wav"),
        ("s3://bucket/clips.csv", "file:///a.wav", "file:///a.wav"),
        ("s3://bucket/clips.csv", "/else/a.wav", "/else/a.wav"),
        ("memory://clips.csv", "a.wav", "memory://a.wav"),
        ("memory:///clips.csv", "a.wav", "memory:///a.wav"),
        ("simplecache::s3://bucket/x/clips.csv", "a.wav", "simplecache::s3://bucket/x/a.wav"),
        ("zip://x/clips.csv::s3://b/a.zip", "a.wav", "zip://x/a.wav::s3://b/a.zip"),
        ("zip://clips.csv::s3://b/a.zip", "a.wav", "zip://a.wav::s3://b/a.zip"),
        ("https://host/x/clips.csv?version=1/2", "a.wav", "https://host/x/a.wav"),
    ],
)
def test_a_clip_is_found_from_the_folder_of_its_table(table, clip, place):
    assert joined(folder_of(table), clip) == place


@pytest.mark.parametrize(
    ("place", "folder", "plain"),
    [
        ("s3://bucket/x/a.wav", "s3://bucket/x", "s3://bucket/x/a.wav"),
        ("s3://bucket/x/y/../a.wav", "s3://bucket/x", "s3://bucket/x/a.wav"),
        ("s3://bucket/x/../a.wav", "s3://bucket/x", None),
        ("s3://bucket/x2/a.wav", "s3://bucket/x", None),
        ("s3://other/x/a.wav", "s3://bucket/x", None),
        ("gs://bucket/x/a.wav", "s3://bucket/x", None),
        ("/x/a.wav", "s3://bucket/x", None),
        ("memory:///x/../x/a.wav", "memory:///x", "memory:///x/a.wav"),
        ("memory://a.wav", "memory://", "memory://a.wav"),
        ("memory://../a.wav", "memory://", None),
        ("https://host/x/%2e%2e/a.wav", "https://host/x", None),
        ("https://host/x/%2E./y/../../a.wav", "https://host/x", None),
        ("https://host/x/a%20b.wav", "https://host/x", "https://host/x/a%20b.wav"),
        ("zip://x/a.wav::s3://b/a.zip", "zip://x::s3://b/a.zip", "zip://x/a.wav::s3://b/a.zip"),
        ("zip://x/a.wav::s3://b/other.zip", "zip://x::s3://b/a.zip", None),
        ("file:///x/../x/a.wav", Path("/x"), "/x/a.wav"),
        ("file:///y/a.wav", Path("/x"), None),
        ("s3://x/a.wav", Path("/x"), None),
    ],
)
def test_what_leads_out_of_a_folder_is_seen_whatever_it_is_written_in(place, folder, plain):
    assert plain_below(place, folder) == plain


def test_a_file_uri_is_a_local_path_and_other_uris_are_none(tmp_path):
    assert localised(tmp_path.as_uri()) == tmp_path
    assert localised("s3://bucket/a") == "s3://bucket/a"
    assert localised(Path("a")) == Path.cwd() / "a"


def test_the_suffix_is_that_of_the_path():
    assert suffix_of("https://host/x/Clips.CSV?name=a.txt") == ".csv"
    assert suffix_of("zip://clips.tsv::s3://b/a.zip") == ".tsv"
    assert suffix_of(Path("a/b.Parquet")) == ".parquet"


@pytest.mark.parametrize(
    ("uri", "good"),
    [
        ("s3://bucket/a.wav", True),
        ("zip://a.wav::s3://bucket/a.zip", True),
        ("zip://a.wav::simplecache::https://host/a.zip", True),
        ("tar://a.wav::/data/a.tar", True),
        ("s3://bucket/a::b.wav", False),
        ("zip://a::b.wav::s3://bucket/a.zip", False),
        ("https://host/a::https://host/b", False),
    ],
)
def test_two_colons_in_a_name_are_no_chain(uri, good):
    assert (chain_fault(uri) is None) is good
    if not good:
        with pytest.raises(DataError, match=rf"{uri}: in a URI, '::' separates the links .* rename the file"):
            file_system(uri)


def test_a_scheme_that_nobody_knows_or_whose_package_is_missing_is_told(monkeypatch):
    with pytest.raises(DataError, match=r"nonsense://me:\*\*\*@x: Protocol not known"):
        file_system("nonsense://me:secret@x")
    monkeypatch.setitem(__import__("sys").modules, "paramiko", None)
    with pytest.raises(MissingExtraError, match=r"sftp://host/x: .*paramiko"):
        file_system("sftp://host/x")
