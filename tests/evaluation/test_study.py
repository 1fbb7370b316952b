"""Choosing, embedding, judging and recommending on a small world with a known answer."""

import numpy as np
import pandas as pd
import pytest

from solesearch.core import files
from solesearch.core.checkpoints import checkpoint_file, save_variables
from solesearch.core.embedding import Embedding
from solesearch.core.errors import InputError
from solesearch.core.paths import Paths
from solesearch.evaluation import study
from solesearch.gan.infogan import build_discriminator
from solesearch.gan.training import load_gan
from solesearch.index import recommendations
from solesearch.networks.comparison import OVERVIEW, NetworkFolder


@pytest.fixture
def opened(workspace) -> study.Study:
    """24 photos of two classes (dark and light), two checkpoints of an untrained network."""
    paths, draw = Paths.of("smoke"), np.random.default_rng(0)
    label = np.array(["dark", "light"] * 12)
    pixels = draw.integers(0, 60, (24, 32, 48, 3)) + np.where(label == "dark", 0, 190)[:, None, None, None]
    files.write_array(paths.pixels, pixels.astype(np.uint8))
    split = ["training"] * 4 + ["validation"] * 10 + ["test"] * 10
    photos = pd.DataFrame(
        {
            "id": [f"{n:02d}.jpg" for n in range(24)],
            "label": label,
            "product": [str(n // 4) for n in range(24)],
        }
    )
    photos = photos.assign(group=photos["product"], position=0, split=split)
    files.write_table(paths.photos, photos)
    settings = load_gan("smoke", image_size=(32, 48))
    for step in (0, 4, 8):
        network = build_discriminator(settings, seed=step)
        save_variables(checkpoint_file(paths.gan_seed(1), step), network.variables)
    write_networks(paths, photos[photos["split"] == "test"])
    return study.Study.open("smoke")


def write_networks(paths: Paths, test: pd.DataFrame) -> None:
    """Leave what stage networks leaves: one model that knows the label, one without weights and photos."""
    store, rows = NetworkFolder(paths.networks), []
    for model, weights, photos in (("VGG16", "placed", test), ("ResNet50", "untrained", test.iloc[2:])):
        vectors = (photos["label"] == "dark").to_numpy(np.float32)[:, None] * [[1, 0]]
        overview = dict.fromkeys(OVERVIEW, "") | {
            "model": model, "network": model, "weights": weights, "photos": len(photos),
        }  # fmt: skip
        embedding = Embedding(photos["id"].tolist(), vectors.astype(np.float32))
        store.save(embedding, wanted={}, overview=overview)
        rows.append(overview)
    files.write_table(paths.networks / "networks.csv", pd.DataFrame(rows))


def table(*rows: tuple) -> pd.DataFrame:
    columns = ["model", "seed", "step", "gallery", "metric", "k", "value", "n"]
    return pd.DataFrame(rows, columns=columns)


def test_choice_is_by_validation_precision_earliest_of_equals_never_untrained() -> None:
    rows = [
        ("infogan", 1, 0, "naive", "precision", 5, 0.9, 10),
        ("infogan", 1, 250, "naive", "precision", 5, 0.7, 10),
        ("infogan", 1, 500, "naive", "precision", 5, 0.7, 10),
        ("infogan", 1, 500, "naive", "precision", 1, 0.99, 10),
        ("infogan", 2, 250, "naive", "precision", 5, 0.1, 10),
        ("infogan", 2, 500, "naive", "precision", 5, 0.2, 10),
        ("infogan", 2, 250, "product_excluded", "precision", 5, 0.9, 10),
        ("hog", 0, 0, "naive", "precision", 5, 1.0, 10),
    ]
    marked = study.mark_chosen(table(*rows), gallery="naive", k=5)
    assert study.chosen_steps(marked) == {1: 250, 2: 500}


def test_sweep_judges_validation_photos_only(opened: study.Study, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    real = study.evaluate_each
    monkeypatch.setattr(
        study, "evaluate_each", lambda v, p, **o: seen.append(set(p["split"])) or real(v, p, **o)
    )
    checkpoints = study.sweep_checkpoints(opened)
    assert set.union(*seen) == {"validation"}
    assert sorted(checkpoints[checkpoints["model"] == "infogan"]["step"].unique()) == [0, 4, 8]
    assert {"hog", "pixels"} < set(checkpoints["model"])
    assert checkpoints["n"].max() == 10
    assert set(study.chosen_steps(checkpoints)) == {1}


def test_whole_study_on_separable_photos(opened: study.Study) -> None:
    overview = study.embed_catalogue(opened, study.sweep_checkpoints(opened))
    assert overview["photos"].tolist() == [24, 10]  # the index needs all, the twin the test photos
    retrieval, queries = study.judge_models(opened)
    value = retrieval.set_index(["model", "gallery", "metric", "k", "class"])["value"]
    assert value["mean_colour", "naive", "precision", 1, "all"] == 1.0  # dark and light cannot be confused
    assert value["random", "naive", "precision", 5, "all"] < 0.8
    assert set(retrieval["model"]) == {
        "infogan", "untrained_discriminator", "random", "mean_colour", "colour_histogram", "pixels", "hog",
        "VGG16", "ResNet50",
    }  # fmt: skip
    assert value["VGG16", "naive", "precision", 1, "all"] == 1.0  # its vectors are the labels
    counted = retrieval.set_index(["model", "gallery", "metric", "k", "class"])["n"]
    assert counted["VGG16", "naive", "precision", 1, "all"] == 10
    assert counted["ResNet50", "naive", "precision", 1, "all"] == 8, "it embedded fewer photos"
    assert len(queries) == 8 * 2 * 10 + 2 * 8
    recomputed = queries.groupby(["model", "gallery"])["precision_1"].mean()
    for (model, gallery), mean in recomputed.items():
        assert value[model, gallery, "precision", 1, "all"] == pytest.approx(mean)


def test_same_product_and_recommendations(opened: study.Study) -> None:
    study.embed_catalogue(opened, study.sweep_checkpoints(opened))
    index = recommendations.test_photo_index(opened, "mean_colour", seed=0)
    query = "20.jpg"
    assert study.same_product(opened, query) == {"20.jpg", "21.jpg", "22.jpg", "23.jpg"}
    row = recommendations.recommend(opened, index, query, k=3, name="mean_colour")
    assert row.query_label == "dark"
    assert [n.label for n in row.neighbours] == ["dark"] * 3
    assert not {n.id for n in row.neighbours} & study.same_product(opened, query)
    distances = [n.distance for n in row.neighbours]
    assert distances == sorted(distances)
    shown = [row.name for row in recommendations.model_rows(opened, seed=3, k=2)]
    assert len(shown) == 8 and "VGG16" in shown and "ResNet50" not in shown


def test_queries_are_drawn_class_by_class() -> None:
    photos = pd.DataFrame({"id": list("abcdefgh"), "label": ["x"] * 6 + ["y"] * 2})
    chosen = recommendations.pick_queries(photos, queries=4, seed=1)
    assert sum(name in "gh" for name in chosen) == 2
    assert chosen == recommendations.pick_queries(photos, queries=4, seed=1)
    assert chosen != recommendations.pick_queries(photos, queries=4, seed=2)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"evaluation.choose_k": 7}, r"choose_k 7 is not among ks \[1, 5\]"),
        ({"evaluation.choose_gallery": "all"}, "naive, product_excluded"),
        ({"evaluation.exclusion_window": -1}, "0 or more"),
    ],
)
def test_impossible_protocols(opened: study.Study, overrides, words) -> None:
    with pytest.raises(InputError, match=words):
        study.Study.open("smoke", overrides)


def test_missing_stages_are_named(workspace) -> None:
    with pytest.raises(InputError, match="stage prepare writes it"):
        study.Study.open("smoke")


def test_missing_embedding_is_named(opened: study.Study) -> None:
    with pytest.raises(InputError, match="stage embed writes it"):
        study.judge_models(opened)
