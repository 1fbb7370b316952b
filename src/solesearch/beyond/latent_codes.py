"""What the InfoGAN's codes learned: what each changes, what Q can read back, what it says of real photos.

Generator and Q are taken as training ended: the generator is kept at the last step only, and its images are
what Q was trained to read. Codes of real photographs are read elsewhere, at the chosen step (code_probe.py).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, ndtr
from scipy.stats import norm

from solesearch.beyond.sample_quality import (
    COLUMNS,
    GENERATED,
    NOISE,
    TEST,
    TRAINING,
    UNTRAINED,
    Estimate,
    ImageSet,
    Nearest,
    QualityRules,
    Row,
    Space,
    copy_rows,
    distance_rows,
    mean_with_interval,
    middle,
    row,
)
from solesearch.core import files
from solesearch.core.checkpoints import load_variables
from solesearch.core.errors import InputError, not_made_yet
from solesearch.core.progress import Progress
from solesearch.core.settings import GanSettings, fill, load_section
from solesearch.evaluation.study import Study
from solesearch.gan.embedder import BATCH
from solesearch.networks.networks import SMALLEST, NetworkEmbedder, NetworkSettings, Variant
from solesearch.networks.weights import load_network_settings, recorded
from solesearch.photos.photo import fit_to, to_pixels
from solesearch.retrieval.controls import histogram_of_gradients
from solesearch.retrieval.controls import pixels as raw_pixels
from solesearch.retrieval.uncertainty import Resampling

GREY = 127.5  # grey levels of 255 in one unit of [-1, 1]
CLASS_CODE = "class code"
NOISE_REDRAWN, CODES_REDRAWN = "noise redrawn", "all codes redrawn"
SPREADS = (-7.0, 5.0)  # logarithms of Q's standard deviation: from 0.001 to 150, which is flat


@dataclass(frozen=True)
class LatentSettings:
    """What is measured and on how many images; `params.yaml` holds the values and their reasons."""

    values: list[float]
    noises: int
    images: int
    draws: int
    subset: int
    subsets: int
    neighbours: int
    quantile: float
    feature_network: str
    feature_size: int
    shown: int
    seed: int

    def __post_init__(self) -> None:
        """Raise InputError for a number that gives no measurement."""
        checks = {
            "values: at least two, ascending, -1 and 1 among them": (
                list(self.values) == sorted(set(self.values)) and {-1, 1} <= set(self.values)
            ),
            "noises and draws: from 2": min(self.noises, self.draws) >= 2,
            "images: from 2 times the subset of at least 2": 2 <= self.subset <= self.images // 2,
            "subsets, neighbours and shown: from 1": min(self.subsets, self.neighbours, self.shown) >= 1,
            "quantile: between 0 and 1": 0 < self.quantile < 1,
            f"feature_size: from {SMALLEST}": self.feature_size >= SMALLEST,
            "seed: from 0": self.seed >= 0,
        }
        for rule, holds in checks.items():
            if not holds:
                raise InputError(f"params.yaml, latent_codes.{rule}; got {self}")

    def rules(self) -> QualityRules:
        """Return the part that sample_quality.py reads."""
        return QualityRules(self.subset, self.subsets, self.neighbours, self.quantile, self.seed)


def load_latent_settings(profile: str, overrides: dict[str, Any] | None = None) -> LatentSettings:
    """Return section `latent_codes` of a profile; raises InputError for a missing or impossible value."""
    values = load_section(profile, "latent_codes", overrides)
    return fill(LatentSettings, values, where=f"{profile}.latent_codes")


# --- codes -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Code:
    """One code: its name, and its columns in the latent vector [noise + codes]; several: one-hot classes."""

    name: str
    columns: slice

    @property
    def classes(self) -> int:
        """Return the number of classes; 0 for a continuous code."""
        width = self.columns.stop - self.columns.start
        return width if self.name == CLASS_CODE else 0

    def set(self, latents: np.ndarray, value: float) -> np.ndarray:
        """Return a copy of latents [n, z] with this code at `value`: a number, or the number of a class."""
        changed = latents.copy()
        changed[:, self.columns] = np.eye(self.classes)[int(value)] if self.classes else value
        return changed

    def label(self, value: float) -> str:
        """Return what stands above an image at `value`."""
        return f"class {int(value) + 1}" if self.classes else f"{value:+.3g}" if value else "0"

    def ends(self) -> list[tuple[float, float]]:
        """Return between which values a change is measured: the ends, or each class and the next one."""
        return [(k, (k + 1) % self.classes) for k in range(self.classes)] or [(-1, 1)]


def codes_of(settings: GanSettings) -> list[Code]:
    """Return the codes of an InfoGAN: `code 1` and so on, then the class code if it has one."""
    first, count = settings.noise, settings.continuous_codes
    codes = [Code(f"code {n + 1}", slice(first + n, first + n + 1)) for n in range(count)]
    whole = slice(first + count, first + settings.code_size)
    return codes + [Code(CLASS_CODE, whole)] * bool(settings.categorical_codes)


class TrainedGan:
    """One seed's generator and Q as training ended, compiled: latents to images to codes."""

    def __init__(self, study: Study, *, seed: int):
        """Build both and load the last state; raises InputError when training left none or has not ended."""
        import tensorflow as tf

        from solesearch.gan.infogan import InfoGan

        self.settings, self.seed = study.gan, seed
        gan = InfoGan(study.gan, seed=seed)
        load_variables(last_state(study, seed), gan.state_variables())
        _check_ended(last_state(study, seed), int(gan.steps_done.numpy()), study.gan.steps)
        size = study.gan.image_size
        self.make = tf.function(
            lambda latents: gan.generator(latents, training=False),
            input_signature=[tf.TensorSpec((None, study.gan.noise + study.gan.code_size), tf.float32)],
        )
        self.code = tf.function(
            lambda images: gan.discriminator(images, training=False).code,
            input_signature=[tf.TensorSpec((None, *size, 3), tf.float32)],
        )

    def draw(self, count: int, place: list[int]) -> np.ndarray:
        """Return latents, float32 [count, noise + codes], from their prior; `place` [2] seeds the draw."""
        import tensorflow as tf

        from solesearch.gan.infogan import sample_latent

        return sample_latent(self.settings, count=count, seed=tf.constant(place))[0].numpy()

    def generate(self, latents: np.ndarray) -> np.ndarray:
        """Return images, float32 [n, h, w, 3] in (-1, 1), of latents [n, z]; batch norm as at inference."""
        return _in_batches(self.make, latents.astype(np.float32))

    def read(self, images: np.ndarray) -> np.ndarray:
        """Return Q's codes, float32 [n, codes], of images [n, h, w, 3] in [-1, 1]; dropout is off."""
        return _in_batches(self.code, images)


