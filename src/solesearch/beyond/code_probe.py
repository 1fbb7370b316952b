"""What the codes of real photographs say of their classes, beside what else could say it.

Codes are read at the checkpoint that validation chose, since its features are those that the searches use.
Labels serve this judgement alone: the codes never saw one, and nothing is chosen by it.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import adjusted_mutual_info_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from solesearch.beyond.sample_quality import Estimate, Row, mean_with_interval, row
from solesearch.core.checkpoints import checkpoint_file
from solesearch.core.settings import GanSettings
from solesearch.evaluation.study import Study, chosen_steps, read_checkpoints
from solesearch.gan.embedder import BATCH, Embedder
from solesearch.photos.photo import to_signed
from solesearch.photos.splits import UNLABELLED
from solesearch.retrieval.uncertainty import Resampling, resampling_units

JUDGED = ("validation", "test")
CODES, UNTRAINED_CODES = "codes", "untrained codes"
FEATURES, COMPONENTS = "features", "components of the features"
CHANCE, MAJORITY = "chance", "majority class"
Vectors = Mapping[str, np.ndarray]  # split -> float32 [n, d]


class CodeReader(Embedder):
    """A discriminator whose weights can be exchanged: photos in, codes and features out."""

    def __init__(self, settings: GanSettings, *, seed: int):
        """Build the network of `settings` with the weights that `seed` draws."""
        import tensorflow as tf

        super().__init__(settings, seed=seed)
        signature = [tf.TensorSpec((None, *settings.image_size, 3), tf.float32)]
        self.both = tf.function(
            lambda images: self.discriminator(images, training=False)[1:3], input_signature=signature
        )

    def read(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return codes float32 [n, codes] and features float32 [n, d] of uint8 pixels [n, h, w, 3]."""
        starts = range(0, len(pixels), BATCH)
        found = [self.both(to_signed(pixels[start : start + BATCH])) for start in starts]
        codes, features = zip(*found, strict=True)
        return np.concatenate(codes), np.concatenate(features)


def probe(training: np.ndarray, labels: np.ndarray, others: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return the classes that a logistic regression on vectors [n, d] and labels [n] gives to `others`.

    Each column is scaled to the spread of the training vectors first; scikit-learn's L2 penalty, C = 1. One
    thread: the products are many and small, and on a busy machine two threads took eighteen times as long.
    """
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=300))
    with threadpool_limits(1), warnings.catch_warnings():
        # separable classes never quite converge; their answers do
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(training, labels)
    return [model.predict(vectors) for vectors in others]


def probe_rows(study: Study, resampling: Resampling, *, seed: int) -> list[Row]:
    """Return how well the codes of real photos predict their classes, as rows of latent_codes.csv.

    Fitted on training photos, judged on validation photos and once on test photos; intervals over products.
    Beside the codes: an untrained Q's, as many principal components of the features (drawn with `seed`), all
    features, the most frequent class, and chance. A class code is also held against the classes directly.
    """
    steps, reader = chosen_steps(read_checkpoints(study)), CodeReader(study.gan, seed=study.seeds[0])
    rows = reference_rows(study)
    for training in study.seeds:
        codes, features = _read_all(study, reader, seed=training, step=steps[training])
        untrained, _ = _read_all(study, reader, seed=training, step=0)
        components = _components(features, count=codes["test"].shape[1], seed=seed)
        found = {
            CODES: (codes, f"Q at step {steps[training]}, chosen on validation photos"),
            UNTRAINED_CODES: (untrained, "Q at step 0"),
            COMPONENTS: (components, f"the first {components['test'].shape[1]} of the same step's features"),
            FEATURES: (features, f"{features['test'].shape[1]} values of the same step"),
        }
        for item, (vectors, note) in found.items():
            rows += _probe_lines(study, resampling, training, item, vectors, note)
        if study.gan.categorical_codes:
            rows += class_code_rows(study, codes, seed=training)
    return rows


def _read_all(study: Study, reader: CodeReader, *, seed: int, step: int) -> tuple[Vectors, Vectors]:
    reader.load(checkpoint_file(study.paths.gan_seed(seed), step))
    read = {name: reader.read(study.split(name)[1]) for name in ("training", *JUDGED)}
    return {name: one[0] for name, one in read.items()}, {name: one[1] for name, one in read.items()}


def _components(features: Vectors, *, count: int, seed: int) -> Vectors:
    count = min(count, *features["training"].shape)
    model = PCA(count, svd_solver="randomized", random_state=seed).fit(features["training"])
    return {name: model.transform(vectors) for name, vectors in features.items()}


def _probe_lines(
    study: Study, resampling: Resampling, seed: int, item: str, vectors: Vectors, note: str
) -> list[Row]:
    labels = study.split("training")[0]["label"].to_numpy()
    known, rows = labels != UNLABELLED, []  # photos that only train the GAN have no class
    answers = probe(vectors["training"][known], labels[known], [vectors[name] for name in JUDGED])
    units = resampling_units(study.photos, window=study.evaluation.exclusion_window)
    for name, answer in zip(JUDGED, answers, strict=True):
        photos = study.split(name)[0]
        unit = pd.factorize(units[photos["id"]].to_numpy())[0]
        found = mean_with_interval(answer == photos["label"].to_numpy(), unit, resampling)
        words = f"{note}; logistic regression on training photos; 95 % interval over products"
        rows.append(row(seed, f"probe_{name}", item, found, unit="accuracy", note=words))
    return rows


def reference_rows(study: Study) -> list[Row]:
    """Return the accuracy of guessing, and of always naming the class most frequent in training."""
    labels, rows = study.split("training")[0]["label"], []
    labels = labels[labels != UNLABELLED]
    most, classes = labels.mode()[0], labels.nunique()
    for name in JUDGED:
        found = study.split(name)[0]["label"]
        chance = Estimate(1 / classes, n=len(found))
        majority = Estimate(float((found == most).mean()), n=len(found))
        words = (f"1 of {classes} classes", "most frequent among training photos")
        for item, value, note in zip((CHANCE, MAJORITY), (chance, majority), words, strict=True):
            rows.append(row(0, f"probe_{name}", item, value, unit="accuracy", note=note))
    return rows


def class_code_rows(study: Study, codes: Vectors, *, seed: int) -> list[Row]:
    """Return the adjusted mutual information of the class code's first choice and the photos' classes."""
    rows, note = [], "largest logit against the class; 0: as by chance, 1: the same partition"
    for name in JUDGED:
        labels = study.split(name)[0]["label"]
        choice = codes[name][:, study.gan.continuous_codes :].argmax(axis=1)
        found = Estimate(float(adjusted_mutual_info_score(labels, choice)), n=len(labels))
        measure = f"adjusted_mutual_information_{name}"
        rows.append(row(seed, measure, "class code", found, unit="share", note=note))
    return rows
