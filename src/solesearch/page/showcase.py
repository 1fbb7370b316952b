"""The showcase: everything the web page answers from, so that its server needs neither TensorFlow nor a seed.

The stage writes vectors, ONNX networks for uploads, distances of random pairs and the map into
`runs/<profile>/showcase/`. Photos stand in one order everywhere, test photos first, so that a model that
embedded only those covers the first rows of the same table.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from solesearch.core import files
from solesearch.core.embedding import Embedding, embedding_name, load_embedding, save_embedding
from solesearch.core.errors import InputError, exit_status
from solesearch.core.model_names import CONTROLS as BEST_CONTROLS_FIRST
from solesearch.core.model_names import PRIOR, PROPOSED, UNTRAINED, model_name
from solesearch.core.progress import Progress
from solesearch.core.settings import fill, load_section
from solesearch.cost.onnx_model import export_features, save_onnx
from solesearch.cost.plain_onnx import with_plain_names
from solesearch.evaluation.study import Study, catalogue_summary, model_vectors, read_chosen
from solesearch.networks.networks import NetworkEmbedder, Variant
from solesearch.networks.weights import load_network_settings, recorded
from solesearch.page.search_service import PIXELS, SIGNED, Model, SearchService, pairs_file
from solesearch.photos.catalog import load_settings as load_catalogue_settings
from solesearch.photos.originals import photo_folder
from solesearch.retrieval.controls import CONTROLS, control_features

PAIR_BLOCK = 512  # pairs at a time: 512 x 18,432 differences of raw pixels are 38 MB
CHECKED = 8  # photos that every model must embed as the stages before did
TOLERANCE = 1e-3  # of the distance from the stored vector, relative to the vector's length
COLUMNS = ["number", "id", "label", "split", "group", "position"]


@dataclass(frozen=True)
class ShowcaseSettings:
    """What the showcase holds; `params.yaml` says why."""

    model_megabytes: int
    pairs: int
    map_photos: int
    map_components: int
    map_perplexity: int
    seed: int

    def __post_init__(self) -> None:
        """Raise InputError for values that no showcase can be made with."""
        for field in dataclasses.fields(self):
            value, least = getattr(self, field.name), 0 if field.name in ("seed", "model_megabytes") else 1
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise InputError(
                    f"params.yaml, showcase.{field.name}: wanted a whole number from {least}, got {value!r}"
                )


def load_settings(profile: str, overrides: dict[str, Any] | None = None) -> ShowcaseSettings:
    """Return section `showcase` of a profile; raises InputError for an impossible value."""
    return fill(ShowcaseSettings, load_section(profile, "showcase", overrides), where=f"{profile}.showcase")


def build(profile: str, overrides: dict[str, Any] | None = None) -> pd.DataFrame:
    """Write the showcase of a profile and return one row a model: what it covers, how long its vectors are.

    `showcase.json` goes last, so a killed run leaves none. Raises InputError that names what the stages
    before did not leave, or a model that does not embed photos as it did there.
    """
    import tensorflow  # noqa: F401  before faiss, which recommendations imports

    from solesearch.index.recommendations import shown_models

    settings, study = load_settings(profile, overrides), Study.open(profile, overrides)
    folder, photos = study.paths.showcase, ordered(study.photos)
    (folder / "showcase.json").unlink(missing_ok=True)
    files.write_table(folder / "photos.csv", photos[COLUMNS])
    catalogue = load_catalogue_settings(profile, overrides)
    exporter = Exporter(study, photos, settings, load_network_settings(profile, overrides), catalogue.fit)
    wanted = sorted(shown_models(study), key=lambda pair: place(pair[0]))
    wanted = [(name, seed) for name, seed in wanted if name != PRIOR]
    progress, models = Progress("preparing the web page", total=len(wanted) + 1, unit="step"), []
    for number, (name, seed) in enumerate(wanted, start=1):
        models.append(exporter.add(name, seed=seed))
        progress.update(number)
    write_map(study, photos, settings)
    files.write_json(folder / "showcase.json", description(study, models, catalogue, len(photos)))
    check_models(SearchService.open(study.paths))
    progress.update(len(wanted) + 1)
    return overview(models)


def ordered(photos: pd.DataFrame) -> pd.DataFrame:
    """Return photos.csv with the column `number` (its row there), test photos first."""
    numbered = photos.assign(number=np.arange(len(photos)))
    late = (numbered["split"] != "test").to_numpy()
    return numbered.iloc[np.argsort(late, kind="stable")].reset_index(drop=True)


def place(model: str) -> int:
    """Return where a model stands on the page: ours first, then controls, networks in their own order."""
    order = (PROPOSED, UNTRAINED, *BEST_CONTROLS_FIRST)
    return order.index(model) if model in order else len(order)


@dataclass(frozen=True)
class Exporter:
    """Writes a model's vectors, its network for uploads and the distances of its pairs."""

    study: Study
    photos: pd.DataFrame  # in the showcase's order
    settings: ShowcaseSettings
    networks: Any  # NetworkSettings
    fit: str

    @property
    def folder(self) -> Path:
        """Where the showcase goes."""
        return self.study.paths.showcase

    def add(self, name: str, *, seed: int) -> Model:
        """Write one model's files and return its entry of showcase.json."""
        vectors = self._vectors(name, seed=seed)
        known = self.photos["id"].head(len(vectors)).tolist()
        save_embedding(self.folder, name, Embedding(known, vectors))
        test = int((self.photos["split"] == "test").sum())
        distances = pair_distances(vectors[:test], pairs=self.settings.pairs, seed=self.settings.seed)
        files.write_array(pairs_file(self.folder, name), distances)
        file, takes, size = self._export(name, seed=seed)
        return Model(
            name=name, title=model_name(name), photos=len(vectors), dimensions=vectors.shape[1],
            file=file, takes=takes, height=size[0], width=size[1],
        )  # fmt: skip

    def _vectors(self, name: str, *, seed: int) -> np.ndarray:
        """Return a model's vectors float32 [n, d], in the showcase's order: of all photos or the test's."""
        ids, study = self.photos["id"], self.study
        if name == PROPOSED:
            return load_embedding(study.paths.embeddings, embedding_name(name, seed)).of(ids)
        judged, vectors = model_vectors(study, name, seed=seed)
        if name != UNTRAINED and name not in CONTROLS:
            held = study.networks.load(name)
            return held.of(ids) if len(held.ids) == len(ids) else held.of(judged["id"])
        megabytes = vectors.shape[1] * vectors.itemsize * len(ids) / 1e6
        if megabytes > self.settings.model_megabytes:
            return vectors
        pixels = study.pixels[self.photos["number"].to_numpy()]
        if name in CONTROLS:
            return control_features(name, pixels)
        return study.discriminator(seed=seed, step=0).embed(pixels)

    def _export(self, name: str, *, seed: int) -> tuple[str, str, tuple[int, int]]:
        """Write the ONNX file of a network; return its name ("" for a control), what it takes, its size."""
        study, file = self.study, f"{name}.onnx"
        size = (int(study.pixels.shape[1]), int(study.pixels.shape[2]))
        if name in CONTROLS:
            return "", PIXELS, size
        if name in (PROPOSED, UNTRAINED):
            chosen = read_chosen(study.paths)[seed] if name == PROPOSED else 0
            save_onnx(self.folder / file, portable(study.discriminator(seed=seed, step=chosen).features))
            return file, SIGNED, size
        weights = {one.network: one.path for one in recorded(study.paths.profile, self.networks)}
        network = NetworkEmbedder(Variant(name), self.networks, weights=weights[name])
        save_onnx(self.folder / file, portable(network.features))
        return file, PIXELS, (network.size, network.size)


