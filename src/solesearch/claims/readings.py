"""The readings: what precision each ambiguous choice of the papers gives, one choice changed at a time.

Cheap readings judge the existing checkpoints again. Costly ones train anew on a short schedule, beside the
default reading after as many steps, so that nothing but the reading differs; they are kept and reused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from solesearch.core.checkpoints import checkpoint_file
from solesearch.core.embedding import Embedding, load_embedding, save_embedding
from solesearch.core.errors import InputError
from solesearch.core.repeatable import trainings_at_once
from solesearch.core.settings import GanSettings
from solesearch.core.workers import run_trainings
from solesearch.evaluation.study import Study, model_vectors, read_chosen
from solesearch.gan.embedder import BATCH, Embedder
from solesearch.gan.trainer import TrainingFolder
from solesearch.gan.training import train_infogan, training_config
from solesearch.photos.catalog import CatalogSettings
from solesearch.photos.originals import decode_photos, photo_folder
from solesearch.photos.photo import IMAGE_SIZES, to_signed
from solesearch.photos.sources import PAPER_CLASSES, official_label
from solesearch.retrieval.retrieval import GALLERIES, evaluate

COLUMNS = ["choice", "reading", "default", "gallery", "k", "value", "change", "n", "note"]
K, GALLERY = 5, "naive"  # the default: the papers' gallery, and the five that their pictures show
NOT_RUN = "not run here"
MOST_PHOTOS = 6000  # decoded at another size for a short training: 6,000 at 224x224 are 0.9 GB
CATEGORIES = {
    "heels": "shoes", "sports": "shoes", "loafers": "shoes", "flats": "shoes", "boots": "boots",
    "high_boots": "boots", "sandals": "sandals", "slippers": "slippers", "handbags": "handbags",
}  # fmt: skip


@dataclass(frozen=True)
class CostlyReading:
    """A reading that takes a training of its own."""

    choice: str
    reading: str
    gan: dict[str, float | str] = field(default_factory=dict)  # changed GAN settings
    preset: str = ""  # of the photos' size; "": the profile's own


GROWTH, DROPOUT, SIZE = "generator grows by", "generator dropout", "input size"
COSTLY = {
    "default": CostlyReading("short training", "every choice as in params.yaml"),
    "upsampling": CostlyReading(GROWTH, "stride 2 instead of doubling", {"upsampling": "stride"}),
    "generator_dropout": CostlyReading(
        DROPOUT, "60 %, read as a keep probability", {"generator_keep_probability": 0.6}
    ),
    "generator_dropout_rate": CostlyReading(
        DROPOUT, "60 %, read as a drop rate", {"generator_keep_probability": 0.4}
    ),
    "discriminator_dropout": CostlyReading("discriminator dropout", "none", {"discriminator_dropout": 0.0}),
    "categorical_code": CostlyReading(
        "latent code", "one of 8 classes", {"categorical_codes": 8, "continuous_codes": 0}
    ),
    "paper-128x128": CostlyReading(SIZE, "128x128 (P's print)", preset="paper-128x128"),
    "chapter-207": CostlyReading(SIZE, "207x207 (C's print)", preset="chapter-207"),
    "chapter-224": CostlyReading(SIZE, "224x224 (C's vector)", preset="chapter-224"),
}


def readings(
    study: Study, oracle: pd.DataFrame, *, costly: Sequence[str] = (), steps: int = 0
) -> pd.DataFrame:
    """Return the table of all readings (columns COLUMNS); value is precision@k, change against the default.

    `oracle` is `leakage.beside_validation`'s table. `steps` 0 leaves the costly readings out, and says so.
    """
    rows = [*protocol_readings(study, oracle), *vector_readings(study), *label_readings(study)]
    rows += costly_readings(study, names=costly, steps=steps)
    table = pd.DataFrame(rows, columns=[name for name in COLUMNS if name != "change"])
    defaults = table[table["default"]].drop_duplicates("choice").set_index("choice")["value"].to_dict()
    short = {one.choice: defaults.get("short training", np.nan) for one in COSTLY.values()}
    table["change"] = table["value"] - table["choice"].map({**short, **defaults})
    return table[COLUMNS]


def judged(
    study: Study, vectors: np.ndarray, photos: pd.DataFrame, *, gallery: str = GALLERY, k: int = K
) -> pd.Series:
    """Return precision@k of each photo as a query, float64 [n], with its label as index."""
    window = study.evaluation.exclusion_window
    table = evaluate(vectors, photos, gallery=gallery, window=window, ks=[k])
    return table.set_index("label")[f"precision_{k}"].dropna()


def _row(choice: str, reading: str, value: float, n: int, *, default: bool = False, **other) -> dict:
    row = {"choice": choice, "reading": reading, "default": default, "value": value, "n": n, "note": ""}
    return {**row, "gallery": GALLERY, "k": K, **other}


def _mean(study: Study, vectors: Sequence[np.ndarray], photos: pd.DataFrame, **options) -> tuple[float, int]:
    """Return the mean over the seeds of precision@k, and the number of queries."""
    each = [judged(study, one, photos, **options) for one in vectors]
    return float(np.mean([values.mean() for values in each])), len(each[0])


def infogan_vectors(study: Study) -> list[np.ndarray]:
    """Return each seed's vectors of the test photos, float32 [n, d], by the chosen checkpoints."""
    return [model_vectors(study, "infogan", seed=seed)[1] for seed in study.seeds]


