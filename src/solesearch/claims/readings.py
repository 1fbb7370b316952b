"""The readings: what precision each ambiguous choice of the papers gives, one choice changed at a time.

Cheap readings judge the existing checkpoints again. Costly ones train anew on a short schedule, beside the
default reading after as many steps, so that nothing but the reading differs; they are kept and reused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
from pydantic import Field

from solesearch.core.checkpoints import checkpoint_file
from solesearch.core.embedding import Embedding, load_embedding, save_embedding
from solesearch.core.errors import InputError
from solesearch.core.model_names import PROPOSED
from solesearch.core.repeatable import trainings_at_once
from solesearch.core.settings import GanSettings, Section
from solesearch.core.workers import run_trainings
from solesearch.evaluation.study import Study, model_vectors, read_chosen
from solesearch.gan.embedder import BATCH, Embedder, in_batches
from solesearch.gan.trainer import TrainingFolder
from solesearch.gan.training import train_infogan, training_config
from solesearch.photos.catalog import CatalogSettings, photo_folder
from solesearch.photos.photo import IMAGE_SIZES, decode_photos, to_signed
from solesearch.photos.sources import PAPER_CLASSES, official_label
from solesearch.retrieval.retrieval import GALLERIES, evaluate, measures

COLUMNS = ["choice", "reading", "default", "gallery", "k", "value", "change", "n", "note"]
K, GALLERY = 5, "naive"  # the default: the papers' gallery, and the five that their pictures show
NOT_RUN = "not run here"
MOST_PHOTOS = 6000  # decoded at another size for a short training: 6,000 at 224x224 are 0.9 GB
CATEGORIES = {
    "heels": "shoes", "sports": "shoes", "loafers": "shoes", "flats": "shoes", "boots": "boots",
    "high_boots": "boots", "sandals": "sandals", "slippers": "slippers", "handbags": "handbags",
}  # fmt: skip
SHORT, GROWTH, DROPOUT, SIZE = "short training", "generator grows by", "generator dropout", "input size"
# name in params.yaml -> (choice, reading, the GAN settings that it changes)
COSTLY: dict[str, tuple[str, str, dict[str, Any]]] = {
    "default": (SHORT, "every choice as in params.yaml", {}),
    "upsampling": (GROWTH, "stride 2 instead of doubling", {"upsampling": "stride"}),
    "generator_dropout": (DROPOUT, "60 %, read as a keep probability", {"generator_keep_probability": 0.6}),
    "generator_dropout_rate": (DROPOUT, "60 %, read as a drop rate", {"generator_keep_probability": 0.4}),
    "discriminator_dropout": ("discriminator dropout", "none", {"discriminator_dropout": 0.0}),
    "categorical_code": (
        *("latent code", "one of 8 classes"),
        {"categorical_codes": 8, "continuous_codes": 0},
    ),
    "paper-128x128": (SIZE, "128x128 (P's print)", {"image_size": IMAGE_SIZES["paper-128x128"]}),
    "chapter-207": (SIZE, "207x207 (C's print)", {"image_size": IMAGE_SIZES["chapter-207"]}),
    "chapter-224": (SIZE, "224x224 (C's vector)", {"image_size": IMAGE_SIZES["chapter-224"]}),
}


class ClaimSettings(Section, section="claims"):
    """What stage claims pictures and trains; `params.yaml` holds the values."""

    worst_pairs: int = Field(ge=2)
    reading_steps: int = Field(ge=0)
    costly_readings: list[Literal[tuple(COSTLY)]]


def readings(
    study: Study, queries: pd.DataFrame, oracle: pd.DataFrame, settings: ClaimSettings
) -> pd.DataFrame:
    """Return the table of all readings (columns COLUMNS); value is precision@k, change against the default.

    `queries` are stage evaluate's rows (uncertainty.read_queries), `oracle` those of
    `leakage.beside_validation`.
    """
    queries = queries[queries["model"] == PROPOSED]
    default, vectors = mean_precision(queries[queries["gallery"] == GALLERY]), infogan_vectors(study)
    rows = [
        *protocol_readings(queries, oracle),
        *vector_readings(study, vectors, default=default),
        *label_readings(study, vectors, default=default),
        *costly_readings(study, settings),
    ]
    table = pd.DataFrame(rows, columns=[name for name in COLUMNS if name != "change"])
    defaults = table[table["default"]].drop_duplicates("choice").set_index("choice")["value"].to_dict()
    short = {choice: defaults.get(SHORT, np.nan) for choice, _, _ in COSTLY.values()}
    table["change"] = table["value"] - table["choice"].map({**short, **defaults})
    return table[COLUMNS]


def mean_precision(queries: pd.DataFrame, *, k: int = K) -> tuple[float, int]:
    """Return the mean over the seeds of precision@k, and the number of queries, of one gallery's rows.

    `queries` has a row a query and seed.
    """
    seeds = queries.groupby("seed")[f"precision_{k}"]
    return float(seeds.mean().mean()), int(seeds.count().iloc[0])


def judged(study: Study, vectors: Iterable[np.ndarray], photos: pd.DataFrame) -> tuple[float, int]:
    """Return `mean_precision` of the default gallery and k by each seed's vectors [n, d] of photos [n]."""
    options = {"gallery": GALLERY, "window": study.evaluation.exclusion_window, "ks": [K]}
    tables = [evaluate(one, photos, **options).assign(seed=seed) for seed, one in enumerate(vectors)]
    return mean_precision(pd.concat(tables))