def _in_batches(function, values: np.ndarray) -> np.ndarray:
    starts = range(0, len(values), BATCH)
    return np.concatenate([function(values[start : start + BATCH]).numpy() for start in starts])


def untrained_images(settings: GanSettings, latents: np.ndarray, *, seed: int) -> np.ndarray:
    """Return the images, float32 [n, h, w, 3], that the generator of `seed` made before its first step."""
    from solesearch.gan.infogan import build_generator

    generator = build_generator(settings, seed=seed)
    return _in_batches(lambda batch: generator(batch, training=False), latents)


def last_state(study: Study, seed: int) -> Path:
    """Return the last saved state of a seed's training; raises InputError when there is none."""
    path = study.paths.gan_seed(seed) / "state.npz"
    if not path.is_file():
        raise not_made_yet(path, made_by="stage train, with the generator in it,")
    return path


def _check_ended(path: Path, step: int, steps: int) -> None:
    if step != steps:
        raise InputError(f"{path}: training stands at step {step} of {steps}; run stage train to its end")


def open_gans(study: Study) -> list[TrainedGan]:
    """Return every seed's networks; raises InputError for a missing or unfinished training."""
    for seed in study.seeds:
        last_state(study, seed)
    return [TrainedGan(study, seed=seed) for seed in study.seeds]


