"""What every engine is tested on: a small catalogue with known distances."""

import numpy as np

from solesearch.core.embedding import Embedding

DIMENSIONS = 6


def catalogue(n: int = 40, d: int = DIMENSIONS, seed: int = 0) -> Embedding:
    vectors = np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)
    return Embedding([f"class/{i:03d} ü'\".jpg" for i in range(n)], vectors)


def nearest(
    made: Embedding, vector: np.ndarray, k: int, without: tuple[str, ...] = ()
) -> list[tuple[str, float]]:
    """The k nearest by a plain loop, (id, Euclidean distance)."""
    pairs = []
    for photo, other in zip(made.ids, made.vectors, strict=True):
        if photo not in without:
            pairs.append(
                (photo, sum((float(a) - float(b)) ** 2 for a, b in zip(vector, other, strict=True)) ** 0.5)
            )
    return sorted(pairs, key=lambda pair: pair[1])[:k]


def check_answers(index, made: Embedding, *, k: int = 4, without: tuple[str, ...] = ()) -> None:
    """Every photo as a query, against the plain loop."""
    answers = index.search_batch(made.vectors, k=k)
    for vector, answer in zip(made.vectors, answers, strict=True):
        wanted = nearest(made, vector, k, without)
        assert [one.id for one in answer] == [photo for photo, _ in wanted]
        np.testing.assert_allclose([one.distance for one in answer], [far for _, far in wanted], atol=1e-3)
