from __future__ import annotations

import codecs
import unicodedata

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from audiocls.errors import DataError
from audiocls.params.data import TableData
from audiocls.sources.columns import COLUMNS


def table(path, **options):
    return TableData(source="table", path=path, **options)


def test_parquet_is_read_like_csv(root, list_rows):
    frame = pd.DataFrame(
        {
            "path": ["a.wav", "b.wav", "c.wav"],
            "label": pd.array([7, None, 8], dtype="Int64"),
            "group": pd.Categorical(["ann", None, "ann"]),
            "split": ["train", "test", "validation"],
        }
    )
    frame.to_parquet(root / "clips.parquet")
    rows = list_rows(table(root / "clips.parquet", group_column="group", split_column="split"))
    assert [tuple(row[name] for name in COLUMNS[:5] if name != "path") for row in rows] == [
        ("a.wav", "7", "ann", "train"),
        ("b.wav", None, "b.wav", "test"),
        ("c.wav", "8", "ann", "validation"),
    ]


def test_a_byte_order_mark_is_no_part_of_the_first_column(root, list_rows):
    (root / "clips.csv").write_bytes(b"\xef\xbb\xbfpath,label\r\na.wav,yes\r\n")
    assert [(row["clip_id"], row["label"]) for row in list_rows(table(root / "clips.csv"))] == [("a.wav", "yes")]


def test_a_cell_may_run_over_lines(root, list_rows, write_csv):
    path = write_csv(root, 'path,label,text\na.wav,yes,"two\nlines, ""quoted"""\nb.wav,no,one\n')
    assert [row["label"] for row in list_rows(table(path))] == ["yes", "no"]


def write_table_as(path, frame):
    match path.suffix:
        case ".csv":
            frame.to_csv(path, index=False)
        case ".tsv":
            frame.to_csv(path, index=False, sep="\t")
        case ".parquet":
            frame.to_parquet(path)
        case _:
            frame.to_json(path, orient="records", lines=True)
    return path


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet", ".jsonl", ".ndjson", ".TSV"])
def test_a_table_says_the_same_in_every_format(root, list_rows, suffix):
    frame = pd.DataFrame(
        {
            "path": ["a.wav", "ä b.wav", "c.wav"],
            "label": ["07", "2026-01-01", None],
            "group": ["ann", None, "ann"],
            "split": ["train", "test", "validation"],
            "text": ["one, two", "tab less", None],
        }
    )
    path = write_table_as(root / f"clips{suffix.lower()}", frame).rename(root / f"clips{suffix}")
    rows = list_rows(table(path, group_column="group", split_column="split"))
    assert [tuple(row[name] for name in ("clip_id", "path", "label", "group", "split")) for row in rows] == [
        ("a.wav", str(root / "a.wav"), "07", "ann", "train"),
        ("c.wav", str(root / "c.wav"), None, "ann", "validation"),
        ("ä b.wav", str(root / "ä b.wav"), "2026-01-01", "ä b.wav", "test"),
    ]


def test_a_quotation_mark_in_a_tsv_is_a_letter(root, list_rows, write_csv):
    path = write_csv(root, 'path\tsentence\tlabel\na.wav\t"Ach", sprach er\tde\nb.wav\t"open\ten\n', "clips.tsv")
    assert [(row["clip_id"], row["label"]) for row in list_rows(table(path))] == [("a.wav", "de"), ("b.wav", "en")]


def test_json_lines_may_have_numbers_gaps_and_blank_lines(root, list_rows, write_csv):
    lines = [
        '{"path": "a", "label": 7}',
        "",
        '{"label": "7", "path": "b"}',
        '{"path": "c"}',
        '{"path": "d", "label": NaN}',
    ]
    path = write_csv(root, "\ufeff" + "\r\n".join(lines), "clips.jsonl")
    assert [row["label"] for row in list_rows(table(path))] == ["7", "7", None, None]


