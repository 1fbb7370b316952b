"""What the codes of real photographs say of their classes, beside what else could say it.

Codes are read at the checkpoint that validation chose, since its features are those that the searches use.
Labels serve this judgement alone: the codes never saw one, and nothing is chosen by it.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import pandas as pd
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import adjusted_mutual_info_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from solesearch.beyond.sample_quality import CLASS_CODE, Estimate, Row, mean_with_interval, row
from solesearch.evaluation.study import Study
from solesearch.gan.embedder import in_batches
from solesearch.photos.photo import to_signed
from solesearch.photos.splits import UNLABELLED
from solesearch.retrieval.uncertainty import Resampling, resampling_units

JUDGED = ("validation", "test")
CODES, UNTRAINED_CODES = "codes", "untrained codes"
FEATURES, COMPONENTS = "features", "components of the features"
CHANCE, MAJORITY = "chance", "majority class"
Vectors = dict[str, np.ndarray]  # split -> float32 [n, d]


def read_codes(study: Study, *, seed: int, step: int) -> tuple[Vectors, Vectors]:
    """Return (codes, features) of each split's photos, by a seed's discriminator after `step` updates."""
    import tensorflow as tf

    network, codes, features = study.discriminator(seed=seed, step=step).discriminator, {}, {}

    @tf.function(input_signature=[tf.TensorSpec((None, *study.gan.image_size, 3), tf.float32)])
    def read(images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        output = network(images, training=False)
        return output.code, output.features  # alone: the other activations are far larger

    for split in ("training", *JUDGED):
        _, pixels = study.split(split)
        batches = in_batches(lambda batch: read(to_signed(batch)), pixels)
        codes[split], features[split] = (np.concatenate(part) for part in zip(*batches, strict=True))
    return codes, features


def compared(
    codes: Vectors, untrained: Vectors, features: Vectors, *, step: int, seed: int
) -> dict[str, tuple[Vectors, str]]:
    """Return item -> (vectors, note): the codes, those of an untrained Q, and what the features could say.

    Beside all features stand as many of their principal components as there are codes, drawn by `seed`.
    """
    count = min(codes["test"].shape[1], *features["training"].shape)
    model = PCA(count, svd_solver="randomized", random_state=seed).fit(features["training"])
    components = {split: model.transform(vectors) for split, vectors in features.items()}
    return {
        CODES: (codes, f"Q at step {step}, chosen on validation photos"),
        UNTRAINED_CODES: (untrained, "Q at step 0"),
        COMPONENTS: (components, f"the first {count} of the same step's features"),
        FEATURES: (features, f"{features['test'].shape[1]} values of the same step"),
    }


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


def labels_of(study: Study) -> dict[str, pd.Series]:
    """Return split -> photo id -> class."""
    return {split: photos.set_index("id")["label"] for split, photos in study.photos.groupby("split")}


def probe_rows(
    study: Study, vectors: Vectors, resampling: Resampling, *, seed: int, item: str, note: str
) -> list[Row]:
    """Return how well vectors predict the classes of validation and test photos, as rows of latent_codes.csv.

    Fitted on the training photos that have a class; intervals over products.
    """
    labels, rows = labels_of(study), []
    known = (labels["training"] != UNLABELLED).to_numpy()
    fitted = vectors["training"][known], labels["training"].to_numpy()[known]
    units = resampling_units(study.photos, window=study.evaluation.exclusion_window)
    words = f"{note}; logistic regression on training photos; 95 % interval over products"
    for split, answer in zip(JUDGED, probe(*fitted, [vectors[split] for split in JUDGED]), strict=True):
        unit = units[labels[split].index].to_numpy()
        found = mean_with_interval(answer == labels[split].to_numpy(), unit, resampling)
        rows.append(row(seed, f"probe_{split}", item, found, unit="accuracy", note=words))
    return rows


def reference_rows(study: Study) -> list[Row]:
    """Return the accuracy of guessing, and of always naming the class most frequent in training."""
    labels, rows = labels_of(study), []
    known = labels["training"][labels["training"] != UNLABELLED]
    most, classes = known.mode()[0], known.nunique()
    for split in JUDGED:
        for item, value, note in (
            (CHANCE, 1 / classes, f"1 of {classes} classes"),
            (MAJORITY, float((labels[split] == most).mean()), "most frequent among training photos"),
        ):
            estimate = Estimate(value, n=len(labels[split]))
            rows.append(row(0, f"probe_{split}", item, estimate, unit="accuracy", note=note))
    return rows


def class_code_rows(study: Study, codes: Vectors, *, seed: int) -> list[Row]:
    """Return the adjusted mutual information of the class code's first choice and the photos' classes."""
    labels, rows = labels_of(study), []
    note = "largest logit against the class; 0: as by chance, 1: the same partition"
    for split in JUDGED:
        choice = codes[split][:, study.gan.continuous_codes :].argmax(axis=1)
        shared = float(adjusted_mutual_info_score(labels[split], choice))
        measure, found = f"adjusted_mutual_information_{split}", Estimate(shared, n=len(choice))
        rows.append(row(seed, measure, CLASS_CODE, found, unit="share", note=note))
    return rows
