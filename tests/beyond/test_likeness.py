"""Likeness: worked numbers, plain loops, and photos that differ in one respect alone."""

from collections import Counter
from itertools import product

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageDraw

from solesearch.beyond import likeness
from solesearch.beyond.likeness import (
    LikenessSettings,
    Measured,
    attribute_queries,
    attribute_table,
    chances,
    colour_histogram,
    gallery_rows,
    held_values,
    hellinger_likeness,
    in_common,
    likeness_table,
    mean_likeness,
    measure_photos,
    object_pixels,
    overlap,
    pair_likeness,
    silhouette,
    texture_histogram,
)
from solesearch.retrieval.uncertainty import Resampling

SETTINGS = LikenessSettings(
    k=2, colour_cells=9, colour_smoothing=0.5, silhouette_side=48, texture_points=8, texture_radius=1,
    attributes=["closure"],
)  # fmt: skip
RESAMPLING = Resampling(resamples=200, permutations=9, confidence=0.95, significance=0.05, seed=1)


def photo(
    *, colour: tuple[int, int, int] = (150, 90, 30), heel: bool = False, stripes: bool = False
) -> np.ndarray:
    """A shoe-like shape on white, uint8 [64, 96, 3]: checks of two by two pixels, or stripes two wide."""
    image = Image.new("L", (96, 64), 0)
    draw = ImageDraw.Draw(image)
    draw.polygon([(10, 50), (10, 20), (50, 20), (85, 40), (85, 50)], fill=255)
    if heel:
        draw.rectangle((10, 50, 20, 62), fill=255)
    mask = np.asarray(image) > 0
    rows, columns = np.indices(mask.shape)
    dark = (columns // 2) % 2 if stripes else (rows // 2 + columns // 2) % 2
    surface = np.where(dark[..., None] == 1, np.array(colour), np.array(colour) // 2)
    return np.where(mask[..., None], surface, 255).astype(np.uint8)


def measured(*photos: np.ndarray, labels: list[str] | None = None) -> Measured:
    labels = labels or ["shoe"] * len(photos)
    return measure_photos(np.stack(photos), labels=labels, settings=SETTINGS)


def pair(first: np.ndarray, second: np.ndarray) -> dict[str, float]:
    values = pair_likeness(measured(first, second), np.array([0]), np.array([[1]]))
    return {name: float(value[0, 0]) for name, value in values.items()}


# --- one photo against another ---------------------------------------------------------------------------


def test_each_measure_sees_its_own_difference_alone() -> None:
    assert pair(photo(), photo()) == {"class": 1, "colour": pytest.approx(1), "shape": 1, "texture": 1}
    hue = pair(photo(), photo(colour=(30, 150, 90)))  # the channels changed round: as bright in sum
    assert hue["colour"] < 0.3 and hue["shape"] == 1 and hue["texture"] == pytest.approx(1)
    outline = pair(photo(), photo(heel=True))
    assert outline["shape"] < 0.85 and outline["colour"] > 0.9 and outline["texture"] > 0.9
    pattern = pair(photo(), photo(stripes=True))  # as many dark pixels as light ones
    assert pattern["texture"] < 0.6 and pattern["shape"] == 1 and pattern["colour"] > 0.95


def test_place_and_size_in_the_photo_do_not_matter_to_the_outline() -> None:
    small = Image.fromarray(photo()).resize((48, 32), Image.Resampling.NEAREST)
    moved = Image.new("RGB", (96, 64), "white")
    moved.paste(small, (40, 5))
    assert pair(photo(), np.asarray(moved))["shape"] > 0.93


def test_a_nearer_shade_is_more_alike() -> None:
    near, far = (pair(photo(), photo(colour=shade))["colour"] for shade in ((140, 80, 30), (60, 60, 160)))
    assert near > far + 0.2


def test_a_photo_that_shows_nothing_is_all_object() -> None:
    blank = np.full((64, 96, 3), 250, dtype=np.uint8)
    assert object_pixels(blank).all()
    assert pair(blank, blank)["shape"] == 1
    assert 0 <= pair(blank, photo())["texture"] <= 1


# --- worked numbers --------------------------------------------------------------------------------------


def test_hellinger_and_overlap_by_hand() -> None:
    roots = np.sqrt(np.array([[0.5, 0.5, 0.0], [0.5, 0.0, 0.5], [0.0, 0.0, 1.0]]))
    assert hellinger_likeness(roots[0], roots[1]) == pytest.approx(1 - 0.5**0.5)  # half is shared
    assert hellinger_likeness(roots[0], roots[2]) == 0
    assert hellinger_likeness(roots[2], roots[2]) == 1
    first, second = np.array([1, 1, 0, 0], dtype=bool), np.array([0, 1, 1, 0], dtype=bool)
    assert overlap(first, second) == pytest.approx(1 / 3)
    assert overlap(np.zeros(4, dtype=bool), np.zeros(4, dtype=bool)) == 0


def test_colours_fall_into_their_cells() -> None:
    """White, black and grey lie in the middle of a* and b*: cell 4 of 9; L* 100, 0 and 53.6."""
    pixels = np.array([[[255, 255, 255], [0, 0, 0], [128, 128, 128], [128, 128, 128]]], dtype=np.uint8)
    shares = colour_histogram(pixels, np.ones((1, 4), dtype=bool), cells=9, smoothing=0).reshape(9, 9, 9)
    assert shares[8, 4, 4] == shares[0, 4, 4] == 0.25
    assert shares[4, 4, 4] == 0.5
    smooth = colour_histogram(pixels, np.ones((1, 4), dtype=bool), cells=9, smoothing=1.0)
    assert smooth.sum() == pytest.approx(1) and (smooth > 0).sum() > 100
    red = photo(colour=(200, 20, 20))
    shares = colour_histogram(red, object_pixels(red), cells=9, smoothing=0).reshape(9, 9, 9)
    assert shares[8].sum() == 0  # no white: only the object counts


def test_silhouette_against_loops() -> None:
    mask = np.zeros((20, 30), dtype=bool)
    mask[4:10, 5:17] = True  # 6 high, 12 wide
    mask[6:8, 8:10] = False  # a hole
    wanted = np.zeros((24, 24), dtype=bool)
    wanted[6:18] = True  # 12 high, in the middle, over the whole width
    assert np.array_equal(silhouette(mask, side=24), wanted)


def test_texture_against_loops() -> None:
    """Four neighbours: the patterns are those of the plain definition, counted in the object's inside."""
    pixels = np.random.default_rng(5).integers(0, 200, (12, 14, 3), dtype=np.uint8)
    mask = np.zeros((12, 14), dtype=bool)
    mask[2:10, 3:12] = True
    grey, counts = pixels.astype(int).sum(axis=2), Counter()
    for row in range(3, 9):
        for column in range(4, 11):
            around = [(0, 1), (-1, 0), (0, -1), (1, 0)]
            bits = [grey[row + down, column + right] >= grey[row, column] for down, right in around]
            changes = sum(bits[n] != bits[n - 1] for n in range(4))
            counts[tuple(bits) if changes <= 2 else "not uniform"] += 1
    found = texture_histogram(pixels, mask, points=4, radius=1)
    assert len(found) == 15  # 2 even ones, 4 x 3 with one run of ones, 1 for the rest
    assert sorted(found[found > 0]) == pytest.approx(sorted(n / 42 for n in counts.values()))


def test_even_surfaces_and_objects_without_an_inside_have_a_texture() -> None:
    even = np.full((20, 20, 3), 77, dtype=np.uint8)
    assert texture_histogram(even, np.ones((20, 20), dtype=bool), points=8, radius=1).max() == 1
    line = np.zeros((20, 20), dtype=bool)
    line[10] = True
    assert texture_histogram(photo()[:20, :20], line, points=8, radius=1).sum() == pytest.approx(1)


# --- queries and answers ---------------------------------------------------------------------------------


def test_a_query_without_enough_answers_has_no_mean() -> None:
    table = mean_likeness(measured(*[photo()] * 3), np.array([[-1, -1], [0, 2], [-1, -1]]))
    assert table["class"].tolist()[1] == 1 and table.iloc[[0, 2]].isna().all(axis=None)


def test_means_against_loops() -> None:
    """Labels by hand."""
    shown = measured(
        photo(), photo(heel=True), photo(colour=(30, 150, 90)), photo(stripes=True),
        labels=["a", "a", "b", "b"],
    )  # fmt: skip
    answers = np.array([[1, 2], [0, 3], [3, 3], [0, 1]])
    table = mean_likeness(shown, answers)
    assert table["class"].tolist() == [0.5, 0.5, 1, 0]
    for query, row in enumerate(answers):
        for measure in ("colour", "shape", "texture"):
            single = [pair_likeness(shown, np.array([query]), np.array([[one]]))[measure] for one in row]
            assert table[measure][query] == pytest.approx(np.mean(single))


def test_galleries_by_kind() -> None:
    labels = pd.Series(["flats", "Bags", "heels", "bags"])
    rows = gallery_rows(labels, ["BAGS"])
    assert {name: part.tolist() for name, part in rows.items()} == {
        "all": [0, 1, 2, 3], "without_bags": [0, 2], "bags_only": [1, 3],
    }  # fmt: skip
    assert list(gallery_rows(labels, [])) == list(gallery_rows(labels[labels == "bags"], ["bags"])) == ["all"]


# --- the catalogue's attributes --------------------------------------------------------------------------

CLOSURES = ["Buckle; Ankle Strap", "buckle", "Zipper;", "", "Ankle Strap;Buckle;Zipper"]


def shoes(count: int = 5, *, group: list[str] | None = None) -> pd.DataFrame:
    """Rows of photos.csv, each a product of its own unless `group` says otherwise."""
    names = [f"{number:02d}" for number in range(count)]
    return pd.DataFrame({"id": names, "group": group or names, "position": range(count)})


def closures(texts: list[str] = CLOSURES) -> Measured:
    return held_values(pd.DataFrame({"closure": texts}), ["closure"])


def test_values_are_read_from_lists() -> None:
    """Letters' case, blanks and a separator at the end make no difference; toe is unknown for every photo."""
    texts = pd.DataFrame({"closure": CLOSURES, "toe": [""] * 5, "brand": ["x"] * 5})
    texts.loc[3, "closure"] = np.nan  # a photo that the manifest does not name
    held = held_values(texts, ["heel", "toe", "closure"])
    assert list(held) == ["closure"]
    ankle_strap, buckle, zipper = held["closure"].T.astype(int).tolist()
    assert (ankle_strap, buckle, zipper) == ([1, 0, 0, 0, 1], [1, 1, 0, 0, 1], [0, 0, 1, 0, 1])


def test_lists_in_common_by_hand() -> None:
    """{strap, buckle} and {buckle}: one of two; with {strap, buckle, zipper}: two of three; unknown: NaN."""
    values = closures()["closure"]
    found = in_common(values[0], values)
    assert found == pytest.approx([1, 1 / 2, 0, np.nan, 2 / 3], nan_ok=True)
    assert np.isnan(in_common(values[3], values)).all()


def test_shares_and_chances_by_hand() -> None:
    """Photo 0's answers are 1 and 3, of which 3 is unknown; photos 0 and 1 are one product for its chance."""
    photos, answers = shoes(), np.array([[1, 3], [0, 4], [0, 1], [0, 1], [-1, -1]])
    table = attribute_queries(closures(), photos, answers, window=0).set_index("id")
    assert table.index.tolist() == ["00", "01", "02", "03"] and set(table["attribute"]) == {"closure"}
    assert table["value"].tolist() == pytest.approx([1 / 2, (1 / 2 + 1 / 3) / 2, 0, np.nan], nan_ok=True)
    assert table["unknown"].tolist() == pytest.approx([1 / 2, 0, 0, np.nan], nan_ok=True)
    chance = [(1 / 2 + 0 + 2 / 3) / 3, (1 / 2 + 0 + 1 / 3) / 3, (0 + 0 + 1 / 3) / 3, np.nan]
    assert table["chance"].tolist() == pytest.approx(chance, nan_ok=True)
    pair = shoes(group=["same", "same", "c", "d", "e"])
    found = chances(closures(), pair, window=5)["closure"].tolist()
    chance = [(0 + 2 / 3) / 2, (0 + 1 / 3) / 2, (0 + 0 + 1 / 3) / 3, np.nan, (2 / 3 + 1 / 3 + 1 / 3) / 3]
    assert found == pytest.approx(chance, nan_ok=True)


def test_nobody_who_may_answer_gives_no_chance() -> None:
    found = chances(closures(["zipper", "zipper", ""]), shoes(3, group=["one", "one", "two"]), window=5)
    assert found["closure"].isna().all()


@pytest.mark.parametrize("seed", range(4))
def test_chances_against_loops(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Random lists, unknown ones among them, products of several photos, and blocks of seven queries."""
    monkeypatch.setattr(likeness, "QUERY_BLOCK", 7)
    draw = np.random.default_rng(seed)
    lists = [set(draw.choice(list("abcd"), size=draw.integers(0, 4))) for _ in range(40)]
    photos = shoes(40, group=[str(number) for number in draw.integers(0, 12, 40)])
    found = chances(closures([";".join(sorted(values)) for values in lists]), photos, window=9)["closure"]
    for query, mine in enumerate(lists):
        shares = []
        for other, theirs in enumerate(lists):
            near = abs(query - other) <= 9 and photos["group"][query] == photos["group"][other]
            if other != query and not near and mine and theirs:
                shares.append(len(mine & theirs) / len(mine | theirs))
        assert found[query] == pytest.approx(np.mean(shares) if shares else np.nan, nan_ok=True)


def test_the_mean_over_all_answers_is_the_chance() -> None:
    """What chance promises: photos drawn at random have on average as much in common with a query."""
    photos, held = shoes(), closures(["a", "a;b", "b", "c", "a;c"])
    shares = [
        attribute_queries(held, photos, np.array(answers), window=0)["value"]
        for answers in product(*([[other] for other in range(5) if other != query] for query in range(5)))
    ]
    assert np.mean(shares, axis=0) == pytest.approx(chances(held, photos, window=0)["closure"])


def test_attribute_table_against_plain_means() -> None:
    """Two models in the order given, one of two seeds; the second judged one query less."""
    photos, held = shoes(), closures()
    answers = {
        ("infogan", 1): [[1, 2], [0, 4], [0, 1], [0, 1], [1, 2]],
        ("infogan", 2): [[4, 3], [0, 4], [0, 1], [0, 1], [1, 2]],
        ("hog", 0): [[3, 3], [0, 4], [0, 1], [0, 1], [1, 3]],
    }
    rows = [
        attribute_queries(held, photos, np.array(found), window=0).assign(model=model, seed=seed)
        for (model, seed), found in answers.items()
    ]
    units = pd.Series(range(5), index=photos["id"])
    table = attribute_table(pd.concat(rows), units, RESAMPLING, k=2)
    assert list(table.columns) == likeness.SHARES
    assert table["model"].tolist() == ["infogan", "hog"] and set(table["k"]) == {2}
    first = [(1 / 4 + 2 / 3) / 2, 5 / 12, 0, (1 / 3 + 1 / 3) / 2]  # photo 0: {1, 2} and {4}, photo 3: unknown
    second = [5 / 12, 0, 1 / 3]  # photo 0: only 3 answers, which is unknown
    assert table["value"].tolist() == pytest.approx([np.mean(first), np.mean(second)])
    assert table["n"].tolist() == [4, 3] and table["queries_unknown"].tolist() == [1, 2]
    assert table["answers_unknown"].tolist() == pytest.approx([1 / 16, (1 + 1 / 2) / 4])
    chance = chances(held, photos, window=0)["closure"]
    assert table["chance"].tolist() == pytest.approx([chance.mean(), chance[[1, 2, 4]].mean()])
    assert (table["low"] <= table["value"]).all() and (table["value"] <= table["high"]).all()


def test_a_catalogue_without_attributes_gives_a_header() -> None:
    rows = attribute_queries({}, shoes(), np.array([[1, 2]] * 5), window=0).assign(model="hog", seed=0)
    table = attribute_table(pd.concat([rows, rows]), pd.Series(dtype=int), RESAMPLING, k=2)
    assert table.empty and list(table.columns) == likeness.SHARES


# --- the table -------------------------------------------------------------------------------------------


def judged_queries() -> pd.DataFrame:
    """Two models of 30 photos, one with two seeds, a third of 12; a gallery too small to be judged."""
    draw, blocks = np.random.default_rng(4), []
    for model, seed, photos in (("infogan", 1, 30), ("infogan", 2, 30), ("hog", 0, 30), ("VGG16", 0, 12)):
        block = pd.DataFrame(
            {"id": [f"{n:02d}" for n in range(photos)], "label": ["a", "b", "b"] * (photos // 3)}
        )
        block["class"], block["shape"] = draw.random(photos), draw.random(photos)
        blocks.append(block.assign(model=model, seed=seed, gallery="all"))
    few = blocks[2][:3].assign(gallery="bags_only", shape=np.nan, **{"class": np.nan})
    table = pd.concat([*blocks, few], ignore_index=True)
    table.loc[0, "shape"] = np.nan
    return table


def test_table_against_plain_means() -> None:
    queries = judged_queries()
    units = pd.Series(np.arange(30) // 2, index=[f"{n:02d}" for n in range(30)])
    table = likeness_table(queries, units, RESAMPLING)
    assert list(table.columns) == likeness.COLUMNS and set(table["gallery"]) == {"all"}
    assert len(table) == 2 * 3 * (3 + 2 + 2)  # measures, classes with `all`, seeds with their mean
    for row in table.itertuples():
        rows = queries[(queries["model"] == row.model) & (queries["gallery"] == "all")]
        rows = rows if row[5] == "all" else rows[rows["label"] == row[5]]
        rows = rows if row.seed == "all" else rows[rows["seed"] == int(row.seed)]
        values = rows.groupby("id")[row.measure].mean().dropna()
        assert row.value == pytest.approx(values.mean()) and row.n == len(values)
        assert row.low <= row.value <= row.high
    first = table.drop_duplicates(["model", "seed"])
    seeds = [("infogan", "1"), ("infogan", "2"), ("infogan", "all"), ("hog", "0"), ("hog", "all")]
    assert list(zip(first["model"], first["seed"], strict=True))[:5] == seeds
    assert table["class"].tolist()[:3] == ["all", "a", "b"]
