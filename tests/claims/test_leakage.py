"""The audit, the galleries and the oracle on worked numbers and against plain loops."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from solesearch.claims import leakage
from solesearch.core import files
from solesearch.core.embedding import Embedding, save_embedding
from solesearch.core.errors import InputError
from solesearch.core.paths import Paths
from solesearch.retrieval.retrieval import evaluate


def photo_table(*rows: tuple) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["id", "label", "group", "position", "split"])


@pytest.fixture
def small(workspace) -> SimpleNamespace:
    """Seven photos on a line: a and b are one product, c another, t and v lie in other splits."""
    photos = photo_table(
        ("a", "x", "1", 0, "test"), ("b", "x", "1", 0, "test"), ("c", "x", "2", 0, "test"),
        ("d", "y", "3", 0, "test"), ("t", "x", "4", 0, "training"), ("u", "y", "5", 0, "training"),
        ("v", "y", "6", 0, "validation"),
    )  # fmt: skip
    paths = Paths.of("smoke")
    vectors = np.array([[0], [4], [1], [10], [0.5], [9], [30]], np.float32)
    save_embedding(paths.embeddings, "infogan-seed-1", Embedding(photos["id"].tolist(), vectors))
    duplicates = pd.DataFrame(
        [("a", "b", "near", 0, True), ("a", "c", "near", 2, False), ("c", "t", "exact", 0, False),
         ("t", "u", "near", 1, False)],
        columns=["first", "second", "kind", "distance", "same_product"],
    )  # fmt: skip
    files.write_table(paths.duplicates, duplicates)
    rule = SimpleNamespace(exclusion_window=0, ks=[1, 2])

    def split(name: str) -> tuple[pd.DataFrame, None]:
        return photos[photos["split"] == name].reset_index(drop=True), None

    return SimpleNamespace(paths=paths, photos=photos, evaluation=rule, seeds=[1], split=split)


def test_hash_pairs_leave_out_one_product_and_name_the_splits(small) -> None:
    found = leakage.hash_pairs(small)
    assert list(zip(found["first"], found["second"], found["between"], strict=True)) == [
        ("a", "c", "test and test, other product"), ("c", "t", "test and training"),
        ("t", "u", "training and training, other product"),
    ]  # fmt: skip


def test_nearest_photo_of_another_product_and_of_other_splits(small) -> None:
    found = leakage.embedding_pairs(small).set_index(["between", "first"])
    other = found.loc["test and test, other product"]
    assert other["second"].to_dict() == {"a": "c", "b": "c", "c": "a", "d": "b"}
    assert other["distance"].tolist() == pytest.approx([1, 3, 1, 6])
    assert found.loc["test and training", "second"].to_dict() == {"a": "t", "b": "t", "c": "t", "d": "u"}
    assert leakage.same_product_distance(small) == pytest.approx(4)  # a and b


def test_audit_counts_pairs_and_photos(small) -> None:
    counts, pairs = leakage.near_duplicates(small)
    found = counts.set_index(["kind", "between"])
    by_hash, near = found.loc["perceptual hash"], found.loc["nearest embedding"]
    assert by_hash["pairs"].tolist() == [1, 1, 0]
    assert by_hash["photos"].tolist() == [2, 1, 0]
    assert near["pairs"].tolist() == [
        3,
        4,
        0,
    ]  # nearer than 4: 1, 3, 1; then .5, 3.5, .5, 1; then 20 and more
    assert set(counts["of"]) == {4}
    assert pairs.groupby("kind")["distance"].apply(lambda one: one.is_monotonic_increasing).all()


def test_audit_without_any_known_product_counts_none_as_near(small) -> None:
    small.photos["group"] = list("1234567")
    counts, _ = leakage.near_duplicates(small)
    near = counts[counts["kind"] == "nearest embedding"]
    assert near["pairs"].tolist() == [0, 0, 0] and near["threshold"].isna().all()


def test_nearest_neighbours_in_blocks_against_plain_loops(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leakage, "BLOCK", 3)
    draw = np.random.default_rng(0)
    queries, gallery = draw.random((8, 4)), draw.random((11, 4))
    rows, distances = leakage.nearest_neighbours(queries, gallery)
    for query, row, distance in zip(queries, rows, distances, strict=True):
        plain = [np.linalg.norm(query - one) for one in gallery]
        assert (row, distance) == (int(np.argmin(plain)), pytest.approx(min(plain)))


def test_precisions_agree_with_the_retrieval_module(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leakage, "BLOCK", 7)
    draw = np.random.default_rng(1)
    photos = pd.DataFrame({"id": range(20), "label": draw.choice(list("xy"), 20)})
    photos = photos.assign(group=[n // 2 for n in range(20)], position=0)
    vectors = draw.standard_normal((20, 3)).astype(np.float32)
    expected = evaluate(vectors, photos, gallery="product_excluded", window=0, ks=[1, 5])
    group = photos["group"].to_numpy()
    found = leakage.precisions(vectors, photos, excluded=group[:, None] == group[None], ks=[1, 5])
    for k in (1, 5):
        assert found[k] == pytest.approx(expected[f"precision_{k}"].to_numpy())


def test_leaving_a_duplicate_out_changes_the_answer() -> None:
    """On a line a, b, c at 0, 1, 3: b answers a at k = 1; without the pair c does, of another class."""
    photos = pd.DataFrame({"id": list("abc"), "label": list("xxy")})
    vectors, itself = np.array([[0], [1], [3]], np.float32), np.eye(3, dtype=bool)
    pairs = pd.DataFrame({"first": ["a", "q"], "second": ["b", "a"]})
    mask = leakage.duplicate_mask(photos["id"], pairs)
    assert mask.tolist() == [[False, True, False], [True, False, False], [False, False, False]]
    naive, free = (
        leakage.precisions(vectors, photos, excluded=excluded, ks=[1])[1]
        for excluded in (itself, itself | mask)
    )
    assert (naive.tolist(), free.tolist()) == ([1, 1, 0], [0, 0, 0])


def test_effect_is_the_change_from_the_naive_gallery(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [
        ("hog", 0, "naive", "precision", 5, "all", 0.9, 10),
        ("hog", 0, "product_excluded", "precision", 5, "all", 0.6, 9),
    ]
    retrieval = pd.DataFrame(rows, columns=["model", "seed", "gallery", "metric", "k", "class", "value", "n"])
    stricter = pd.DataFrame([("hog", 5, 0.5, 9)], columns=["model", "k", "value", "n"])
    monkeypatch.setattr(leakage, "judge_without_duplicates", lambda study, pairs: stricter)
    found = leakage.gallery_effect(None, retrieval, pd.DataFrame()).set_index("gallery")
    assert found["change"].to_dict() == pytest.approx(
        {"naive": 0, "product_excluded": -0.3, "near_duplicate_excluded": -0.4}
    )


CHECKPOINTS = ["model", "seed", "step", "gallery", "metric", "k", "value", "n"]


def oracle_table() -> pd.DataFrame:
    """Two seeds; validation chose step 250 of both; on test, steps 500 and 250 are best."""
    rows = [
        ("infogan", seed, step, "naive", "precision", 5, value, 100)
        for seed, values in ((1, (0.9, 0.7, 0.8)), (2, (0.5, 0.8, 0.6)))
        for step, value in zip((0, 250, 500), values, strict=True)
    ]
    test = pd.DataFrame(rows, columns=CHECKPOINTS)
    return leakage.beside_validation(test, test.assign(value=0.7, n=50, chosen=test["step"] == 250))


def test_oracle_is_a_trained_step_and_its_gain_is_never_negative() -> None:
    table = oracle_table()
    assert table.loc[table["oracle"], "step"].tolist() == [500, 250]  # never the untrained step 0
    gain = leakage.selection_gain(table).set_index("seed")
    assert gain["gain"].to_dict() == pytest.approx({1: 0.1, 2: 0.0})
    assert gain.loc[1, ["chosen_step", "oracle_step", "last"]].tolist() == [250, 500, 0.8]


def test_checkpoints_that_validation_never_saw_are_refused() -> None:
    known = pd.DataFrame([("infogan", 1, 250, "naive", "precision", 5, 0.7, 50)], columns=CHECKPOINTS)
    with pytest.raises(InputError, match="differ; run stage embed again"):
        leakage.beside_validation(known.assign(step=9), known.assign(chosen=True))


def test_picture_shows_the_worst_pairs_half_of_each_kind_once(small) -> None:
    _, pairs = leakage.near_duplicates(small)
    worst = leakage.worst_pairs(pairs, count=4)
    assert worst["kind"].tolist() == ["perceptual hash"] * 2 + ["nearest embedding"] * 2
    small.pixels = np.full((7, 4, 6, 3), 200, np.uint8)
    figure = leakage.pair_picture(small, worst)
    words = [text.get_text() for text in figure.texts]
    assert len(figure.axes) == 8
    assert words[0].startswith("0 bits, test and training") and words[1].startswith("1 bits")
    assert words[2].startswith("0.500, test and training")
    with pytest.raises(InputError, match="no pair"):
        leakage.pair_picture(small, worst[:0])
