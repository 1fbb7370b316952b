"""Choosing, embedding and judging on a small world with a known answer."""

import numpy as np
import pandas as pd
import pytest
from small_world import open_small_study

from solesearch.core import files
from solesearch.core.embedding import Embedding
from solesearch.core.errors import InputError
from solesearch.core.paths import Paths
from solesearch.evaluation import study
from solesearch.networks.comparison import OVERVIEW, NetworkFolder
from solesearch.retrieval.retrieval import summarise


@pytest.fixture
def opened(workspace) -> study.Study:
    """24 photos of two classes (dark and light), three checkpoints of an untrained network, two networks."""
    opened = open_small_study()
    write_networks(opened.paths, opened.split("test")[0])
    return opened


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
    marked = study.mark_chosen(pd.DataFrame(rows, columns=study.CHECKPOINTS), gallery="naive", k=5)
    assert study.chosen_steps(marked) == {1: 250, 2: 500}


def test_checkpoints_are_judged_on_validation_photos(opened: study.Study) -> None:
    checkpoints = study.read_checkpoints(opened.paths)
    assert sorted(checkpoints["step"].unique()) == [0, 4, 8]
    assert checkpoints["n"].max() == 8 == len(opened.split("validation")[0])
    assert set(study.chosen_steps(checkpoints)) == {1}
    controls = study.judge_controls(opened, split="validation")
    assert {"hog", "pixels"} < set(controls["model"]) and set(controls["step"]) == {0}


def test_whole_study_on_separable_photos(opened: study.Study) -> None:
    queries = pd.concat(
        opened.judge(vectors, photos, model=model, seed=seed)
        for model, seed in study.models(opened)
        for photos, vectors in [study.model_vectors(opened, model, seed=seed)]
    )
    table = summarise(queries).set_index(["model", "gallery", "metric", "k", "class"])
    assert set(table.index.unique("model")) == {
        "infogan", "untrained_discriminator", "random", "mean_colour", "colour_histogram", "pixels", "hog",
        "VGG16", "ResNet50",
    }  # fmt: skip
    at_1, whole = table.loc[(slice(None), "naive", "precision", 1, "all"), :].droplevel([1, 2, 3, 4]), 12
    assert at_1["value"]["mean_colour"] == 1.0  # dark and light cannot be confused
    assert at_1["value"]["VGG16"] == 1.0  # its vectors are the labels
    assert table["value"]["random", "naive", "precision", 5, "all"] < 0.8
    assert (at_1["n"]["VGG16"], at_1["n"]["ResNet50"]) == (whole, whole - 2), "one embedded fewer photos"
    recomputed = queries[queries["gallery"] == "naive"].groupby("model")["precision_1"].mean()
    assert recomputed.to_dict() == pytest.approx(at_1["value"].to_dict())


def test_same_product_is_what_the_stricter_gallery_leaves_out(opened: study.Study) -> None:
    assert study.same_product(opened, "20.png") == {"20.png", "21.png", "22.png", "23.png"}


def test_missing_stages_are_named(workspace, opened: study.Study) -> None:
    opened.paths.pixels.unlink()
    with pytest.raises(InputError, match="stage prepare writes it"):
        study.Study.open("smoke")
    for path in opened.paths.embeddings.glob("infogan*"):
        path.unlink()
    with pytest.raises(InputError, match="stage embed writes it"):
        study.model_vectors(opened, "infogan", seed=1)