def test_columns_that_are_not_asked_for_are_not_read(root, list_rows):
    path = root / "clips.parquet"
    pd.DataFrame({"path": ["a.wav"], "label": ["yes"], "note": [{"bytes": 1}]}).to_parquet(path)
    assert [row["label"] for row in list_rows(table(path))] == ["yes"]


TEXT = {
    "clips.csv": "path,label,note\nä.wav,yes,\nb.wav,café,oui\n",
    "clips.tsv": "path\tlabel\tnote\nä.wav\tyes\t\nb.wav\tcafé\toui\n",
    "clips.jsonl": '{"path": "ä.wav", "label": "yes"}\n{"path": "b.wav", "label": "café", "note": "oui"}\n',
}


@pytest.mark.parametrize("name", TEXT)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be"])
def test_utf_8_and_utf_16_with_a_byte_order_mark_are_read(root, list_rows, name, encoding):
    mark = codecs.BOM_UTF16_BE if encoding == "utf-16-be" else b""
    (root / name).write_bytes(mark + TEXT[name].replace("\n", "\r\n").encode(encoding))
    assert [(row["clip_id"], row["label"]) for row in list_rows(table(root / name))] == [
        ("b.wav", "café"),
        ("ä.wav", "yes"),
    ]


LATIN = b"\xe9"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("clips.csv", b"path,label,caf\xe9\na.wav,yes,1\n", "line 1 is not UTF-8 (byte 0xe9 at column 15, 'é' in "),
        ("clips.csv", b"path,label,note\na,yes,\nb,no,caf\xe9\n", "line 3 is not UTF-8 (byte 0xe9 at column 9"),
        ("clips.csv", b"path,label\na,yes\n\xfcb,no\n", "line 3 is not UTF-8 (byte 0xfc at column 1"),
        ("clips.tsv", b"path\tlabel\na\tcaf\xe9\n", "line 2 is not UTF-8 (byte 0xe9 at column 6"),
        ("clips.jsonl", b'{"path": "a"}\n{"label": "\xe9"}\n', "line 2 is not UTF-8 (byte 0xe9 at column 12"),
        ("clips.csv", "path,label\na,é\n".encode("utf-16-le"), "line 1 is not text (a zero byte at column 2); if the"),
        ("clips.csv", "path,label\na,é\n".encode("utf-32"), "the file is UTF-32; save it as UTF-8"),
        ("clips.csv", "path,label\na,é\n".encode("utf-16")[:-1], "line 2 is not valid UTF-16 (truncated data)"),
        ("clips.tsv", b"path\tlabel\na\tn\0o\n", "line 2 is not text (a zero byte at column 4)"),
    ],
)
def test_any_other_encoding_is_refused_by_file_line_and_byte(root, list_rows, name, content, message):
    (root / name).write_bytes(content)
    with pytest.raises(DataError) as caught:
        list_rows(table(root / name))
    assert str(caught.value).startswith(f"data.path = {root / name}: {message}")
    assert "\n" not in str(caught.value)


def test_text_that_is_not_unicode_is_refused_in_parquet_and_json_lines_too(root, list_rows):
    odd = pa.Array.from_buffers(pa.string(), 1, pa.array([LATIN], pa.binary()).buffers())
    pq.write_table(pa.table({"path": ["a"], "label": odd}), root / "clips.parquet")
    with pytest.raises(DataError, match="the column label holds text that is not UTF-8"):
        list_rows(table(root / "clips.parquet"))
    (root / "clips.jsonl").write_bytes(b'{"path": "a", "label": "\\ud83d"}\n')
    with pytest.raises(DataError, match=r"line 1: label holds '\\ud83d', an unpaired surrogate"):
        list_rows(table(root / "clips.jsonl"))


