"""What is told of UT-Zap50K's photos: by their paths, by meta-data.csv (or its zip), by a labels.csv."""

import zipfile
from pathlib import Path

import pandas as pd
import pytest

from solesearch.core.errors import InputError
from solesearch.photos.metadata import official_attributes

IDS = pd.Series(
    ["Boots/Ankle/A. Testoni/8.3.jpg", "Shoes/Flats/B%C3%98RN/9.100.jpg", "Shoes/Flats/B%C3%98RN/9.3.jpg"],
    index=[4, 5, 6],
)
HEAD = "CID,Category,SubCategory,HeelHeight,Insole,Closure,Gender,Material,ToeStyle"
ROWS = (
    "8-3,Boots,Ankle,1in - 1 3/4in,,Zipper,Men;Boys,Leather,Almond;Closed Toe\n"
    "9-3,Shoes,Flats,,Padded,,Women,,\n"
)
LATER = "77-1,Shoes,Flats,,,,Women,,\n9-3,Shoes,Flats,,,,Men,,\n"
TOLD = ["gender", "heel", "closure", "material", "toe", "insole", "brand", "colour_number"]


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def write_meta_zip(path: Path, text: str, *, name: str = "ut-zap50k-data/meta-data.csv") -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(name, text)


@pytest.mark.parametrize("place", ["ut-zap50k-data/meta-data.csv", "meta-data.csv", "ut-zap50k-data.zip"])
def test_the_official_table_is_joined_by_product_and_colour(tmp_path: Path, place: str) -> None:
    text = f"{HEAD}\n{ROWS}{LATER}"
    if place.endswith(".zip"):
        write_meta_zip(tmp_path / place, text)
    else:
        write(tmp_path / place, text)
    attributes, problems = official_attributes(tmp_path, IDS)
    assert attributes.columns.tolist() == TOLD and attributes.index.tolist() == [4, 5, 6]
    assert attributes.values.tolist() == [
        ["Men;Boys", "1in - 1 3/4in", "Zipper", "Leather", "Almond;Closed Toe", "", "A. Testoni", "3"],
        ["", "", "", "", "", "", "BØRN", "100"],
        ["Women", "", "", "", "", "Padded", "BØRN", "3"],
    ]
    assert [problem[1:] for problem in problems] == [
        ("1 rows name no photo that is here", "passed over"),
        ("1 rows name a photo again", "passed over"),
        ("1 photos have no row", "empty attributes"),
    ]


def test_a_labels_file_is_joined_by_path_and_its_other_columns_are_kept(tmp_path: Path) -> None:
    head = "path,category,brand,product,colour,gender,heel,width,Season"
    rows = (f"{IDS[5]},Shoes,BØRN,9,100,Women,Flat,E,NA", f"{IDS[4]},Boots,x,8,3,Men,,,")
    write(tmp_path / "labels.csv", "\n".join([head, *rows, ""]))
    attributes, problems = official_attributes(tmp_path, IDS)
    columns = ["gender", "heel", "given_width", "season", "brand", "colour_number"]
    assert attributes.columns.tolist() == columns  # its colour is the path's number, and no name
    assert attributes.loc[5].tolist() == ["Women", "Flat", "E", "NA", "BØRN", "100"]
    assert problems == [("labels.csv", "1 photos have no row", "empty attributes")]
    write(tmp_path / "labels.csv", f"path,colour\n{IDS[4]},Black\n")
    assert official_attributes(tmp_path, IDS)[0]["colour"].tolist() == ["Black", "", ""]


def test_without_a_table_the_paths_tell_brand_and_colour(tmp_path: Path) -> None:
    attributes, [problem] = official_attributes(tmp_path, IDS)
    assert attributes.columns.tolist() == ["brand", "colour_number"]
    assert problem == (
        "meta-data.csv", "not there, nor ut-zap50k-data.zip", "no attributes but brand and colour",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no table"),
        ("<html>not found</html>\n", "lacks the columns CID, Gender, HeelHeight"),
        (f"{HEAD.replace('Gender,', '')}\n", "lacks the columns Gender;"),
        (f"{HEAD}\n{ROWS}a,b,c,d,e,f,g,h,i,j\n", "no table .*line 4"),
        (f"{HEAD}\n8-3,a,b,c,d,e,f,g,h,i\n", "more cells than its header"),
        (f'{HEAD}\n"8-3,never closed\n', "no table"),
        ("\0\xff\1" * 50, "lacks the columns CID"),
    ],
)
def test_a_broken_table_is_one_line_that_names_it(tmp_path: Path, text: str, words: str) -> None:
    write(tmp_path / "meta-data.csv", text)
    with pytest.raises(InputError, match=rf"meta-data\.csv.*{words}") as told:
        official_attributes(tmp_path, IDS)
    assert "go on without attributes" in str(told.value) and "\n" not in str(told.value)


def test_a_broken_zip_and_one_without_the_table(tmp_path: Path) -> None:
    archive = write(tmp_path / "ut-zap50k-data.zip", "no zip")
    with pytest.raises(InputError, match=r"ut-zap50k-data\.zip: cannot be read"):
        official_attributes(tmp_path, IDS)
    write_meta_zip(archive, "", name="readme.txt")
    with pytest.raises(InputError, match=r"holds no meta-data\.csv"):
        official_attributes(tmp_path, IDS)
