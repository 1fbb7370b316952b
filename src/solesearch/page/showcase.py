"""The showcase: everything the web page answers from, so that its server needs neither TensorFlow nor a seed.

The stage writes vectors, ONNX networks for uploads, distances of random pairs and the map into
`runs/<profile>/showcase/`. Photos stand in one order everywhere, test photos first, so that a model that
embedded only those covers the first rows of the same table.
"""

from __future__ import annotations

import dataclasses
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pydantic import Field

from solesearch.core import files
from solesearch.core.embedding import Embedding, embedding_name, load_embedding, save_embedding
from solesearch.core.errors import InputError
from solesearch.core.model_names import (
    BEST,
    PRIOR,
    PROPOSED,
    UNTRAINED,
    NetworkRow,
    model_name,
    network_row,
)
from solesearch.core.model_names import CONTROLS as BEST_CONTROLS_FIRST
from solesearch.core.progress import Progress
from solesearch.core.settings import Section
from solesearch.cost.embedder_file import EmbedderFile, best_file
from solesearch.cost.onnx_model import export_features, save_onnx
from solesearch.evaluation.study import BEST_EMBEDDING, Study, catalogue_summary, read_chosen
from solesearch.index.recommendations import shown_models
from solesearch.networks.networks import NetworkEmbedder, NetworkSettings
from solesearch.networks.weights import recorded
from solesearch.page.search_service import PIXELS, SIGNED, Model, SearchService, pairs_file
from solesearch.photos.catalog import CatalogSettings, photo_folder
from solesearch.retrieval.controls import control_features

PAIR_BLOCK = 512  # pairs at a time: 512 x 18,432 differences of raw pixels are 38 MB
CHECKED = 8  # photos that every model must embed as the stages before did
TOLERANCE = 1e-3  # of the distance from the stored vector, relative to the vector's length
WHY = {  # a model is on when the page opens
    PROPOSED: "the papers' model",
    BEST: "ahead on validation photos of all that learned without labels",
    "hog": "edges, which nobody trained",
}
Weights = dict[str, Path]  # of the ImageNet networks, by name
COLUMNS = ["number", "id", "label", "split", "group", "position"]


class ShowcaseSettings(Section, section="showcase"):
    """What the showcase holds; `params.yaml` says why."""

    model_megabytes: int = Field(ge=0)
    pairs: int = Field(ge=1)
    map_photos: int = Field(ge=1)
    map_components: int = Field(ge=1)
    map_perplexity: int = Field(ge=1)
    seed: int = Field(ge=0)


def build(profile: str, settings: ShowcaseSettings | None = None) -> pd.DataFrame:
    """Write the showcase of a profile and return one row a model: what it covers, how long its vectors are.

    `showcase.json` goes last, so a killed run leaves none. Raises InputError that names what the stages
    before did not leave, or a model that does not embed photos as it did there.
    """
    settings, study = settings or ShowcaseSettings.load(profile), Study.open(profile)
    folder, photos = study.paths.showcase, ordered(study.photos)
    (folder / "showcase.json").unlink(missing_ok=True)
    files.write_table(folder / "photos.csv", photos[COLUMNS])
    asked, models, weights = page_models(study), [], {}
    if any(network_row(name) for name, _ in asked):
        weights = {row.network: row.path for row in recorded(profile, NetworkSettings.load(profile))}
    progress = Progress("preparing the web page", total=len(asked), unit="model")
    for name, seed in asked:
        models.append(add_model(study, photos, settings, name=name, seed=seed, weights=weights))
        progress.update(len(models))
    write_map(study, photos, settings)
    files.write_json(folder / "showcase.json", description(study, models))
    check_models(SearchService(study.paths))
    shown = {"title": "model", "photos": "answers from photos", "file": "network"}
    return pd.DataFrame(map(vars, models)).rename(columns=shown)[[*shown.values(), "dimensions", "size"]]


