"""A labels.csv as spreadsheets write it, and what is refused, each in one line that names the row."""

from pathlib import Path

import pytest

from solesearch.core.errors import InputError
from solesearch.photos.labels_file import class_name, read_labels

FILES = ("Boot/1.jpg", "Boot/2.jpg", "Shoe/1.jpg")


def write(folder: Path, head: str, row: str, *, encoding: str = "utf-8") -> Path:
    """Write labels.csv with `row` for every photo; {file}, {label} and {n} are filled in."""
    rows = [row.format(file=name, label=name.split("/")[0], n=n) for n, name in enumerate(FILES)]
    (folder / "labels.csv").write_bytes("\n".join([head, *rows, ""]).encode(encoding))
    return folder / "labels.csv"


SPREADSHEETS = {
    "spaces": ("file, label, position", "{file}, {label}, {n}", "utf-8"),
    "quotes after spaces": ('"file", "label", "position"', '"{file}", "{label}", "{n}"', "utf-8"),
    "numbers with a point": ("file,label,position", "{file},{label},{n}.0", "utf-8"),
    "semicolons": ("file;label;position", "{file};{label};{n}", "utf-8-sig"),
    "semicolons, German numbers": ("file;label;position", "{file};{label};{n},0", "utf-8"),
    "its own first line": ("sep=;\nfile;label;position", "{file};{label};{n}", "utf-8"),
    "tabs, UTF-16": ("file\tlabel\tposition", "{file}\t{label}\t{n}", "utf-16"),
    "CRLF": ("file,label,position\r", "{file},{label},{n}\r", "utf-8-sig"),
    "rows of commas": ("file,label,position,,\n,,,,", "{file},{label},{n},,\n , ,,,", "utf-8"),
    "blank lines first": ("\n,,\nfile,label,position", "{file},{label},{n}", "utf-8"),
    "capitals": ("FILE,Label,Position", "{file},{label},{n}", "utf-8"),
    "lines in a cell": ("file,label,position", '{file},"\n {label}",{n}', "utf-8"),
}


@pytest.mark.parametrize("kind", SPREADSHEETS)
def test_what_spreadsheets_make_of_it(tmp_path: Path, kind: str) -> None:
    head, row, encoding = SPREADSHEETS[kind]
    table, notes = read_labels(write(tmp_path, head, row, encoding=encoding))
    assert table.columns.tolist() == ["file", "label", "position", "product"]
    assert table["file"].tolist() == list(FILES)
    assert table["label"].tolist() == ["boot", "boot", "shoe"]
    assert table["position"].tolist() == [0, 1, 2] and set(table["product"]) == {""}
    assert notes == []


def test_columns_whose_names_are_taken_get_others(tmp_path: Path) -> None:
    head = "file,label,id,Split,colour,colour,,product_id,place,"
    row = "{file},{label},{n},train,red,blue,a note,p{n},shelf,the last"
    table, notes = read_labels(write(tmp_path, head, row))
    assert table.columns.tolist() == [
        "file", "label", "given_id", "given_split", "colour", "colour_6", "column_7", "product",
        "given_place", "column_10",
    ]  # fmt: skip
    assert table["given_id"].tolist() == ["0", "1", "2"] and set(table["colour_6"]) == {"blue"}
    assert table["product"].tolist() == ["p0", "p1", "p2"]
    assert [action for _, action in notes] == [
        "kept as given_id", "kept as given_split", "kept as colour_6", "kept as column_7",
        "kept as given_place", "kept as column_10",
    ]  # fmt: skip


def test_products_with_and_without_a_point_are_the_same(tmp_path: Path) -> None:
    """Beside a gap pandas makes 3.0 of 3; two spellings of one product would lie in two splits."""
    text = "file,label,product\na.jpg,x,3\nb.jpg,x,3.0\nc.jpg,x,\n"
    (tmp_path / "labels.csv").write_text(text)
    assert read_labels(tmp_path / "labels.csv")[0]["product"].tolist() == ["3", "3", ""]
    (tmp_path / "labels.csv").write_text(text + "d.jpg,x,v1.0\n")
    assert read_labels(tmp_path / "labels.csv")[0]["product"].tolist() == ["3", "3.0", "", "v1.0"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "labels.csv: empty"),
        ("file,label\n", "names no photos"),
        ("name,class\nBoot/0001.jpg,boot\n", "lacks the columns file, label; it has name, class"),
        ("file, Label ,LABEL\na.jpg,a,b\n", "has the column label twice"),
        ("file,label\na.jpg,boot\n./a.jpg,shoe\n", "row 3: names a file for the second time: 'a.jpg'"),
        ("file,label\n/etc/passwd,boot\n", "row 2: is no path below .*: '/etc/passwd'"),
        ("file,label\nBoot/../../x.jpg,boot\n", "is no path below the folder"),
        ("file,label\nBoot\\0001.jpg,boot\n", "is no path below the folder"),
        ("file,label\nC:/x.jpg,boot\n", "is no path below the folder"),
        ("file,label\n\n,boot\n", "row 3: is no path below the folder"),
        ("file,label\nBoot/0001.jpg\n", "row 2: has no label"),
        ("file,label\na.jpg,bo\x07ot\n", "row 2: has control characters in its label"),
        ("file,label,position\na.jpg,boot,1.5\n", "row 2: .* no integer: '1.5'"),
        ("file,label\na.jpg,boot,3\n", "row 2 has more cells than its header"),
        ('file,label\n"a.jpg,boot\n', "not a CSV"),
    ],
)
def test_faults_name_their_row(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "labels.csv").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=words):
        read_labels(tmp_path / "labels.csv")


@pytest.mark.parametrize(("encoding", "label"), [("cp1252", "Stövel"), ("utf-16-le", "Boot")])
def test_encodings_that_cannot_be_told(tmp_path: Path, encoding: str, label: str) -> None:
    path = write(tmp_path, "file,label", "{file}," + label, encoding=encoding)
    with pytest.raises(InputError, match=r"labels\.csv: not UTF-8 .*save it as UTF-8"):
        read_labels(path)


def test_names_that_read_the_same_are_one_class() -> None:
    assert {class_name(name) for name in ("Café", "Cafe\N{COMBINING ACUTE ACCENT}", " CAFÉ ")} == {"café"}
