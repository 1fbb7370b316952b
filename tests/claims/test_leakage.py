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
from solesearch.retrieval.retrieval import evaluate_each


@pytest.fixture
def small(workspace) -> SimpleNamespace:
    """Seven photos on a line: a and b are one product, c another, t and v lie in other splits."""
    rows = [
        ("a", "x", "1", 0, "test"), ("b", "x", "1", 0, "test"), ("c", "x", "2", 0, "test"),
        ("d", "y", "3", 0, "test"), ("t", "x", "4", 0, "training"), ("u", "y", "5", 0, "training"),
        ("v", "y", "6", 0, "validation"),
    ]  # fmt: skip
    photos = pd.DataFrame(rows, columns=["id", "label", "group", "position", "split"])
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


@pytest.mark.parametrize("block", [512, 3])
def test_nearest_photo_of_each_product_and_split(small, monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(leakage, "QUERY_BLOCK", block)
    found = leakage.embedding_pairs(small).set_index(["between", "first"])
    other = found.loc["test and test, other product"]
    assert other["second"].to_dict() == {"a": "c", "b": "c", "c": "a", "d": "b"}
    assert other["distance"].tolist() == pytest.approx([1, 3, 1, 6])
    assert found.loc["test and training", "second"].to_dict() == {"a": "t", "b": "t", "c": "t", "d": "u"}
    assert found.loc["test and test, one product", "distance"].to_dict() == pytest.approx({"a": 4, "b": 4})


def test_the_audit_made_twice_has_the_same_bytes(small, monkeypatch: pytest.MonkeyPatch) -> None:
    def written() -> list[bytes]:
        for name, table in zip(("counts", "pairs"), leakage.near_duplicates(small), strict=True):
            files.write_table(small.paths.run / f"{name}.csv", table)
        return [(small.paths.run / f"{name}.csv").read_bytes() for name in ("counts", "pairs")]

    once = written()
    assert written() == once
    monkeypatch.setattr(leakage, "QUERY_BLOCK", 3)  # nor do they depend on how many queries go at once
    assert written()[0] == once[0]


def test_audit_counts_pairs_and_photos(small) -> None:
    counts, pairs = leakage.near_duplicates(small)
    found = counts.set_index(["kind", "between"])
    by_hash, near = found.loc["perceptual hash"], found.loc["nearest embedding"]
    assert by_hash["pairs"].tolist() == [1, 1, 0]
    assert by_hash["photos"].tolist() == [2, 1, 0]
    assert set(near["threshold"]) == {4}  # a and b
    assert near["pairs"].tolist() == [3, 4, 0]  # nearer: 1, 3, 1; then .5, 3.5, .5, 1; then 20 and more
    assert set(counts["of"]) == {4}
    assert pairs.groupby("kind")["distance"].apply(lambda one: one.is_monotonic_increasing).all()
    small.photos["group"] = list("1234567")  # no product is known: none counts as near
    near = leakage.near_duplicates(small)[0].set_index("kind").loc["nearest embedding"]
    assert near["pairs"].tolist() == [0, 0, 0] and near["threshold"].isna().all()


def test_leaving_a_duplicate_out_changes_the_answer() -> None:
    """On a line a, b, c at 0, 1, 3: b answers a at k = 1; without the pair c does, of another class."""
    photos = pd.DataFrame({"id": list("abc"), "label": list("xxy"), "group": list("123"), "position": 0})
    vectors = np.array([[0], [1], [3]], np.float32)
    pairs = pd.DataFrame({"first": ["a", "q"], "second": ["b", "a"]})
    near = leakage.duplicate_matrix(photos["id"], pairs)
    assert near.toarray().tolist() == [[False, True, False], [True, False, False], [False, False, False]]
    options = {"galleries": ["naive"], "window": 0, "ks": [1]}
    for mask, expected in ((None, [1, 1, 0]), (lambda rows: near[rows].toarray(), [0, 0, 0])):
        judged = evaluate_each(vectors, photos, also_excluded=mask, **options)["naive"]
        assert judged["precision_1"].tolist() == expected


def test_galleries_without_duplicates_worked_by_hand(small, monkeypatch: pytest.MonkeyPatch) -> None:
    """a at 0, b at 4 (one product), c at 1, d at 10 (the other class); a and c are a pair by hash.

    Nearest to a is d alone, to b are c and d, to c are b and d, to d are b and a. The pair b and c, near by
    embedding only, stays.
    """
    vectors = np.array([[0], [4], [1], [10]], np.float32)
    asked = []

    def model_vectors(study, model: str, *, seed: int) -> tuple[pd.DataFrame, np.ndarray]:
        asked.append((model, seed))
        return study.split("test")[0], vectors

    monkeypatch.setattr(leakage, "model_vectors", model_vectors)
    pairs = pd.DataFrame({"first": ["c", "c"], "second": ["a", "b"]})
    pairs = pairs.assign(kind=[leakage.HASH, leakage.NEAREST])
    rows = pd.concat(leakage.results_without_duplicates(small, pairs))
    assert asked == [("infogan", 1), ("untrained_discriminator", 1), ("hog", 0)]
    assert set(rows["gallery"]) == {leakage.NEAR_FREE}
    found = rows[(rows["metric"] == "precision") & (rows["class"] == "all")].set_index(["model", "k"])
    for model, _ in asked:
        assert found.loc[(model, 1), ["value", "n"]].tolist() == [0.5, 4]  # b finds c, c finds b
        assert found.loc[(model, 2), ["value", "n"]].tolist() == [pytest.approx(1 / 3), 3]  # a has one answer


def test_effect_is_the_change_from_the_naive_gallery(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["model", "seed", "gallery", "metric", "k", "class", "value", "n"]
    rows = [("hog", 0, "naive", 0.9, 10), ("hog", 0, "product_excluded", 0.6, 9)]
    rows += [("hog", 0, "near_duplicate_excluded", 0.5, 9)]
    table = pd.DataFrame(rows, columns=["model", "seed", "gallery", "value", "n"])
    table = table.assign(metric="precision", k=5, **{"class": "all"})[names]
    monkeypatch.setattr(leakage, "results_without_duplicates", lambda study, pairs: [table[2:]])
    found = leakage.gallery_effect(None, table[:2], pd.DataFrame()).set_index("gallery")
    assert found["change"].to_dict() == pytest.approx(
        {"naive": 0, "product_excluded": -0.3, "near_duplicate_excluded": -0.4}
    )


def test_oracle_is_a_trained_step_of_a_checkpoint_that_validation_saw() -> None:
    """Two seeds; validation chose step 250 of both; on test, steps 500 and 250 are best, of those trained."""
    rows = [
        ("infogan", seed, step, "naive", "precision", 5, value, 100)
        for seed, values in ((1, (0.9, 0.7, 0.8)), (2, (0.5, 0.8, 0.6)))
        for step, value in zip((0, 250, 500), values, strict=True)
    ]
    test = pd.DataFrame(rows, columns=["model", "seed", "step", "gallery", "metric", "k", "value", "n"])
    validation = test.assign(value=0.7, n=50, chosen=test["step"] == 250)
    table = leakage.beside_validation(test, validation)
    assert table.loc[table["oracle"], "step"].tolist() == [500, 250]
    assert table.loc[table["chosen"], ["test", "validation"]].to_numpy().tolist() == [[0.7, 0.7], [0.8, 0.7]]
    with pytest.raises(InputError, match="differ; run stage embed again"):
        leakage.beside_validation(test.assign(step=9).drop_duplicates("seed"), validation)


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