def page_models(study: Study) -> list[tuple[str, int]]:
    """Return (model, seed) of every row of the page: ours first, then controls, then networks."""
    order = (PROPOSED, BEST, UNTRAINED, *BEST_CONTROLS_FIRST)
    models = [(name, seed) for name, seed in shown_models(study) if name != PRIOR] + [(BEST, 0)]
    return sorted(models, key=lambda pair: order.index(pair[0]) if pair[0] in order else len(order))


def ordered(photos: pd.DataFrame) -> pd.DataFrame:
    """Return photos.csv with the column `number` (its row there), test photos first."""
    numbered = photos.assign(number=np.arange(len(photos)))
    return numbered.sort_values("split", key=lambda split: split != "test", kind="stable", ignore_index=True)


def add_model(
    study: Study, photos: pd.DataFrame, settings: ShowcaseSettings, *, name: str, seed: int, weights: Weights
) -> Model:
    """Write a model's vectors, the distances of its pairs and its network; return its entry of showcase.json.

    Vectors, float32 [n, d], are of all `photos` or of the test's, which come first.
    """
    folder, ids, test = study.paths.showcase, photos["id"], int((photos["split"] == "test").sum())
    network, takes, size = None, SIGNED, study.pixels.shape[1:3]
    numbers = photos["number"].to_numpy()
    if name == BEST:
        return add_best(study, photos, settings)
    if name == PROPOSED:
        network = study.discriminator(seed=seed, step=read_chosen(study.paths)[seed])
        vectors = load_embedding(study.paths.embeddings, embedding_name(name, seed)).of(ids)
    elif network_row(name):
        networks, held = NetworkSettings.load(study.paths.profile), study.networks.load(name)
        network = NetworkEmbedder(NetworkRow(name), networks, weights=weights[name])
        vectors = held.of(ids if len(held.ids) == len(ids) else ids[:test])
        takes, size = PIXELS, (network.size, network.size)
    else:
        network = study.discriminator(seed=seed, step=0) if name == UNTRAINED else None
        takes = SIGNED if network else PIXELS
        embed = network.embed if network else partial(control_features, name)
        megabytes = embed(study.pixels[numbers[:1]]).nbytes * len(ids) / 1e6
        vectors = embed(study.pixels[numbers if megabytes <= settings.model_megabytes else numbers[:test]])
    save_vectors(study, photos, settings, name=name, vectors=vectors)
    if network:
        save_onnx(folder / f"{name}.onnx", export_features(network.features))
    file = f"{name}.onnx" if network else ""
    return Model(
        name, model_name(name), *vectors.shape, file=file, takes=takes, size=size, why=WHY.get(name, "")
    )


def save_vectors(
    study: Study, photos: pd.DataFrame, settings: ShowcaseSettings, *, name: str, vectors: np.ndarray
) -> None:
    """Write a model's vectors, float32 [n, d], of the first n of `photos`, and its distances of pairs."""
    folder, test = study.paths.showcase, int((photos["split"] == "test").sum())
    save_embedding(folder, name, Embedding(photos["id"].head(len(vectors)).tolist(), vectors))
    distances = pair_distances(vectors[:test], pairs=settings.pairs, seed=settings.seed)
    files.write_array(pairs_file(folder, name), distances)


def add_best(study: Study, photos: pd.DataFrame, settings: ShowcaseSettings) -> Model:
    """Do what `add_model` does for the file that stage ladder wrote, and what it made of every photo."""
    file, folder = best_file(study.paths), study.paths.showcase
    model = EmbedderFile(file)
    vectors = load_embedding(study.paths.ladder, BEST_EMBEDDING).of(photos["id"])
    save_vectors(study, photos, settings, name=BEST, vectors=vectors)
    with files.replacing(folder / f"{BEST}.onnx") as temporary:
        temporary.write_bytes(file.read_bytes())
    title = f"{model_name(BEST)}: {model.card['model']}"
    shape = {"file": f"{BEST}.onnx", "takes": PIXELS, "size": study.pixels.shape[1:3], "why": WHY[BEST]}
    return Model(BEST, title, *vectors.shape, **shape)


