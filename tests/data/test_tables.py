"""Tables as spreadsheets, programs and people write them."""

import codecs

import pytest

from mgr_jax.data import tables

KNOWN = ("path", "label")


def _read(tmp_path, content, known=KNOWN, **options):
    path = tmp_path / "table.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return tables.read_table(path, known=known, **options)


ROWS = [{"path": "a.wav", "label": "x"}, {"path": "b.wav", "label": "y"}]


@pytest.mark.parametrize(
    "text",
    [
        "path,label\na.wav,x\nb.wav,y\n",
        "path;label\r\na.wav;x\r\nb.wav;y\r\n",
        "path\tlabel\na.wav\tx\nb.wav\ty",
        "path|label\na.wav|x\nb.wav|y\n",
        "path, label\na.wav, x\n b.wav ,y\n",
        "Path,LABEL\na.wav,x\nb.wav,y\n",
        "sep=,\npath,label\na.wav,x\nb.wav,y\n",
        '"sep=;"\r\npath;label\r\na.wav;x\r\nb.wav;y\r\n',
        "SEP=#\npath#label\na.wav#x\nb.wav#y\n",
        '"path";"label"\n"a.wav";"x"\n"b.wav";"y"\n',
        "\n\npath,label,,\na.wav,x,,\n,,,\n\nb.wav,y,,\n,,,\n",
        "path,label\ra.wav,x\rb.wav,y\r",
        "sep=\\t\npath\tlabel\na.wav\tx\nb.wav\ty\n",
        "\r\nsep = ;,,\r\npath;label\r\na.wav;x\r\nb.wav;y\r\n",
        "# made by hand, on Monday\n#\npath,label\na.wav,x\nb.wav,y\n",
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_read_table_takes_any_delimiter_and_encoding(tmp_path, text, encoding):
    table = _read(tmp_path, text.encode(encoding))
    assert [{name: row[name] for name in KNOWN} for row in table.rows] == ROWS


def test_read_table_reads_big_endian_with_a_mark(tmp_path):
    content = codecs.BOM_UTF16_BE + "path;label\ná.wav;x\n".encode("utf-16-be")
    assert _read(tmp_path, content).rows == [{"path": "á.wav", "label": "x"}]


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ('path,label\n"a;b, c.wav",x\n', "a;b, c.wav"),
        ("path;label\na, b, c.wav;x\n", "a, b, c.wav"),
        ("path\tlabel\na; b, c.wav\tx\n", "a; b, c.wav"),
        ('path, label\n"a, b.wav", x\n', "a, b.wav"),
        ('path,label\n"a ""b"".wav",x\n', 'a "b".wav'),
        ('path,label\n"a\nb.wav",x\n', "a\nb.wav"),
        ("path,label\n'=a.wav,x\n", "=a.wav"),
        ("label;path, relative;path\nx;y;a.wav\n", "a.wav"),
    ],
)
def test_read_table_takes_the_delimiter_of_the_header_and_what_is_quoted(tmp_path, text, path):
    (row,) = _read(tmp_path, text).rows
    assert (row["path"], row["label"]) == (path, "x")


def test_read_table_fills_short_rows_and_counts_lines(tmp_path):
    table = _read(tmp_path, 'sep=,\npath,label,artist\n"a\nb",x\n\nc,y,z\n', fill=True)
    assert [row["artist"] for row in table.rows] == ["", "z"]
    assert table.lines == [4, 6]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("path,label\na, b.wav,x\n", "line 2 has 3 cells, the header 2; put text that has commas"),
        ("path;label\na.wav;x;rock\n", "semicolons between quotes"),
        ("path,label\na.wav\n", "line 2 has 1 cells, the header 2"),
        ('path,label\n"a.wav,x\n', "line 2: unexpected end of data"),
        ('path,label\n"a".wav,x\n', "line 2: ',' expected after '\"'"),
        ("path,label,Label\na,b,c\n", "column 'label' is there twice"),
        ("path,label\na,b\npath,label\nc,d\n", "line 3 is the header again"),
        ("\nsep=,\npath,label\na,b\nPath, LABEL\nc,d\n", "line 5 is the header again"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1" + bytes(500), "a workbook or an archive; save it as CSV"),
        (b"path,label\n\xe9.wav,x\n", "not text in UTF-8 or UTF-16"),
        (b"\xff\xfep\0a\0t", "not text in UTF-8 or UTF-16"),
        (b"PK\x03\x04\x14\0", "a workbook or an archive; save it as CSV"),
    ],
)
def test_read_table_names_what_it_cannot_read(tmp_path, content, reason):
    with pytest.raises(ValueError) as caught:
        _read(tmp_path, content)
    assert reason in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("file,genre\na,b\n", "its columns, separated by commas, are 'file', 'genre'"),
        ("file;genre\na;b\n", "its columns, separated by semicolons, are 'file', 'genre'"),
        ("path genre\na b\n", "its only column is 'path genre'"),
        ("a\x1b[2J\tb\n1\t2\n", r"separated by tabs, are 'a\\x1b[2j', 'b'"),
        ("", "the file is empty"),
        (",".join("abcdefghijklmnop"), "and 4 more"),
    ],
)
def test_require_names_columns_and_delimiter(tmp_path, text, words):
    with pytest.raises(ValueError, match=r"column '(label|path)' is missing") as caught:
        _read(tmp_path, text).require(*KNOWN)
    assert words in str(caught.value)


def test_read_table_refuses_a_line_that_would_fill_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "_LONGEST_LINE", 1000)
    assert _read(tmp_path, "path,label\n" + "a" * 990 + ",x\n").rows
    with pytest.raises(ValueError, match="a line has 1000 characters or more; it is no table"):
        _read(tmp_path, "path,label\n" + "a" * 1001 + ",x\n")