def _row(choice: str, reading: str, value: float, n: int, *, default: bool = False, **other) -> dict:
    row = {"choice": choice, "reading": reading, "default": default, "value": value, "n": n, "note": ""}
    return {**row, "gallery": GALLERY, "k": K, **other}


# --- protocol: the same vectors, judged otherwise --------------------------------------------------------


def protocol_readings(queries: pd.DataFrame, oracle: pd.DataFrame) -> Iterator[dict]:
    """Yield the readings of k, gallery, averaging, checkpoint and training seed."""
    naive = queries[queries["gallery"] == GALLERY]
    default, count = mean_precision(naive)
    for _, k in measures(queries).values():
        if k:  # 0: mean average precision
            yield _row("k", str(k), *mean_precision(naive, k=k), default=k == K, k=k)
    for name in GALLERIES:
        found = mean_precision(queries[queries["gallery"] == name])
        yield _row("gallery", name, *found, default=name == GALLERY, gallery=name)
    classes = naive.groupby(["seed", "label"])[f"precision_{K}"].mean()
    yield _row("averaged over", "queries", default, count, default=True)
    yield _row("averaged over", "classes", classes.groupby("seed").mean().mean(), count)
    curve = oracle[(oracle["gallery"] == GALLERY) & (oracle["k"] == K)]
    last = curve["step"] == curve.groupby("seed")["step"].transform("max")
    yield _row("checkpoint", "chosen on validation photos", default, count, default=True)
    yield _row("checkpoint", "the last one", curve.loc[last, "test"].mean(), count)
    yield _row("checkpoint", "untrained", curve.loc[curve["step"] == 0, "test"].mean(), count)
    best, never = curve.loc[curve["oracle"], "test"].mean(), "an oracle; never used for a choice"
    yield _row("checkpoint", "best on test photos", best, count, note=never)
    yield _row("training seed", "mean of all", default, count, default=True)
    for seed, rows in naive.groupby("seed"):
        yield _row("training seed", str(seed), *mean_precision(rows))


# --- vectors: the same checkpoints, features taken otherwise ---------------------------------------------