@pytest.mark.parametrize("name", TEXT)
def test_a_column_is_found_whichever_way_its_name_is_composed(root, list_rows, name):
    composed, decomposed = (unicodedata.normalize(form, "étiquette") for form in ("NFC", "NFD"))
    for asked, there in ((composed, decomposed), (decomposed, composed)):
        (root / name).write_text(TEXT[name].replace("label", there), encoding="utf-8")
        rows = list_rows(table(root / name, label_column=asked, group_column=there))
        assert [(row["label"], row["group"]) for row in rows] == [("café", "café"), ("yes", "yes")]


def test_a_folder_named_like_a_partition_adds_no_column(root, list_rows):
    (root / "label=z").mkdir()
    path = write_table_as(root / "label=z" / "clips.parquet", pd.DataFrame({"path": ["a"], "label": ["x"]}))
    assert [row["label"] for row in list_rows(table(path))] == ["x"]


def test_missing_columns_are_all_named_with_those_that_are_there(root, list_rows, write_csv):
    path = write_csv(root, "file;word\na.wav;yes\n")
    with pytest.raises(DataError) as caught:
        list_rows(table(path, group_column="who"))
    assert str(caught.value) == (
        f"{path}: no such column: data.path_column = path, data.label_column = label, data.group_column = who. "
        "Its columns: file;word."
    )


def test_a_column_name_given_twice_is_told_only_where_it_is_used(root, list_rows, write_csv):
    path = write_csv(root, "path,label,label\na.wav,x,y\n")
    with pytest.raises(DataError, match=r"several columns have the same name: data\.label_column = label"):
        list_rows(table(path))
    path = write_csv(root, "path,label,note,note\na.wav,x,y,z\n")
    assert len(list_rows(table(path))) == 1


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("clips.csv", b"path,label\n", "no clips found"),
        ("clips.csv", b"", "the table cannot be read: Empty CSV file"),
        ("clips.csv", b"path,label\na,b,c\n", "the table cannot be read: .*Expected 2 columns, got 3"),
        ("clips.parquet", b"PAR1 and no more PAR1", "the table cannot be read"),
        (
            "clips.xlsx",
            b"PK",
            r"a table must be \.csv, \.tsv, \.parquet, \.jsonl or \.ndjson, but this file has the suffix \.xlsx",
        ),
        ("clips", b"path,label\n", "but this file has no suffix"),
        ("clips.tsv", b"path\tlabel\n", "no clips found"),
        ("clips.jsonl", b"\n", "no clips found"),
        ("clips.jsonl", b'{"path": "a", "label": "x"}\n{"path":', "line 2 is not valid JSON"),
        ("clips.ndjson", b"[1]\n", "line 1 must be a JSON object, but is list"),
        ("clips.jsonl", b'{"path": "a", "label": ["x"]}\n', "line 1: label holds list, but text is needed"),
        (
            "clips.jsonl",
            b'{"path": "a", "word": "x"}\n',
            "no such column: data.label_column = label. Its columns: path",
        ),
    ],
)
def test_a_file_that_is_no_table_is_told(root, list_rows, name, content, message):
    (root / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        list_rows(table(root / name))


def test_a_missing_table_and_a_folder_are_told(root, list_rows):
    for path, what in ((root / "none.csv", "no such file"), (root, "it is a folder, but a table must be a file")):
        with pytest.raises(DataError, match=f"data.path = {path}: {what}"):
            list_rows(table(path))


def test_a_column_that_is_no_text_is_told(root, list_rows):
    pd.DataFrame({"path": [{"bytes": 1}], "label": ["x"]}).to_parquet(root / "clips.parquet")
    with pytest.raises(DataError, match="the column path holds struct<bytes: int64>, but text is needed"):
        list_rows(table(root / "clips.parquet"))


def test_one_column_may_be_label_and_group(root, list_rows):
    for suffix in (".csv", ".parquet", ".jsonl"):
        path = write_table_as(root / f"clips{suffix}", pd.DataFrame({"path": ["a"], "label": ["x"]}))
        assert [(row["label"], row["group"]) for row in list_rows(table(path, group_column="label"))] == [("x", "x")]
