"""What the code does whatever the photos are: lengths of vectors, sizes of images, and how search behaves.

These checks build the networks and search the index for real; none of them is a number typed in. They hold
on a synthetic catalogue as well, since no photograph decides them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np
import pandas as pd

from solesearch.core.embedding import Embedding
from solesearch.core.settings import GanSettings
from solesearch.evaluation.study import Study, model_vectors, read_chosen
from solesearch.photos.photo import IMAGE_SIZES
from solesearch.retrieval.exact_search import nearest
from solesearch.retrieval.retrieval import excluded_pairs

COLUMNS = ["check", "value", "what"]
K = 5
QUERIES = 200  # photos that are searched for; all neighbours are compared
EMBEDDED = 8  # photos that are embedded alone
LABEL_WORDS = ("label", "class")  # a setting of the training that named them would be a use of labels
CHAPTER_CODES = 9  # C section 8.4: eight codes, and a ninth when handbags are added

Row = tuple[str, float, str]


def mechanics(study: Study) -> pd.DataFrame:
    """Return what was checked (columns COLUMNS), a row a check."""
    rows = [*feature_lengths(study.gan), *generator_sizes(study.gan), *search_checks(study)]
    return pd.DataFrame([*rows, labels_used(study), vector_change(study)], columns=COLUMNS)


def feature_lengths(settings: GanSettings) -> Iterator[Row]:
    """Yield the length of the feature vector at each stated input size, from the network itself."""
    from solesearch.gan.infogan import build_discriminator

    for preset, size in IMAGE_SIZES.items():
        network = build_discriminator(settings.replaced(image_size=size), seed=1)
        length = network.real_head.kernel.shape[0]
        yield f"features {preset}", length, f"values of the last convolution at {size[0]}x{size[1]}"
    parameters = sum(layer.count_params() for layer in [*network.convolutions, *network.norms])
    yield "code head", network.code_head.kernel.shape[1], "outputs of the code head, as params.yaml sets it"
    yield "embedding parameters", parameters, "weights of the discriminator up to its features"


def generator_sizes(settings: GanSettings) -> Iterator[Row]:
    """Yield the generator's input length for P and C, and the height of its image as printed and as read.

    As printed all six transposed convolutions have stride 1, so the 4 x 6 grid keeps its size.
    """
    import keras

    from solesearch.gan.infogan import GENERATOR_FILTERS, GENERATOR_START_DEPTH, build_generator

    paper = settings.replaced(image_size=IMAGE_SIZES["paper-64x96"], categorical_codes=0)
    for name, codes in (("P", paper.continuous_codes), ("C", CHAPTER_CODES)):
        generator = build_generator(paper.replaced(continuous_codes=codes), seed=1)
        yield f"latent {name}", generator.input_shape[1], f"noise and {codes} codes into the generator"
    layer = keras.Input((4, 6, GENERATOR_START_DEPTH))
    for filters in GENERATOR_FILTERS:
        layer = keras.layers.Conv2DTranspose(filters, 3, strides=1, padding="same")(layer)
    yield "image height as printed", layer.shape[1], "pixels, every stride 1, from a grid of 4x6"
    yield "image height as read", generator.output_shape[1], "pixels, with four doublings"


def search_checks(study: Study) -> Iterator[Row]:
    """Compare the index with plain distances for test photos: shares of queries in 0..1."""
    from solesearch.index.faiss_index import FaissIndex  # after TensorFlow

    photos, vectors = model_vectors(study, "infogan", seed=study.seeds[0])
    index = FaissIndex.build(Embedding(photos["id"].tolist(), vectors), factory="Flat")
    rows = np.arange(min(QUERIES, len(photos)))
    itself = excluded_pairs(photos, queries=rows, gallery="naive", window=0)
    expected, _ = nearest(vectors[rows], vectors, k=K, excluded=itself)
    queries = photos["id"].iloc[rows]
    answers = [index.search_by_id(query, k=K) for query in queries]
    distances = [[neighbour.distance for neighbour in answer] for answer in answers]
    # equal distances may come in either order, so distances are compared, not names
    same = np.isclose(distances, expected, rtol=1e-3, atol=1e-4).all(axis=1)
    own = [query in dict(answer) for query, answer in zip(queries, answers, strict=True)]
    words = f"share of {len(rows)} queries, top {K}"
    yield "index finds the nearest", same.mean(), words
    yield "query in its own answer", np.mean(own), words


def labels_used(study: Study) -> Row:
    """Count what names a label among all that decides a training (its recorded configuration)."""
    config = json.loads((study.paths.gan_seed(study.seeds[0]) / "config.json").read_text(encoding="utf-8"))
    names = [*config, *config["settings"]]
    used = [name for name in names if any(word in name for word in LABEL_WORDS)]
    return "labels in training", len(used), f"of {len(names)} values that decide a training"


def vector_change(study: Study) -> Row:
    """Return how far a photo's vector moves when other photos are added, relative to its length."""
    seed, (_, pixels) = study.seeds[0], study.split("test")
    among_all = model_vectors(study, "infogan", seed=seed)[1][:EMBEDDED]
    network = study.discriminator(seed=seed, step=read_chosen(study.paths)[seed])
    alone = np.concatenate([network.embed(photo[None]) for photo in pixels[:EMBEDDED]])
    change = np.linalg.norm(alone - among_all, axis=1) / np.linalg.norm(among_all, axis=1)
    return "vector change", float(change.max().round(4)), "embedded alone and among all others, relative"