def unit_length(vectors: np.ndarray) -> np.ndarray:
    """Return vectors [n, d] scaled to length 1 (0 stays 0): the Euclidean order becomes the cosine's."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, length, out=np.zeros_like(vectors), where=length > 0)


TRANSFORMS: dict[tuple[str, str], Callable[[np.ndarray], np.ndarray]] = {
    ("distance", "cosine"): unit_length,
    ("features", "negative values set to 0"): lambda vectors: np.maximum(vectors, 0),
    ("features", "clipped to -1..1"): lambda vectors: np.clip(vectors, -1, 1),
}


def batch_statistics(study: Study, embedder: Embedder, pixels: np.ndarray) -> np.ndarray:
    """Return features [n, d] with batch normalisation by each batch's own statistics, dropout off.

    Batches are drawn at random (from the first seed): in the catalogue's order a batch would be one class,
    and its statistics would give the class away.
    """
    network, order = embedder.discriminator, np.random.default_rng(study.seeds[0]).permutation(len(pixels))
    rates = [layer.rate for layer in network.dropouts]
    for layer in network.dropouts:
        layer.rate = 0.0
    batches = in_batches(lambda batch: network(to_signed(batch), training=True).features, pixels[order])
    for layer, rate in zip(network.dropouts, rates, strict=True):
        layer.rate = rate
    return np.concatenate(batches)[np.argsort(order)]


def half_range(study: Study, embedder: Embedder, pixels: np.ndarray) -> np.ndarray:
    """Return features [n, d] of photos scaled to [0, 1] instead of [-1, 1]."""
    network = embedder.discriminator
    scaled = in_batches(lambda batch: network(batch.astype(np.float32) / 255).features, pixels)
    return np.concatenate(scaled)


def vector_readings(
    study: Study, vectors: Sequence[np.ndarray], *, default: tuple[float, int]
) -> Iterator[dict]:
    """Yield the readings of distance, features, batch normalisation, pixel range and fit.

    `vectors` as from `infogan_vectors`.
    """
    (photos, pixels), fit = study.split("test"), CatalogSettings.load(study.paths.profile).fit
    norm, span, fitting = (f"{what} at test time" for what in ("batch norm", "pixel range", "fit"))
    defaults = {
        "distance": "Euclidean",
        "features": "as they are, negative ones too",
        norm: "moving statistics",
        span: "-1..1",
        fitting: fit,
    }
    for choice, reading in defaults.items():
        yield _row(choice, reading, *default, default=True)
    for (choice, reading), change in TRANSFORMS.items():
        yield _row(choice, reading, *judged(study, map(change, vectors), photos))
    for choice, reading, embed in (
        (norm, f"statistics of {BATCH} photos at a time", batch_statistics),
        (span, "0..1", half_range),
    ):
        again = (embed(study, embedder, pixels) for embedder in chosen_embedders(study))
        yield _row(choice, reading, *judged(study, again, photos))
    other = "pad" if fit == "stretch" else "stretch"
    try:
        pixels = decode(study, photos, size=study.gan.image_size, fit=other)
    except InputError as error:
        yield _row(fitting, other, np.nan, 0, note=f"{NOT_RUN}: {error}")
    else:
        again = (embedder.embed(pixels) for embedder in chosen_embedders(study))
        yield _row(fitting, other, *judged(study, again, photos))


def infogan_vectors(study: Study) -> list[np.ndarray]:
    """Return each seed's vectors of the test photos, float32 [n, d], by the chosen checkpoints."""
    return [model_vectors(study, PROPOSED, seed=seed)[1] for seed in study.seeds]


def chosen_embedders(study: Study) -> Iterator[Embedder]:
    """Yield the study's embedder with the weights of each seed's chosen checkpoint in turn."""
    steps = read_chosen(study.paths)
    for seed in study.seeds:
        yield study.discriminator(seed=seed, step=steps[seed])


def decode(study: Study, photos: pd.DataFrame, *, size: tuple[int, int], fit: str = "") -> np.ndarray:
    """Return photos as uint8 [n, *size, 3], read again from their files; InputError when one is gone.

    `fit` "" is the catalogue's own.
    """
    catalog = CatalogSettings.load(study.paths.profile)
    folder = photo_folder(study.paths, catalog)
    return decode_photos(photos["id"], folder=folder, size=size, fit=fit or catalog.fit)


# --- labels: the same vectors, classes drawn otherwise ---------------------------------------------------


def label_readings(
    study: Study, vectors: Sequence[np.ndarray], *, default: tuple[float, int]
) -> Iterator[dict]:
    """Yield the readings of the label map, as far as this profile's labels can be mapped.

    `vectors` as from `infogan_vectors`.
    """
    photos, _ = study.split("test")
    own = f"{photos['label'].nunique()} classes of this profile"
    yield _row("label map", own, *default, default=True)
    official = CatalogSettings.load(study.paths.profile).source == "official"
    if not (others := other_labels(photos, official=official)):
        note = f"{NOT_RUN}: the photos of this profile carry no other label"
        yield _row("label map", "the papers' eight classes", np.nan, 0, note=note)
    for reading, labels in others.items():
        kept = np.flatnonzero(labels.notna())
        relabelled = photos.assign(label=labels).iloc[kept].reset_index(drop=True)
        yield _row("label map", reading, *judged(study, [one[kept] for one in vectors], relabelled))


