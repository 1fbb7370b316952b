"""The readings: what precision each ambiguous choice of the papers gives, one choice changed at a time.

Cheap readings judge the existing checkpoints again. Costly ones train anew on a short schedule, beside the
default reading after as many steps, so that nothing but the reading differs; they are kept and reused.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd

from solesearch.core.checkpoints import checkpoint_file
from solesearch.core.embedding import Embedding, load_embedding, save_embedding
from solesearch.core.errors import InputError, exit_status
from solesearch.core.progress import Progress
from solesearch.core.repeatable import has_gpu
from solesearch.core.settings import GanSettings, load_section
from solesearch.evaluation.study import Study, model_vectors, read_chosen
from solesearch.gan.embedder import BATCH, Embedder
from solesearch.gan.training import SeedFolder, check_enough, load_settings, train, wanted_config
from solesearch.photos.catalog import CatalogSettings
from solesearch.photos.originals import photo_folder
from solesearch.photos.photo import IMAGE_SIZES, load_pixels, to_signed
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
# name -> (choice, reading, changed GAN settings, preset or "" for the profile's own)
COSTLY: dict[str, tuple[str, str, dict, str]] = {
    "default": ("short training", "every choice as in params.yaml", {}, ""),
    "upsampling": ("generator grows by", "stride 2 instead of doubling", {"upsampling": "stride"}, ""),
    "generator_dropout": (
        "generator dropout",
        "60 %, read as a keep probability",
        {"generator_keep_probability": 0.6},
        "",
    ),
    "generator_dropout_rate": (
        "generator dropout",
        "60 %, read as a drop rate",
        {"generator_keep_probability": 0.4},
        "",
    ),
    "discriminator_dropout": ("discriminator dropout", "none", {"discriminator_dropout": 0.0}, ""),
    "categorical_code": (
        "latent code",
        "one of 8 classes",
        {"categorical_codes": 8, "continuous_codes": 0},
        "",
    ),
    "paper-128x128": ("input size", "128x128 (P's print)", {}, "paper-128x128"),
    "chapter-207": ("input size", "207x207 (C's print)", {}, "chapter-207"),
    "chapter-224": ("input size", "224x224 (C's vector)", {}, "chapter-224"),
}


def readings(
    study: Study, oracle: pd.DataFrame, *, costly: Sequence[str] = (), steps: int = 0
) -> pd.DataFrame:
    """Return the table of all readings (columns COLUMNS); value is precision@k, change against the default.

    `oracle` is `leakage.oracle_curve`'s table. `steps` 0 leaves the costly readings out, and says so.
    """
    rows = [*protocol_readings(study, oracle), *vector_readings(study), *label_readings(study)]
    rows += costly_readings(study, names=costly, steps=steps)
    table = pd.DataFrame(rows, columns=[name for name in COLUMNS if name != "change"])
    table["change"] = table["value"] - table["choice"].map(_baselines(table))
    return table[COLUMNS]


def _baselines(table: pd.DataFrame) -> dict[str, float]:
    """Return choice -> value of its default row; the short trainings share one default."""
    known = table[table["default"]].drop_duplicates("choice").set_index("choice")["value"]
    short = {choice: known.get("short training", np.nan) for choice, *_ in COSTLY.values()}
    return {**short, **known.to_dict()}


def _row(choice: str, reading: str, value: float, n: int, *, default: bool = False, **other) -> dict:
    row = {"choice": choice, "reading": reading, "default": default, "value": value, "n": n, "note": ""}
    return {**row, "gallery": GALLERY, "k": K, **other}


def judged(
    study: Study, vectors: np.ndarray, photos: pd.DataFrame, *, gallery: str = GALLERY, k: int = K
) -> pd.Series:
    """Return precision@k of each photo as a query, float64 [n], with its label as index."""
    window = study.evaluation.exclusion_window
    table = evaluate(vectors, photos, gallery=gallery, window=window, ks=[k])
    return table.set_index("label")[f"precision_{k}"].dropna()


def _mean(study: Study, vectors: list[np.ndarray], photos: pd.DataFrame, **options) -> tuple[float, int]:
    found = [judged(study, one, photos, **options) for one in vectors]
    return float(np.mean([values.mean() for values in found])), len(found[0])


# --- protocol: the same vectors, judged otherwise --------------------------------------------------------


def protocol_readings(study: Study, oracle: pd.DataFrame) -> list[dict]:
    """Return the readings of k, gallery, averaging, checkpoint and training seed."""
    photos, _ = study.split("test")
    vectors = [model_vectors(study, "infogan", seed=seed)[1] for seed in study.seeds]
    rows = [
        _row("k", str(k), *_mean(study, vectors, photos, k=k), default=k == K, k=k)
        for k in sorted({*study.evaluation.ks, K})
    ]
    rows += [
        _row(
            "gallery",
            name,
            *_mean(study, vectors, photos, gallery=name),
            default=name == GALLERY,
            gallery=name,
        )
        for name in GALLERIES
    ]
    found = [judged(study, one, photos) for one in vectors]
    classes = float(np.mean([values.groupby(level=0).mean().mean() for values in found]))
    whole = float(np.mean([values.mean() for values in found]))
    rows += [_row("averaged over", "queries", whole, len(found[0]), default=True)]
    rows += [_row("averaged over", "classes", classes, len(found[0]))]
    rows += checkpoint_readings(oracle, default=whole)
    rows += [_row("training seed", "mean of all", whole, len(found[0]), default=True)]
    return rows + [
        _row("training seed", str(seed), float(values.mean()), len(values))
        for seed, values in zip(study.seeds, found, strict=True)
    ]


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
    rates, features = [layer.rate for layer in network.dropouts], None
    for layer in network.dropouts:
        layer.rate = 0.0
    for start in range(0, len(pixels), BATCH):
        rows = order[start : start + BATCH]
        block = network(to_signed(pixels[rows]), training=True).features.numpy()
        features = np.empty((len(pixels), block.shape[1]), np.float32) if features is None else features
        features[rows] = block
    for layer, rate in zip(network.dropouts, rates, strict=True):
        layer.rate = rate
    return features


def half_range(study: Study, embedder: Embedder, pixels: np.ndarray) -> np.ndarray:
    """Return features [n, d] of photos scaled to [0, 1] instead of [-1, 1]."""
    network, starts = embedder.discriminator, range(0, len(pixels), BATCH)
    scaled = (pixels[start : start + BATCH].astype(np.float32) / 255 for start in starts)
    return np.concatenate([network(images, training=False).features.numpy() for images in scaled])


def vector_readings(study: Study) -> list[dict]:
    """Return the readings of distance, features, batch normalisation, pixel range and fit."""
    photos, pixels = study.split("test")
    vectors = [model_vectors(study, "infogan", seed=seed)[1] for seed in study.seeds]
    default = _mean(study, vectors, photos)
    defaults = {
        "distance": "Euclidean",
        "features": "as they are, negative ones too",
        "batch norm at test time": "moving statistics",
        "pixel range at test time": "-1..1",
        "fit at test time": load_section(study.paths.profile, "catalog")["fit"],
    }
    rows = [_row(choice, reading, *default, default=True) for choice, reading in defaults.items()]
    for (choice, reading), change in TRANSFORMS.items():
        rows.append(_row(choice, reading, *_mean(study, [change(one) for one in vectors], photos)))
    again: list[tuple[str, str, Callable]] = [
        ("batch norm at test time", f"statistics of {BATCH} photos at a time", batch_statistics),
        ("pixel range at test time", "0..1", half_range),
    ]
    steps = read_chosen(study.paths)
    for choice, reading, embed in again:
        found = [
            embed(study, study.discriminator(seed=seed, step=steps[seed]), pixels) for seed in study.seeds
        ]
        rows.append(_row(choice, reading, *_mean(study, found, photos)))
    return [*rows, fit_reading(study, photos, steps)]


def fit_reading(study: Study, photos: pd.DataFrame, steps: dict[int, int]) -> dict:
    """Return the reading of the other fit (pad for stretch), photos decoded again from their files."""
    catalog = load_catalog(study)
    other = "pad" if catalog.fit == "stretch" else "stretch"
    try:
        pixels = decode(study, photos, size=study.gan.image_size, fit=other)
    except InputError as error:
        return _row("fit at test time", other, np.nan, 0, note=f"{NOT_RUN}: {error}")
    found = [study.discriminator(seed=seed, step=steps[seed]).embed(pixels) for seed in study.seeds]
    return _row("fit at test time", other, *_mean(study, found, photos))


def load_catalog(study: Study) -> CatalogSettings:
    """Return the profile's catalogue settings."""
    return CatalogSettings.load(study.paths.profile)