# --- what each code changes ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Traversal:
    """One code's row of generated images."""

    labels: list[str]  # what stands above each
    beyond: list[bool]  # whether its value lies beyond [-1, 1]
    images: np.ndarray  # uint8 [values, h, w, 3]


def traversals(gan: TrainedGan, settings: LatentSettings) -> dict[str, Traversal]:
    """Return code name -> its row of images, the same noise in every row.

    The other codes are at 0, the middle of their range; the class code, where there is one, at its first.
    """
    base, rows = gan.draw(1, [settings.seed, 0]), {}
    base[:, gan.settings.noise :] = 0
    for code in codes_of(gan.settings):
        base = code.set(base, 0)
    for code in codes_of(gan.settings):
        values = list(range(code.classes))[: len(settings.values)] or settings.values
        images = to_pixels(gan.generate(np.concatenate([code.set(base, value) for value in values])))
        labels = [code.label(value) for value in values]
        rows[code.name] = Traversal(labels, [not code.classes and abs(value) > 1 for value in values], images)
    return rows


def effects(gan: TrainedGan, latents: np.ndarray) -> dict[str, np.ndarray]:
    """Return item -> mean absolute change of each image, float64 [n], in grey levels of 255.

    Each of the latents [n, z] is drawn anew, noise and codes. A code goes from one end of its range to the
    other with all else kept; the last two items redraw the noise, and all codes, for comparison.
    """
    found = {}
    for code in codes_of(gan.settings):
        pairs = [_change(gan, code.set(latents, a), code.set(latents, b)) for a, b in code.ends()]
        found[code.name] = np.mean(pairs, axis=0)
    split, others = gan.settings.noise, np.roll(latents, 1, axis=0)
    found[NOISE_REDRAWN] = _change(gan, latents, np.hstack([others[:, :split], latents[:, split:]]))
    found[CODES_REDRAWN] = _change(gan, latents, np.hstack([latents[:, :split], others[:, split:]]))
    return found