# --- protocol: the same vectors, judged otherwise --------------------------------------------------------


def protocol_readings(study: Study, oracle: pd.DataFrame) -> list[dict]:
    """Return the readings of k, gallery, averaging, checkpoint and training seed."""
    (photos, _), vectors, rows = study.split("test"), infogan_vectors(study), []
    for k in sorted({*study.evaluation.ks, K}):
        rows.append(_row("k", str(k), *_mean(study, vectors, photos, k=k), default=k == K, k=k))
    for name in GALLERIES:
        mean = _mean(study, vectors, photos, gallery=name)
        rows.append(_row("gallery", name, *mean, default=name == GALLERY, gallery=name))
    seeds = [judged(study, one, photos) for one in vectors]
    whole, count = float(np.mean([values.mean() for values in seeds])), len(seeds[0])
    classes = float(np.mean([values.groupby(level=0).mean().mean() for values in seeds]))
    rows += [_row("averaged over", "queries", whole, count, default=True)]
    rows += [_row("averaged over", "classes", classes, count)]
    rows += checkpoint_readings(oracle, default=whole)
    rows += [_row("training seed", "mean of all", whole, count, default=True)]
    for seed, values in zip(study.seeds, seeds, strict=True):
        rows.append(_row("training seed", str(seed), float(values.mean()), len(values)))
    return rows


def checkpoint_readings(oracle: pd.DataFrame, *, default: float) -> list[dict]:
    """Return test precision of the chosen, the last and the best checkpoint, means over the seeds."""
    rows = oracle[(oracle["gallery"] == GALLERY) & (oracle["k"] == K)]
    if rows.empty:
        return []
    count = int(rows["n_test"].min())
    last = rows.loc[rows.groupby("seed")["step"].idxmax(), "test"].mean()
    untrained = rows.loc[rows["step"] == 0, "test"].mean()
    best = rows.loc[rows["oracle"].astype(bool), "test"].mean()
    return [
        _row("checkpoint", "chosen on validation photos", default, count, default=True),
        _row("checkpoint", "the last one", last, count),
        _row("checkpoint", "untrained", untrained, count),
        _row("checkpoint", "best on test photos", best, count, note="an oracle; never used for a choice"),
    ]


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
    batches = (order[start : start + BATCH] for start in range(0, len(order), BATCH))
    blocks = [network(to_signed(pixels[rows]), training=True).features.numpy() for rows in batches]
    for layer, rate in zip(network.dropouts, rates, strict=True):
        layer.rate = rate
    return np.concatenate(blocks)[np.argsort(order)]