def decode(study: Study, photos: pd.DataFrame, *, size: tuple[int, int], fit: str) -> np.ndarray:
    """Return photos as uint8 [n, *size, 3], read again from their files; InputError when one is gone."""
    folder, pixels = (
        photo_folder(study.paths, load_catalog(study)),
        np.empty((len(photos), *size, 3), np.uint8),
    )
    for place, name in enumerate(photos["id"]):
        try:
            pixels[place] = load_pixels(folder / name, size=size, fit=fit)
        except (OSError, ValueError, SyntaxError) as error:
            raise InputError(f"{folder / name}: cannot be read any more ({error})") from error
    return pixels


# --- labels: the same vectors, classes drawn otherwise ---------------------------------------------------


def label_readings(study: Study) -> list[dict]:
    """Return the readings of the label map, as far as this profile's labels can be mapped."""
    photos, _ = study.split("test")
    vectors = [model_vectors(study, "infogan", seed=seed)[1] for seed in study.seeds]
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
    known, found = set(photos["label"]), {}
    if set(PAPER_CLASSES) <= known <= set(CATEGORIES):
        found["UT-Zap50K's four categories" + (", handbags" if "handbags" in known else "")] = photos[
            "label"
        ].map(CATEGORIES)
    if "handbags" in known:
        found["without handbags"] = photos["label"].where(photos["label"] != "handbags")
    if official:
        parts = photos["id"].str.split("/")
        for reading in ("subcategories", "papers"):
            found[f"UT-Zap50K's {reading}"] = parts.map(
                lambda part, reading=reading: official_label(part[0], part[1], label_map=reading)
            )
    return {reading: labels for reading, labels in found.items() if not labels.equals(photos["label"])}