def _change(gan: TrainedGan, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    gap = np.abs(gan.generate(first).astype(np.float64) - gan.generate(second))
    return gap.mean(axis=(1, 2, 3)) * GREY


def effect_rows(gan: TrainedGan, settings: LatentSettings, resampling: Resampling) -> list[Row]:
    """Return the effects as rows, with intervals over the latents."""
    latents = gan.draw(settings.noises, [settings.seed, 1])
    note = (
        "mean absolute pixel change from one end of the code to the other; 0: dead; 95 % interval over noises"
    )
    rows = []
    for item, changes in effects(gan, latents).items():
        found = mean_with_interval(changes, np.arange(len(changes)), resampling)
        redrawn = item in (NOISE_REDRAWN, CODES_REDRAWN)
        words = "mean absolute pixel change, for comparison" if redrawn else note
        rows.append(row(gan.seed, "effect", item, found, unit="grey levels of 255", note=words))
    return rows


# --- what Q reads back -----------------------------------------------------------------------------------


def log_likelihood(code: np.ndarray, prediction: np.ndarray, *, spread: float) -> float:
    """Return the mean of log q(c | x), nats: a Gaussian around Q's prediction, cut off at -1 and 1.

    The code ends there, so a Q that knows nothing has a flat q of density 1/2 (`spread` to infinity) and
    its bound is 0; an uncut Gaussian would be charged .18 nats for what it puts beyond.
    """
    inside = ndtr((1 - prediction) / spread) - ndtr((-1 - prediction) / spread)
    return float(np.mean(norm.logpdf(code, prediction, spread) - np.log(inside)))


def fitted_spread(code: np.ndarray, prediction: np.ndarray) -> float:
    """Return the standard deviation under which codes [n] in [-1, 1] are likeliest around predictions [n]."""
    code, prediction = np.asarray(code, float), np.asarray(prediction, float)

    def loss(logarithm: float) -> float:
        return -log_likelihood(code, prediction, spread=math.exp(logarithm))

    return math.exp(minimize_scalar(loss, bounds=SPREADS, method="bounded").x)


def continuous_bound(code: np.ndarray, prediction: np.ndarray, *, spread: float) -> float:
    """Return the lower bound H(c) + E log q(c | x) of the mutual information, nats (P eq. 2; InfoGAN eq. 4).

    H(c) = ln 2 for c ~ U(-1, 1). About 0: Q knows nothing; a little below where `spread` does not fit.
    """
    prediction = np.asarray(prediction, float)
    return math.log(2) + log_likelihood(np.asarray(code, float), prediction, spread=spread)


def categorical_bound(one_hot: np.ndarray, logits: np.ndarray) -> float:
    """Return ln(classes) less the cross-entropy of logits [n, classes], nats; ln(classes) is all there is."""
    truth = log_softmax(np.asarray(logits, float), axis=1)[one_hot.astype(bool)]
    return math.log(one_hot.shape[1]) + float(truth.mean())


def bounds(gan: TrainedGan, settings: LatentSettings) -> dict[str, list[float]]:
    """Return code name -> the bound on each draw of `settings.images` generated images, nats.

    Q's spread is fitted on one more draw, which is then left out: a bound fitted on its own images would
    promise a little too much.
    """
    split, found, spreads = gan.settings.noise, {}, {}
    for draw in range(settings.draws + 1):
        latents = gan.draw(settings.images, [settings.seed, 2 + draw])
        prediction = gan.read(gan.generate(latents))
        for code in codes_of(gan.settings):
            truth = latents[:, code.columns]
            guess = prediction[:, code.columns.start - split : code.columns.stop - split]
            if draw == 0:
                spreads[code.name] = 0.0 if code.classes else fitted_spread(truth[:, 0], guess[:, 0])
                found[code.name] = []
            elif code.classes:
                found[code.name].append(categorical_bound(truth, guess))
            else:
                bound = continuous_bound(truth[:, 0], guess[:, 0], spread=spreads[code.name])
                found[code.name].append(bound)
    return found


def bound_rows(gan: TrainedGan, settings: LatentSettings) -> list[Row]:
    """Return the bounds as rows; low and high enclose the middle 95 % of the draws. The codes' sum last."""
    found, count = bounds(gan, settings), settings.draws * settings.images
    # codes are drawn independently, so what Q reads of each adds up
    found["all codes"] = np.sum(list(found.values()), axis=0).tolist()
    note = (
        "H(c) + E log q(c|x), last step's Q; 0: Q knows nothing; low, high: middle 95 % of "
        f"{settings.draws} draws of images"
    )
    return [
        row(gan.seed, "information_bound", item, Estimate(float(np.mean(values)), *middle(values), count),
            unit="nats", note=note)
        for item, values in found.items()
    ]  # fmt: skip


def code_lines(gans: Sequence[TrainedGan], settings: LatentSettings, resampling: Resampling) -> list[Row]:
    """Return effects and bounds of every seed's codes."""
    progress, lines = Progress("latent codes", total=2 * len(gans), unit="part"), []
    for number, gan in enumerate(gans):
        lines += effect_rows(gan, settings, resampling)
        progress.update(2 * number + 1)
        lines += bound_rows(gan, settings)
        progress.update(2 * number + 2)
    return lines


# --- generated images beside photos ----------------------------------------------------------------------


def feature_spaces(study: Study, settings: LatentSettings, overrides: dict[str, Any] | None) -> list[Space]:
    """Return HOG and, where its real ImageNet weights are here, the feature network."""
    spaces = [Space("hog", "HOG, no feature network", histogram_of_gradients)]
    name = settings.feature_network
    if not name:
        return spaces
    rules = load_network_settings(study.paths.profile, overrides)
    weights = {one.network: one.path for one in recorded(study.paths.profile, rules)}
    if name not in weights:
        known = ", ".join(weights)
        raise InputError(f"params.yaml, latent_codes.feature_network: one of {known}; got {name!r}")
    found = weights[name]
    return spaces + ([network_space(name, rules, found, side=settings.feature_size)] if found else [])


def network_space(name: str, rules: NetworkSettings, weights: Path, *, side: int) -> Space:
    """Return an ImageNet network's pooled last convolution as a feature space.

    Photos and generated images alike come from the catalogue's size, enlarged to `side` pixels square; a
    network that saw the photos' own files would tell them apart by their sharpness alone.
    """
    embedder = NetworkEmbedder(Variant(name), dataclasses.replace(rules, input_size=side), weights=weights)

    def features(images: np.ndarray) -> np.ndarray:
        squares = [fit_to(Image.fromarray(one), size=(side, side), fit="stretch") for one in images]
        return embedder.embed(np.stack(squares))

    words = f"ImageNet {name} at {side} pixels; not Inception, so no published KID compares"
    return Space(name, words, features)


def image_sets(study: Study, gans: Sequence[TrainedGan], settings: LatentSettings) -> list[ImageSet]:
    """Return the images that are compared, equally many of each kind; the test photos are the reference.

    Raises InputError where there are too few photos for the subsets and balls of params.yaml.
    """
    count, fewest = _count(study, settings), max(2 * settings.subset, settings.neighbours + 1)
    if count < fewest:
        rule = f"lower latent_codes.subset or neighbours in params.yaml ({fewest} photos are needed)"
        raise InputError(f"{study.paths.photos}: {count} test photos; {rule}")
    return [*generated_sets(study, gans, settings), *photo_sets(study, settings)]


def generated_sets(study: Study, gans: Sequence[TrainedGan], settings: LatentSettings) -> list[ImageSet]:
    """Return images of each seed's generator, as training ended and as it began; none is picked."""
    count, sets = _count(study, settings), []
    for gan in gans:
        latents = gan.draw(count, [settings.seed, 3 + settings.draws])
        sets.append(ImageSet(GENERATED, gan.seed, to_pixels(gan.generate(latents))))
        before = untrained_images(study.gan, latents, seed=gan.seed)
        sets.append(ImageSet(UNTRAINED, gan.seed, to_pixels(before)))
    return sets


def photo_sets(study: Study, settings: LatentSettings) -> list[ImageSet]:
    """Return as many test photos, training photos and images of plain noise, drawn from the seed."""
    count, random = _count(study, settings), np.random.default_rng(settings.seed)
    sets = []
    for name, split in ((TEST, "test"), (TRAINING, "training")):
        pixels = study.split(split)[1]
        kept = np.sort(random.choice(len(pixels), min(count, len(pixels)), replace=False))
        sets.append(ImageSet(name, 0, pixels[kept]))
    shape = (count, *study.gan.image_size, 3)
    return [*sets, ImageSet(NOISE, 0, random.integers(0, 256, shape, dtype=np.uint8))]


def _count(study: Study, settings: LatentSettings) -> int:
    return min(settings.images, int((study.photos["split"] == "test").sum()))


def distance_lines(
    study: Study, sets: Sequence[ImageSet], settings: LatentSettings, overrides: dict[str, Any] | None = None
) -> list[Row]:
    """Return KID, density and coverage of all sets against test photos, in every feature space there is."""
    spaces = feature_spaces(study, settings, overrides)
    progress, lines = Progress("KID and coverage", total=len(spaces), unit="feature space"), []
    for number, space in enumerate(spaces, start=1):
        lines += distance_rows(sets, space, settings.rules())
        progress.update(number)
    return lines


def copy_lines(
    study: Study, sets: Sequence[ImageSet], settings: LatentSettings
) -> tuple[list[Row], dict[str, list[Nearest]]]:
    """Return the lines on copies and collapse, and space -> the nearest training photos, one entry a seed."""
    kept = [one for one in sets if one.name in (GENERATED, TEST)]
    training, lines, nearest = study.split("training")[1], [], {}
    for space in (Space("pixels", "raw pixels", raw_pixels), Space("hog", "HOG", histogram_of_gradients)):
        rows, found = copy_rows(kept, training, space, settings.rules())
        lines += rows
        nearest[space.name] = [one for one in found if one.images.name == GENERATED]
    return lines, nearest


def write_lines(study: Study, lines: Sequence[Row]) -> pd.DataFrame:
    """Write results/<profile>/latent_codes.csv (columns COLUMNS) and return it."""
    table = pd.DataFrame(lines, columns=COLUMNS)
    files.write_table(study.paths.result("latent_codes"), table)
    return table