def pair_distances(vectors: np.ndarray, *, pairs: int, seed: int) -> np.ndarray:
    """Return the Euclidean distances of random pairs of different photos, float32 [pairs], ascending.

    Takes vectors float32 [n, d]; the same seed and n draw the same pairs for every model. Raises InputError
    for fewer than two photos.
    """
    if len(vectors) < 2:
        raise InputError(f"{len(vectors)} test photos make no pair; add photos and run stage prepare again")
    draw = np.random.default_rng(seed)
    first = draw.integers(0, len(vectors), pairs)
    second = (first + draw.integers(1, len(vectors), pairs)) % len(vectors)  # never the photo itself
    distances = np.concatenate([
        np.linalg.norm(vectors[first[block]].astype(np.float64) - vectors[second[block]], axis=1)
        for block in np.array_split(np.arange(pairs), -(-pairs // PAIR_BLOCK))
    ])  # fmt: skip
    return np.sort(distances).astype(np.float32)


def project(vectors: np.ndarray, settings: ShowcaseSettings) -> np.ndarray:
    """Return a point in [0, 1] x [0, 1] for each vector, float64 [n, 2]: principal components, then t-SNE.

    van der Maaten and Hinton 2008 (scikit-learn, started from the components). Few photos lower both values.
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    components = min(settings.map_components, len(vectors) - 1, vectors.shape[1])
    reduced = PCA(components, random_state=settings.seed).fit_transform(vectors)
    perplexity = min(float(settings.map_perplexity), (len(vectors) - 1) / 3)
    with threadpool_limits(1):  # its threads wait for each other by spinning, which a busy machine punishes
        points = TSNE(2, perplexity=perplexity, init="pca", random_state=settings.seed).fit_transform(reduced)
    low, high = points.min(axis=0), points.max(axis=0)
    return (points - low) / np.where(high > low, high - low, 1)


def write_map(study: Study, photos: pd.DataFrame, settings: ShowcaseSettings) -> None:
    """Write map.csv (id, label, x, y) of the proposed model's features; of a large catalogue a part."""
    chosen = photos[["id", "label"]]
    if len(chosen) > settings.map_photos:
        chosen = chosen.sample(settings.map_photos, random_state=settings.seed).sort_index()
    points = project(load_embedding(study.paths.showcase, PROPOSED).of(chosen["id"]), settings)
    files.write_table(study.paths.showcase / "map.csv", chosen.assign(x=points[:, 0], y=points[:, 1]))


def description(study: Study, models: list[Model]) -> dict[str, Any]:
    """Return showcase.json: the models, their origin, where the photos lie and how they are decoded."""
    paths, seed = study.paths, study.seeds[0]
    catalogue = CatalogSettings.load(paths.profile)
    folder = photo_folder(paths, catalogue)
    return {
        "catalogue": catalogue_summary(paths)["sha256"],
        "synthetic": catalogue.source == "drawn",
        "photos": len(study.photos),
        "photo_folder": str(folder.relative_to(paths.root) if folder.is_relative_to(paths.root) else folder),
        "fit": catalogue.fit,
        "exclusion_window": study.evaluation.exclusion_window,
        "checkpoint": {"seed": seed, "step": read_chosen(paths)[seed]},
        "models": [dataclasses.asdict(model) for model in models],
    }


def check_models(service: SearchService) -> None:
    """Embed a few test photos from their files, as uploads are; raises InputError where a model differs."""
    for model in service.models.values():
        held = load_embedding(service.folder, model.name)
        for photo, stored in zip(held.ids[:CHECKED], held.vectors, strict=False):
            difference = np.linalg.norm(service.embed_file(photo, model.name) - stored)
            if difference > TOLERANCE * max(np.linalg.norm(stored), 1e-6):
                raise InputError(
                    f"{photo}: {model.title} embeds the file otherwise than the stages before did; the photo "
                    "or the network has changed since, run `dvc repro` again"
                )
