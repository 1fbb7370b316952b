"""What the InfoGAN's codes learned: what each changes in the image, and what Q can read back of it.

Generator and Q are taken as training ended: the generator is kept at the last step only, and its images are
what Q was trained to read. Codes of real photographs are read elsewhere, at the chosen step (code_probe.py).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from PIL import Image
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax
from scipy.stats import truncnorm

from solesearch.beyond.latent_settings import LatentSettings
from solesearch.beyond.sample_quality import (
    ALL_CODES,
    CLASS_CODE,
    CODES_REDRAWN,
    GENERATED,
    NOISE,
    NOISE_REDRAWN,
    TEST,
    TRAINING,
    UNTRAINED,
    Estimate,
    ImageSet,
    Row,
    Space,
    mean_with_interval,
    middle,
    row,
)
from solesearch.core.checkpoints import load_variables
from solesearch.core.errors import InputError, not_made_yet
from solesearch.core.model_names import NetworkRow
from solesearch.core.settings import GanSettings
from solesearch.evaluation.study import Study
from solesearch.gan.embedder import in_batches
from solesearch.gan.infogan import InfoGan, build_generator, sample_latent
from solesearch.networks.networks import NetworkEmbedder, NetworkSettings
from solesearch.networks.weights import recorded
from solesearch.photos.photo import fit_to, to_pixels
from solesearch.retrieval.controls import histogram_of_gradients
from solesearch.retrieval.controls import pixels as raw_pixels
from solesearch.retrieval.uncertainty import Resampling

GREY = 127.5  # grey levels of 255 in one unit of [-1, 1]
SPREADS = (-7.0, 5.0)  # logarithms of Q's standard deviation: from 0.001 to 150, which is flat
HOG = Space("hog", "HOG", histogram_of_gradients)
PIXELS = Space("pixels", "raw pixels", raw_pixels)


# --- codes and the trained networks ----------------------------------------------------------------------


class Code(NamedTuple):
    """One code: its name, and its columns in the latent vector [noise + codes]; several: one-hot classes."""

    name: str
    columns: slice

    @property
    def classes(self) -> int:
        """Return the number of classes; 0 for a continuous code."""
        return self.columns.stop - self.columns.start if self.name == CLASS_CODE else 0

    def set(self, latents: np.ndarray, value: float) -> np.ndarray:
        """Return a copy of latents [n, z] with this code at `value`: a number, or the number of a class."""
        changed = latents.copy()
        changed[:, self.columns] = np.eye(self.classes)[int(value)] if self.classes else value
        return changed

    def ends(self) -> list[tuple[float, float]]:
        """Return between which values a change is measured: the ends, or each class and the next one."""
        return [(k, (k + 1) % self.classes) for k in range(self.classes)] or [(-1, 1)]


def codes_of(settings: GanSettings) -> list[Code]:
    """Return the codes of an InfoGAN: `code 1` and so on, then the class code if it has one."""
    first, count = settings.noise, settings.continuous_codes
    codes = [Code(f"code {n + 1}", slice(first + n, first + n + 1)) for n in range(count)]
    classes = Code(CLASS_CODE, slice(first + count, first + settings.code_size))
    return [*codes, classes] if settings.categorical_codes else codes


class TrainedGan:
    """One seed's generator and Q as training ended, compiled: latents to images to codes."""

    def __init__(self, study: Study, *, seed: int):
        """Build both and load the last state; raises InputError when training left none or has not ended."""
        settings, state = study.gan, study.paths.gan_seed(seed) / "state.npz"
        if not state.is_file():
            raise not_made_yet(state, made_by="stage train, with the generator in it,")
        gan = InfoGan(settings, seed=seed)
        load_variables(state, gan.state_variables())
        if (step := int(gan.steps_done.numpy())) != settings.steps:
            raise InputError(
                f"{state}: training stands at step {step} of {settings.steps}; run stage train to its end"
            )
        self.settings, self.seed = settings, seed
        latents = tf.TensorSpec((None, settings.noise + settings.code_size), tf.float32)
        images = tf.TensorSpec((None, *settings.image_size, 3), tf.float32)
        self.generator = tf.function(lambda z: gan.generator(z, training=False), input_signature=[latents])
        self.code = tf.function(lambda x: gan.discriminator(x, training=False).code, input_signature=[images])

    def draw(self, count: int, place: list[int]) -> np.ndarray:
        """Return latents, float32 [count, noise + codes], from their prior; `place` [2] seeds the draw."""
        return sample_latent(self.settings, count=count, seed=tf.constant(place))[0].numpy()

    def generate(self, latents: np.ndarray) -> np.ndarray:
        """Return images, float32 [n, h, w, 3] in (-1, 1), of latents [n, z]; batch norm as at inference."""
        return np.concatenate(in_batches(self.generator, latents.astype(np.float32)))

    def read(self, images: np.ndarray) -> np.ndarray:
        """Return Q's codes, float32 [n, codes], of images [n, h, w, 3] in [-1, 1]; dropout is off."""
        return np.concatenate(in_batches(self.code, images))