# --- costly: trained anew, on a short schedule -----------------------------------------------------------


def costly_readings(study: Study, *, names: Sequence[str], steps: int) -> list[dict]:
    """Train and judge the named readings for `steps` steps, the default first; name what is left out."""
    unknown = [name for name in names if name not in COSTLY]
    if unknown:
        raise InputError(
            f"params.yaml, claims.costly_readings: {unknown[0]!r} is none of {', '.join(COSTLY)}"
        )
    chosen = ["default", *(name for name in names if name != "default")] if steps and names else []
    train_missing(study, chosen, steps=steps)
    rows = [costly_reading(study, name, steps=steps) for name in chosen]
    left = [name for name in COSTLY if name not in chosen and name != "default"]
    note = f"{NOT_RUN}: trained anew, params.yaml, claims.reading_steps and costly_readings"
    return rows + [_row(*COSTLY[name][:2], np.nan, 0, note=note) for name in left]


def has_default(study: Study, *, steps: int) -> bool:
    """Tell whether stage train kept a checkpoint after `steps` steps, which is the default reading."""
    return checkpoint_file(study.paths.gan_seed(study.seeds[0]), steps).is_file()


def train_missing(study: Study, names: Sequence[str], *, steps: int) -> None:
    """Train the named readings, as many at once as the cores allow, each in a process of its own."""
    waiting = [name for name in names if name != "default" or not has_default(study, steps=steps)]
    if not waiting:
        return
    profile = study.paths.profile
    _, _, threads = load_settings(profile, image_size=study.gan.image_size)
    at_once = 1 if has_gpu() else max(1, (os.cpu_count() or 1) // max(1, threads))
    progress = Progress("short trainings", total=len(waiting), unit="reading")
    with ThreadPoolExecutor(at_once) as pool:
        trainings = pool.map(lambda name: train_apart(profile, name, steps=steps), waiting)
        for number, _ in enumerate(trainings, start=1):
            progress.update(number)


def costly_reading(study: Study, name: str, *, steps: int) -> dict:
    """Return the row of one trained reading after `steps` steps of the first seed."""
    choice, reading, _, _ = COSTLY[name]
    seed, (photos, pixels) = study.seeds[0], study.split("test")
    if name == "default" and has_default(study, steps=steps):
        vectors = study.discriminator(seed=seed, step=steps).embed(pixels)
    else:
        vectors = load_embedding(study.paths.claims, name).of(photos["id"])
    note = f"after {steps:,} steps, seed {seed}, {vectors.shape[1]:,} values"
    return _row(choice, reading, *_mean(study, [vectors], photos), default=name == "default", note=note)


def reading_settings(gan: GanSettings, name: str, *, steps: int) -> GanSettings:
    """Return the GAN settings of a costly reading: one choice changed, a short schedule."""
    _, _, changes, preset = COSTLY[name]
    size = IMAGE_SIZES[preset] if preset else gan.image_size
    return dataclasses.replace(gan, **changes, image_size=size, steps=steps, checkpoint_every=steps)


def train_apart(profile: str, name: str, *, steps: int) -> None:
    """Train a reading in a process of its own, as the pipeline's trainings are; InputError if it fails."""
    command = [sys.executable, "-m", "solesearch.claims.readings", profile, name, "--steps", str(steps)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        last = (ended.stderr.strip().splitlines() or ["no message"])[-1]
        raise InputError(f"training of reading {name} failed: {last.removeprefix('error: ')}")


def train_reading(profile: str, name: str, *, steps: int) -> Path:
    """Train one reading of a profile in this process, resuming what lies there, and embed the test photos.

    Returns the training's folder; the embedding lies beside it under the reading's name.
    """
    import tensorflow as tf

    study = Study.open(profile)
    _, _, threads = load_settings(profile, image_size=study.gan.image_size)
    tf.config.experimental.enable_op_determinism()
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    settings, seed = reading_settings(study.gan, name, steps=steps), study.seeds[0]
    pixels = training_photos(study, settings, seed=seed)
    check_enough(len(pixels), batch_size=settings.batch_size)
    wanted = wanted_config(settings, pixels, seed=seed, threads=threads)
    folder = SeedFolder(study.paths.claims / name, wanted=wanted, set_aside=study.paths.set_aside)
    train(settings, pixels, seed=seed, folder=folder)
    photos, pixels = study.split("test")
    if settings.image_size != study.gan.image_size:
        pixels = decode(study, photos, size=settings.image_size, fit=load_catalog(study).fit)
    trained = Embedder(settings, seed=seed).load(checkpoint_file(folder.path, steps))
    save_embedding(study.paths.claims, name, Embedding(photos["id"].tolist(), trained.embed(pixels)))
    return folder.path


def training_photos(study: Study, settings: GanSettings, *, seed: int) -> np.ndarray:
    """Return the training photos at the reading's size, uint8 [n, h, w, 3], not above MOST_PHOTOS."""
    photos, pixels = study.split("training")
    if settings.image_size == study.gan.image_size:
        return pixels
    if len(photos) > MOST_PHOTOS:
        photos = photos.sample(n=MOST_PHOTOS, random_state=seed).sort_index()
    return decode(study, photos, size=settings.image_size, fit=load_catalog(study).fit)


def main() -> int:
    """Train one reading: `python -m solesearch.claims.readings PROFILE NAME --steps N`."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("profile")
    parser.add_argument("name", choices=COSTLY)
    parser.add_argument("--steps", type=int, required=True)
    arguments = parser.parse_args()
    return exit_status(lambda: train_reading(arguments.profile, arguments.name, steps=arguments.steps))


if __name__ == "__main__":
    sys.exit(main())