def other_labels(photos: pd.DataFrame, *, official: bool) -> dict[str, pd.Series]:
    """Return reading -> labels of `photos` (NaN: left out) that differ from the profile's own."""
    known, maps = set(photos["label"]), {}
    if set(PAPER_CLASSES) <= known <= set(CATEGORIES):
        bags = ", handbags" if "handbags" in known else ""
        maps[f"UT-Zap50K's four categories{bags}"] = photos["label"].map(CATEGORIES)
    if "handbags" in known:
        maps["without handbags"] = photos["label"].where(photos["label"] != "handbags")
    for label_map in ("subcategories", "papers") if official else ():
        folders = [photo.split("/")[:2] for photo in photos["id"]]
        labels = [official_label(*folder, label_map=label_map) for folder in folders]
        maps[f"UT-Zap50K's {label_map}"] = pd.Series(labels, index=photos.index)
    return {reading: labels for reading, labels in maps.items() if not labels.equals(photos["label"])}


# --- costly: trained anew, on a short schedule -----------------------------------------------------------


def costly_readings(study: Study, settings: ClaimSettings) -> list[dict]:
    """Train and judge the readings that `settings` name, the default first; name what is left out.

    The default reading after so many steps is what stage train kept, where it kept that checkpoint.
    """
    names, steps, seed = settings.costly_readings, settings.reading_steps, study.seeds[0]
    chosen = ["default", *(name for name in names if name != "default")] if steps and names else []
    kept = checkpoint_file(study.paths.gan_seed(seed), steps)
    trained = [name for name in chosen if name != "default" or not kept.is_file()]
    waiting = {f"reading {name}": (study.paths.profile, name, steps) for name in trained}
    run_trainings(train_reading, waiting, at_once=trainings_at_once(study.gan.threads))
    (photos, pixels), rows = study.split("test"), []
    for name in chosen:
        if name in trained:
            vectors = load_embedding(study.paths.claims, name).of(photos["id"])
        else:
            vectors = study.embedder.load(kept).embed(pixels)
        note = f"after {steps:,} steps, seed {seed}, {vectors.shape[1]:,} values"
        value = judged(study, [vectors], photos)
        rows.append(_row(*COSTLY[name][:2], *value, default=name == "default", note=note))
    note = f"{NOT_RUN}: trained anew, params.yaml, claims.reading_steps and costly_readings"
    left_out = (COSTLY[name][:2] for name in COSTLY if name not in (*chosen, "default"))
    return rows + [_row(*words, np.nan, 0, note=note) for words in left_out]


def reading_settings(gan: GanSettings, name: str, *, steps: int) -> GanSettings:
    """Return the GAN settings of a costly reading: one choice changed, a short schedule."""
    return gan.replaced(**COSTLY[name][2], steps=steps, checkpoint_every=steps)


def train_reading(profile: str, name: str, steps: int) -> None:
    """Train one reading of a profile in this process, resuming what lies there, and embed the test photos.

    The embedding lies beside the training's folder, under the reading's name.
    """
    study = Study.open(profile)
    settings, seed = reading_settings(study.gan, name, steps=steps), study.seeds[0]
    folder = TrainingFolder(study.paths, study.paths.claims / name)
    _, pixels = at_size(study, "training", settings.image_size, most=MOST_PHOTOS)
    folder.claim(training_config(settings, pixels, seed=seed, code="solesearch.gan.training"))
    if folder.step < steps:
        train_infogan(settings, pixels, seed=seed, folder=folder)
    photos, pixels = at_size(study, "test", settings.image_size)
    trained = Embedder(settings, seed=seed).load(checkpoint_file(folder.path, steps))
    save_embedding(study.paths.claims, name, Embedding(photos["id"].tolist(), trained.embed(pixels)))


def at_size(
    study: Study, split: str, size: tuple[int, int], *, most: int | None = None
) -> tuple[pd.DataFrame, np.ndarray]:
    """Return the photos of a split and their pixels, uint8 [n, *size, 3]; decoded anew, not above `most`."""
    photos, pixels = study.split(split)
    if size == study.gan.image_size:
        return photos, pixels
    if most and len(photos) > most:
        photos = photos.sample(n=most, random_state=study.seeds[0]).sort_index()
    return photos, decode(study, photos, size=size)