def untrained_images(settings: GanSettings, latents: np.ndarray, *, seed: int) -> np.ndarray:
    """Return the images, float32 [n, h, w, 3], that the generator of `seed` made before its first step."""
    generator = build_generator(settings, seed=seed)
    return np.concatenate(in_batches(lambda batch: generator(batch, training=False), latents))


# --- what each code changes ------------------------------------------------------------------------------


def traversals(gan: TrainedGan, settings: LatentSettings) -> dict[str, np.ndarray]:
    """Return code name -> its images at `settings.values`, uint8 [values, h, w, 3], the same noise in all.

    The other codes are at 0, the middle of their range; the class code, where there is one, at its first.
    """
    codes, base, rows = codes_of(gan.settings), gan.draw(1, [settings.seed, 0]), {}
    for code in codes:
        base = code.set(base, 0)
    for code in codes:
        values = list(range(code.classes))[: len(settings.values)] or settings.values
        rows[code.name] = to_pixels(gan.generate(np.concatenate([code.set(base, value) for value in values])))
    return rows


def effects(gan: TrainedGan, latents: np.ndarray) -> dict[str, np.ndarray]:
    """Return item -> mean absolute change of each image, float64 [n], in grey levels of 255.

    Each of the latents [n, z] is drawn anew, noise and codes. A code goes from one end of its range to the
    other with all else kept; the last two items redraw the noise, and all codes, for comparison.
    """
    changes = {}
    for code in codes_of(gan.settings):
        pairs = [change(gan, code.set(latents, a), code.set(latents, b)) for a, b in code.ends()]
        changes[code.name] = np.mean(pairs, axis=0)
    split, others = gan.settings.noise, np.roll(latents, 1, axis=0)
    changes[NOISE_REDRAWN] = change(gan, latents, np.hstack([others[:, :split], latents[:, split:]]))
    changes[CODES_REDRAWN] = change(gan, latents, np.hstack([latents[:, :split], others[:, split:]]))
    return changes


