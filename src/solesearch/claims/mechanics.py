"""What the code does whatever the photos are: lengths of vectors, sizes of images, and how search behaves.

These checks build the networks and search the index for real; none of them is a number typed in. They hold
on a synthetic catalogue as well, since no photograph decides them.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from solesearch.core.embedding import Embedding
from solesearch.core.settings import GanSettings
from solesearch.evaluation.study import Study, model_vectors
from solesearch.photos.photo import IMAGE_SIZES
from solesearch.retrieval.exact_search import squared_distances

COLUMNS = ["check", "value", "what"]
K = 5
QUERIES = 200  # photos that are searched for; all neighbours are compared
LABEL_WORDS = ("label", "class")  # a setting of the training that named them would be a use of labels
CHAPTER_CODES = 9  # C section 8.4: eight codes, and a ninth when handbags are added


def mechanics(study: Study) -> pd.DataFrame:
    """Return what was checked (columns COLUMNS), a row a check."""
    rows = [*feature_lengths(study.gan), *generator_sizes(study.gan), *search_checks(study)]
    rows += [labels_used(study), vector_change(study)]
    return pd.DataFrame(rows, columns=COLUMNS)


def feature_lengths(settings: GanSettings) -> list[tuple[str, int, str]]:
    """Return the length of the feature vector at each stated input size, from the network itself."""
    from solesearch.gan.infogan import build_discriminator

    rows = []
    for preset, size in IMAGE_SIZES.items():
        network = build_discriminator(settings.replaced(image_size=size), seed=1)
        length = int(network.real_head.kernel.shape[0])
        rows.append((f"features {preset}", length, f"values of the last convolution at {size[0]}x{size[1]}"))
    layers = [*network.convolutions, *network.norms]
    weights = sum(layer.count_params() for layer in layers)
    codes = int(network.code_head.kernel.shape[1])
    rows.append(("code head", codes, "outputs of the code head, as params.yaml sets it"))
    return [*rows, ("embedding parameters", weights, "weights of the discriminator up to its features")]


def generator_sizes(settings: GanSettings) -> list[tuple[str, int, str]]:
    """Return the generator's input length for P and C, and the height of its image as printed and as read.

    As printed all six transposed convolutions have stride 1, so the 4 x 6 grid keeps its size.
    """
    import keras

    from solesearch.gan.infogan import GENERATOR_FILTERS, GENERATOR_START_DEPTH, build_generator

    paper = settings.replaced(image_size=IMAGE_SIZES["paper-64x96"], categorical_codes=0)
    rows = []
    for check, codes in (("P", paper.continuous_codes), ("C", CHAPTER_CODES)):
        read = build_generator(paper.replaced(continuous_codes=codes), seed=1)
        rows.append(
            (f"latent {check}", int(read.input_shape[1]), f"noise and {codes} codes into the generator")
        )
    hidden = printed = keras.Input((4, 6, GENERATOR_START_DEPTH))
    for filters in GENERATOR_FILTERS:
        hidden = keras.layers.Conv2DTranspose(filters, 3, strides=1, padding="same")(hidden)
    height = int(keras.Model(printed, hidden).output_shape[1])
    rows.append(("image height as printed", height, "pixels, every stride 1, from a grid of 4x6"))
    return [*rows, ("image height as read", int(read.output_shape[1]), "pixels, with four doublings")]


def search_checks(study: Study) -> list[tuple[str, float, str]]:
    """Compare the index with plain distances for test photos: shares of queries in 0..1."""
    from solesearch.index.faiss_index import FaissIndex  # after TensorFlow

    photos, _ = study.split("test")
    _, vectors = model_vectors(study, "infogan", seed=study.seeds[0])
    index, ids = (
        FaissIndex.build(Embedding(photos["id"].tolist(), vectors), factory="Flat"),
        photos["id"].to_numpy(),
    )
    chosen = np.arange(min(QUERIES, len(photos)))
    squares = squared_distances(vectors[chosen], vectors)
    squares[chosen, chosen] = np.inf
    wanted = np.sqrt(np.sort(squares, axis=1)[:, :K])
    found = [index.search_by_id(ids[row], k=K) for row in chosen]
    distances = np.array([[neighbour.distance for neighbour in row] for row in found])
    # equal distances may come in either order, so distances are compared, not names
    same = np.isclose(distances, wanted, rtol=1e-3, atol=1e-4).all(axis=1)
    own = [ids[row] in {neighbour.id for neighbour in found[row]} for row in chosen]
    return [
        ("index finds the nearest", float(same.mean()), f"share of {len(chosen)} queries, top {K}"),
        ("query in its own answer", float(np.mean(own)), f"share of {len(chosen)} queries, top {K}"),
    ]


def labels_used(study: Study) -> tuple[str, int, str]:
    """Count what names a label among all that decides a training (its recorded configuration)."""
    import json

    config = json.loads((study.paths.gan_seed(study.seeds[0]) / "config.json").read_text(encoding="utf-8"))
    names = [*config, *config["settings"]]
    used = [name for name in names if any(word in name for word in LABEL_WORDS)]
    return "labels in training", len(used), f"of {len(names)} values that decide a training"


def vector_change(study: Study) -> tuple[str, float, str]:
    """Return how far a photo's vector moves when other photos are added, relative to its length."""
    photos, pixels = study.split("test")
    whole = model_vectors(study, "infogan", seed=study.seeds[0])[1][:8]
    chosen = study.discriminator(seed=study.seeds[0], step=_chosen_step(study))
    alone = np.concatenate([chosen.embed(pixels[place : place + 1]) for place in range(min(8, len(photos)))])
    change = np.linalg.norm(alone - whole, axis=1) / np.linalg.norm(whole, axis=1)
    return "vector change", float(change.max().round(4)), "embedded alone and among all others, relative"


def _chosen_step(study: Study) -> int:
    from solesearch.evaluation.study import read_chosen

    return read_chosen(study.paths)[study.seeds[0]]