def portable(features: Any) -> bytes:
    """Return a compiled TensorFlow function as an ONNX file, with the same bytes each time."""
    return with_plain_names(export_features(features))


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
    blocks = [
        np.linalg.norm(vectors[one].astype(np.float64) - vectors[other], axis=1)
        for one, other in zip(
            np.array_split(first, -(-pairs // PAIR_BLOCK)),
            np.array_split(second, -(-pairs // PAIR_BLOCK)),
            strict=True,
        )
    ]
    return np.sort(np.concatenate(blocks)).astype(np.float32)


def project(vectors: np.ndarray, *, components: int, perplexity: int, seed: int) -> np.ndarray:
    """Return a point in [0, 1] x [0, 1] for each vector, float64 [n, 2]: principal components, then t-SNE.

    van der Maaten and Hinton 2008 (scikit-learn, started from the components). Few photos lower both values.
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    most = min(components, len(vectors) - 1, vectors.shape[1])
    reduced = PCA(most, random_state=seed).fit_transform(vectors)
    nearby = min(float(perplexity), (len(vectors) - 1) / 3)
    with threadpool_limits(1):  # its threads wait for each other by spinning, which a busy machine punishes
        points = TSNE(2, perplexity=nearby, init="pca", random_state=seed).fit_transform(reduced)
    low, high = points.min(axis=0), points.max(axis=0)
    return (points - low) / np.where(high > low, high - low, 1)


def write_map(study: Study, photos: pd.DataFrame, settings: ShowcaseSettings) -> None:
    """Write map.csv (id, x, y) of the proposed model's features; a large catalogue is drawn from by seed."""
    chosen = photos["id"]
    if len(chosen) > settings.map_photos:
        chosen = chosen.sample(settings.map_photos, random_state=settings.seed).sort_index()
    vectors = load_embedding(study.paths.showcase, PROPOSED).of(chosen)
    points = project(
        vectors,
        components=settings.map_components,
        perplexity=settings.map_perplexity,
        seed=settings.seed,
    )
    table = pd.DataFrame({"id": chosen.to_numpy(), "x": points[:, 0], "y": points[:, 1]})
    files.write_table(study.paths.showcase / "map.csv", table)


def description(study: Study, models: list[Model], catalogue: Any, photos: int) -> dict[str, Any]:
    """Return showcase.json: the models, their origin, where the photos lie and how they are decoded."""
    folder, seed = photo_folder(study.paths, catalogue), study.seeds[0]
    inside = folder.is_relative_to(study.paths.root)
    return {
        "profile": study.paths.profile,
        "catalogue": catalogue_summary(study.paths)["sha256"],
        "synthetic": catalogue.source == "drawn",
        "photos": photos,
        "photo_folder": str(folder.relative_to(study.paths.root) if inside else folder),
        "fit": catalogue.fit,
        "exclusion_window": study.evaluation.exclusion_window,
        "checkpoint": {"seed": seed, "step": read_chosen(study.paths)[seed]},
        "models": [dataclasses.asdict(model) for model in models],
    }


def check_models(service: SearchService) -> None:
    """Embed a few test photos from their files, as uploads are; raises InputError where a model differs."""
    for model in service.models:
        held = load_embedding(service.folder, model.name)
        for photo, stored in zip(held.ids[:CHECKED], held.vectors, strict=False):
            found = service.embed_file(photo, model.name)
            if np.linalg.norm(found - stored) > TOLERANCE * max(np.linalg.norm(stored), 1e-6):
                raise InputError(
                    f"{photo}: {model.title} embeds the file otherwise than the stages before did; the photo "
                    "or the network has changed since, run `dvc repro` again"
                )


def overview(models: list[Model]) -> pd.DataFrame:
    """Return one row a model, as the notebook shows it."""
    rows = [
        (
            model.title,
            model.photos,
            model.dimensions,
            model.file or "computed",
            f"{model.height} x {model.width}",
        )
        for model in models
    ]
    return pd.DataFrame(rows, columns=["model", "answers from photos", "dimensions", "network", "input"])


def main() -> int:
    """Write the showcase of a profile."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("profile")
    profile = parser.parse_args().profile
    return exit_status(lambda: print(build(profile).to_string(index=False)))


if __name__ == "__main__":
    sys.exit(main())