def half_range(study: Study, embedder: Embedder, pixels: np.ndarray) -> np.ndarray:
    """Return features [n, d] of photos scaled to [0, 1] instead of [-1, 1]."""
    network, starts = embedder.discriminator, range(0, len(pixels), BATCH)
    scaled = (pixels[start : start + BATCH].astype(np.float32) / 255 for start in starts)
    return np.concatenate([network(images, training=False).features.numpy() for images in scaled])


def vector_readings(study: Study) -> list[dict]:
    """Return the readings of distance, features, batch normalisation, pixel range and fit."""
    (photos, pixels), vectors = study.split("test"), infogan_vectors(study)
    defaults = {
        "distance": "Euclidean",
        "features": "as they are, negative ones too",
        "batch norm at test time": "moving statistics",
        "pixel range at test time": "-1..1",
        "fit at test time": load_catalog(study).fit,
    }
    mean = _mean(study, vectors, photos)
    rows = [_row(choice, reading, *mean, default=True) for choice, reading in defaults.items()]
    for (choice, reading), change in TRANSFORMS.items():
        rows.append(_row(choice, reading, *_mean(study, [change(one) for one in vectors], photos)))
    for choice, reading, embed in (
        ("batch norm at test time", f"statistics of {BATCH} photos at a time", batch_statistics),
        ("pixel range at test time", "0..1", half_range),
    ):
        again = [embed(study, embedder, pixels) for embedder in chosen_embedders(study)]
        rows.append(_row(choice, reading, *_mean(study, again, photos)))
    return [*rows, fit_reading(study, photos)]


def chosen_embedders(study: Study) -> Iterator[Embedder]:
    """Yield the study's embedder with the weights of each seed's chosen checkpoint in turn."""
    steps = read_chosen(study.paths)
    for seed in study.seeds:
        yield study.discriminator(seed=seed, step=steps[seed])


def fit_reading(study: Study, photos: pd.DataFrame) -> dict:
    """Return the reading of the other fit (pad for stretch), photos decoded again from their files."""
    other = "pad" if load_catalog(study).fit == "stretch" else "stretch"
    try:
        pixels = decode(study, photos, size=study.gan.image_size, fit=other)
    except InputError as error:
        return _row("fit at test time", other, np.nan, 0, note=f"{NOT_RUN}: {error}")
    vectors = [embedder.embed(pixels) for embedder in chosen_embedders(study)]
    return _row("fit at test time", other, *_mean(study, vectors, photos))


def load_catalog(study: Study) -> CatalogSettings:
    """Return the profile's catalogue settings."""
    return CatalogSettings.load(study.paths.profile)


def decode(study: Study, photos: pd.DataFrame, *, size: tuple[int, int], fit: str) -> np.ndarray:
    """Return photos as uint8 [n, *size, 3], read again from their files; InputError when one is gone."""
    folder = photo_folder(study.paths, load_catalog(study))
    return decode_photos(photos["id"], folder=folder, size=size, fit=fit)


# --- labels: the same vectors, classes drawn otherwise ---------------------------------------------------


def label_readings(study: Study) -> list[dict]:
    """Return the readings of the label map, as far as this profile's labels can be mapped."""
    (photos, _), vectors = study.split("test"), infogan_vectors(study)
    own = f"{photos['label'].nunique()} classes of this profile"
    rows = [_row("label map", own, *_mean(study, vectors, photos), default=True)]
    others = other_labels(photos, official=load_catalog(study).source == "official")
    if not others:
        note = f"{NOT_RUN}: the photos of this profile carry no other label"
        return [*rows, _row("label map", "the papers' eight classes", np.nan, 0, note=note)]
    for reading, labels in others.items():
        kept = np.flatnonzero(labels.notna())
        relabelled = photos.assign(label=labels).iloc[kept].reset_index(drop=True)
        rows.append(_row("label map", reading, *_mean(study, [one[kept] for one in vectors], relabelled)))
    return rows


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