def change(gan: TrainedGan, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return how far the images of two latents [n, z] lie apart, float64 [n]: mean grey levels a pixel."""
    gap = np.abs(gan.generate(first).astype(np.float64) - gan.generate(second))
    return gap.mean(axis=(1, 2, 3)) * GREY


def effect_rows(gan: TrainedGan, settings: LatentSettings, resampling: Resampling) -> list[Row]:
    """Return the effects as rows, with intervals over the latents."""
    latents, rows = gan.draw(settings.noises, [settings.seed, 1]), []
    ends = "from one end of the code to the other; 0: dead; 95 % interval over noises"
    for item, changes in effects(gan, latents).items():
        found = mean_with_interval(changes, np.arange(len(changes)), resampling)
        redrawn = item in (NOISE_REDRAWN, CODES_REDRAWN)
        words = "mean absolute pixel change" + (", for comparison" if redrawn else f" {ends}")
        rows.append(row(gan.seed, "effect", item, found, unit="grey levels of 255", note=words))
    return rows


# --- what Q reads back -----------------------------------------------------------------------------------


def continuous_bound(code: np.ndarray, prediction: np.ndarray, *, spread: float) -> float:
    """Return the lower bound H(c) + E log q(c | x) of the mutual information, nats (P eq. 2; InfoGAN eq. 4).

    H(c) = ln 2 for codes c [n] ~ U(-1, 1). q is a Gaussian around Q's predictions [n], cut off at -1 and 1
    where the code ends: so a Q that knows nothing has a flat q of density 1/2 (`spread` to infinity) and its
    bound is 0, a little below where `spread` does not fit; an uncut Gaussian would be charged .18 nats for
    what it puts beyond.
    """
    code, prediction = np.asarray(code, float), np.asarray(prediction, float)
    ends = (-1 - prediction) / spread, (1 - prediction) / spread
    return math.log(2) + float(truncnorm.logpdf(code, *ends, loc=prediction, scale=spread).mean())


def fitted_spread(code: np.ndarray, prediction: np.ndarray) -> float:
    """Return the standard deviation under which codes in [-1, 1] are likeliest around as many predictions."""

    def loss(logarithm: float) -> float:
        return -continuous_bound(code, prediction, spread=math.exp(logarithm))

    return math.exp(minimize_scalar(loss, bounds=SPREADS, method="bounded").x)


def categorical_bound(one_hot: np.ndarray, logits: np.ndarray) -> float:
    """Return ln(classes) less the cross-entropy of logits [n, classes], nats; ln(classes) is all there is."""
    truth = log_softmax(np.asarray(logits, float), axis=1)[one_hot.astype(bool)]
    return math.log(one_hot.shape[1]) + float(truth.mean())


def read_back(gan: TrainedGan, settings: LatentSettings, *, draw: int) -> dict[str, list[np.ndarray]]:
    """Return code name -> [its values, what Q reads] of one draw of images, float [n, columns] each."""
    latents = gan.draw(settings.images, [settings.seed, 2 + draw])
    read = np.hstack(
        [latents[:, : gan.settings.noise], gan.read(gan.generate(latents))]
    )  # [n, noise + codes]
    return {code.name: [latents[:, code.columns], read[:, code.columns]] for code in codes_of(gan.settings)}


def bounds(gan: TrainedGan, settings: LatentSettings) -> dict[str, list[float]]:
    """Return code name -> the bound on each draw of `settings.images` generated images, nats.

    Q's spread is fitted on one more draw, which is then left out: a bound fitted on its own images would
    promise a little too much.
    """
    fitted, *draws = [read_back(gan, settings, draw=draw) for draw in range(settings.draws + 1)]
    found = {}
    for name, known in fitted.items():
        if name == CLASS_CODE:
            found[name] = [categorical_bound(*draw[name]) for draw in draws]
        else:
            spread = fitted_spread(*known)
            found[name] = [continuous_bound(*draw[name], spread=spread) for draw in draws]
    return found


def bound_rows(gan: TrainedGan, settings: LatentSettings) -> list[Row]:
    """Return the bounds as rows; low and high enclose the middle 95 % of the draws. The codes' sum last."""
    found, count = bounds(gan, settings), settings.draws * settings.images
    # codes are drawn independently, so what Q reads of each adds up
    found[ALL_CODES] = np.sum(list(found.values()), axis=0).tolist()
    note = (
        "H(c) + E log q(c|x), last step's Q; 0: Q knows nothing; low, high: middle 95 % of "
        f"{settings.draws} draws of images"
    )
    rows = []
    for item, values in found.items():
        estimate = Estimate(float(np.mean(values)), *middle(values), count)
        rows.append(row(gan.seed, "information_bound", item, estimate, unit="nats", note=note))
    return rows


# --- generated images beside photos ----------------------------------------------------------------------


def feature_spaces(study: Study, settings: LatentSettings) -> list[Space]:
    """Return HOG and, where its real ImageNet weights are here, the feature network's last convolution.

    Photos and generated images alike come from the catalogue's size, enlarged to `feature_size`; a network
    that saw the photos' own files would tell them apart by their sharpness alone.
    """
    hog, name = HOG._replace(words="HOG, no feature network"), settings.feature_network
    if not name:
        return [hog]
    rules = NetworkSettings.load(study.paths.profile)
    weights = {one.network: one.path for one in recorded(study.paths.profile, rules)}
    if name not in weights:
        known = ", ".join(weights)
        raise InputError(f"params.yaml, latent_codes.feature_network: one of {known}; got {name!r}")
    if weights[name] is None:
        return [hog]
    side = settings.feature_size
    sized = rules.model_copy(update={"input_size": side})
    embedder = NetworkEmbedder(NetworkRow(name), sized, weights=weights[name])

    def features(images: np.ndarray) -> np.ndarray:
        squares = [fit_to(Image.fromarray(image), size=(side, side), fit="stretch") for image in images]
        return embedder.embed(np.stack(squares))

    words = f"ImageNet {name} at {side} pixels; not Inception, so no published KID compares"
    return [hog, Space(name, words, features)]


def image_sets(study: Study, gans: Sequence[TrainedGan], settings: LatentSettings) -> list[ImageSet]:
    """Return the images that are compared, equally many of each kind, none picked; test photos are reference.

    Of each seed the generator's as training ended and as it began; test and training photos; plain noise.
    Raises InputError where there are too few photos for the subsets and balls of params.yaml.
    """
    parts = {TEST: study.split("test")[1], TRAINING: study.split("training")[1]}
    count, fewest = min(settings.images, len(parts[TEST])), max(2 * settings.subset, settings.neighbours + 1)
    if count < fewest:
        rule = f"lower latent_codes.subset or neighbours in params.yaml ({fewest} photos are needed)"
        raise InputError(f"{study.paths.photos}: {count} test photos; {rule}")
    sets, random = [], np.random.default_rng(settings.seed)
    for gan in gans:
        latents = gan.draw(count, [settings.seed, 3 + settings.draws])
        before = untrained_images(study.gan, latents, seed=gan.seed)
        sets.append(ImageSet(GENERATED, gan.seed, to_pixels(gan.generate(latents))))
        sets.append(ImageSet(UNTRAINED, gan.seed, to_pixels(before)))
    for name, pixels in parts.items():
        kept = np.sort(random.choice(len(pixels), min(count, len(pixels)), replace=False))
        sets.append(ImageSet(name, 0, pixels[kept]))
    noise = random.integers(0, 256, (count, *study.gan.image_size, 3), dtype=np.uint8)
    return [*sets, ImageSet(NOISE, 0, noise)]