def costly_readings(study: Study, *, names: Sequence[str], steps: int) -> list[dict]:
    """Train and judge the named readings for `steps` steps, the default first; name what is left out."""
    if unknown := [name for name in names if name not in COSTLY]:
        raise InputError(
            f"params.yaml, claims.costly_readings: {unknown[0]!r} is none of {', '.join(COSTLY)}"
        )
    chosen = ["default", *(name for name in names if name != "default")] if steps and names else []
    waiting = {
        f"reading {name}": (study.paths.profile, name, steps)
        for name in chosen
        if name != "default" or not has_default(study, steps=steps)
    }
    run_trainings(train_reading, waiting, at_once=trainings_at_once(study.gan.threads))
    rows = [costly_reading(study, name, steps=steps) for name in chosen]
    note = f"{NOT_RUN}: trained anew, params.yaml, claims.reading_steps and costly_readings"
    left_out = (one for name, one in COSTLY.items() if name not in (*chosen, "default"))
    return rows + [_row(one.choice, one.reading, np.nan, 0, note=note) for one in left_out]


def has_default(study: Study, *, steps: int) -> bool:
    """Tell whether stage train kept a checkpoint after `steps` steps, which is the default reading."""
    return checkpoint_file(study.paths.gan_seed(study.seeds[0]), steps).is_file()


def costly_reading(study: Study, name: str, *, steps: int) -> dict:
    """Return the row of one trained reading after `steps` steps of the first seed."""
    seed, (photos, pixels), one = study.seeds[0], study.split("test"), COSTLY[name]
    if name == "default" and has_default(study, steps=steps):
        vectors = study.discriminator(seed=seed, step=steps).embed(pixels)
    else:
        vectors = load_embedding(study.paths.claims, name).of(photos["id"])
    note = f"after {steps:,} steps, seed {seed}, {vectors.shape[1]:,} values"
    mean = _mean(study, [vectors], photos)
    return _row(one.choice, one.reading, *mean, default=name == "default", note=note)


def reading_settings(gan: GanSettings, name: str, *, steps: int) -> GanSettings:
    """Return the GAN settings of a costly reading: one choice changed, a short schedule."""
    size = IMAGE_SIZES[COSTLY[name].preset] if COSTLY[name].preset else gan.image_size
    return gan.replaced(**COSTLY[name].gan, image_size=size, steps=steps, checkpoint_every=steps)


def train_reading(profile: str, name: str, steps: int) -> None:
    """Train one reading of a profile in this process, resuming what lies there, and embed the test photos.

    The embedding lies beside the training's folder, under the reading's name.
    """
    study = Study.open(profile)
    settings, seed = reading_settings(study.gan, name, steps=steps), study.seeds[0]
    pixels, folder = training_photos(study, settings), TrainingFolder(study.paths, study.paths.claims / name)
    folder.claim(training_config(settings, pixels, seed=seed, code="solesearch.gan.training"))
    if folder.step < steps:
        train_infogan(settings, pixels, seed=seed, folder=folder)
    photos, pixels = study.split("test")
    if settings.image_size != study.gan.image_size:
        pixels = decode(study, photos, size=settings.image_size, fit=load_catalog(study).fit)
    trained = Embedder(settings, seed=seed).load(checkpoint_file(folder.path, steps))
    save_embedding(study.paths.claims, name, Embedding(photos["id"].tolist(), trained.embed(pixels)))


def training_photos(study: Study, settings: GanSettings) -> np.ndarray:
    """Return the training photos at the reading's size, uint8 [n, h, w, 3], not above MOST_PHOTOS."""
    photos, pixels = study.split("training")
    if settings.image_size == study.gan.image_size:
        return pixels
    if len(photos) > MOST_PHOTOS:
        photos = photos.sample(n=MOST_PHOTOS, random_state=study.seeds[0]).sort_index()
    return decode(study, photos, size=settings.image_size, fit=load_catalog(study).fit)
