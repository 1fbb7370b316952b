"""Every engine on the same vectors and queries: pinned threads, warm-up first, then medians.

The exact answers come from FAISS's Flat index. Sizes beyond the catalogue are filled with perturbed copies of
its vectors, and the table says so.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field
from threadpoolctl import threadpool_info, threadpool_limits

from solesearch.core.errors import InputError
from solesearch.core.progress import Progress
from solesearch.core.settings import Section
from solesearch.core.timing import time_calls
from solesearch.index.engines import Annoy, Engine, Evaluation, Faiss, Hnswlib, Numpy, ScikitLearn
from solesearch.index.milvus import Milvus
from solesearch.index.mongodb import MongoDB

ENGINES = {
    engine.name: engine for engine in (Faiss, Evaluation, Numpy, ScikitLearn, Annoy, Hnswlib, MongoDB, Milvus)
}
K = 5  # the column is called recall_at_5
COLUMNS = [
    "engine", "index", "n", "dim", "build_s", "query_ms_median", "query_ms_p95", "queries_per_s_batch",
    "batch_times_flat", "recall_at_5", "bytes_per_vector", "threads", "kernel", "vectors", "server",
]  # fmt: skip
REAL, COPIES = "real", "perturbed copies"  # what the vectors are
CATALOGUE = "catalogue"  # as a size: every real vector that is not a query
LEAST_RUNS, BATCH_RUNS = 3, 5
OPENBLAS = {"faiss": "faiss", "evaluation": "numpy", "numpy": "numpy", "scikit-learn": "scipy"}


class Candidate(BaseModel):
    """One line of `candidates`: an engine, how many photos it takes at most, and its own options."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)
    engine: Literal[tuple(ENGINES)]
    most: int | None = Field(None, gt=K)


class IndexSettings(Section, section="index"):
    """What is measured and how; `params.yaml` holds the values."""

    factory: str  # FAISS's factory string and search parameters of the catalogue's own index
    effort: str
    sizes: list[Literal["catalogue"] | Annotated[int, Field(gt=K)]] = Field(min_length=1)
    queries: int = Field(ge=1)
    warm_up: int = Field(ge=0)
    runs: int = Field(ge=1)
    longest_s: float = Field(gt=0)
    threads: int = Field(ge=1)
    build_threads: int = Field(ge=1)
    perturbation: float = Field(gt=0)
    seed: int
    candidates: list[Candidate] = Field(min_length=1)


# --- vectors ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Trial:
    """The vectors float32 [n, d] to index, the queries [q, d], and the exact answers to them."""

    vectors: np.ndarray
    queries: np.ndarray
    kind: str  # REAL or COPIES
    flat: Faiss  # FAISS's exact index, the yardstick
    nearest: np.ndarray  # its answers: rows int64 [q, 5]

    @classmethod
    def of(cls, vectors: np.ndarray, queries: np.ndarray, *, kind: str) -> Trial:
        """Return the trial with the answers of FAISS's Flat index."""
        flat = Faiss(factory="Flat")
        flat.fit(vectors)
        return cls(vectors, queries, kind, flat, flat.query(queries, k=K)[1])


def split_queries(vectors: np.ndarray, *, queries: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (rest, queries), float32: `queries` vectors drawn by `seed` are asked and not indexed."""
    if len(vectors) < queries + 2 * K:
        raise InputError(f"{len(vectors)} vectors are too few for {queries} queries; lower index.queries")
    order = np.random.default_rng(seed).permutation(len(vectors))
    return vectors[order[queries:]], vectors[order[:queries]]


def enlarged(vectors: np.ndarray, *, size: int, perturbation: float, seed: int) -> np.ndarray:
    """Return `size` vectors float32: the real ones first, then perturbed copies of them in turn.

    A copy is x + perturbation * (y - z) / sqrt(2) with y, z drawn from the real ones, so that its noise has
    the real vectors' own covariance; white noise would fill all 1,536 dimensions, which photographs do not.
    """
    real = len(vectors)
    made = np.empty((size, vectors.shape[1]), dtype=np.float32)
    made[:real] = vectors[:size]
    random = np.random.default_rng(seed)
    for start in range(real, size, real):
        count = min(real, size - start)
        first, second = random.integers(0, real, (2, count))
        difference = (vectors[first] - vectors[second]) * np.float32(perturbation / 2**0.5)
        made[start : start + count] = vectors[:count] + difference
    return made


# --- measuring -------------------------------------------------------------------------------------------


def times_flat(engine: Engine, trial: Trial, *, longest_s: float) -> float:
    """Return how many times as fast as FAISS's Flat index a batch is: the median of runs taken in turn.

    In turn, since a machine's speed drifts by more than exact engines differ.
    """

    def compare() -> None:
        begun = time.perf_counter()
        trial.flat.query(trial.queries, k=K)
        between = time.perf_counter()
        engine.query(trial.queries, k=K)
        ratios.append((between - begun) / (time.perf_counter() - between))

    ratios: list[float] = []
    time_calls(compare, warm_up=0, runs=BATCH_RUNS, least_runs=LEAST_RUNS, longest_s=longest_s)
    return float(np.median(ratios))


def recall(found: np.ndarray, nearest: np.ndarray) -> float:
    """Return the share of the exact neighbours `nearest` that are in `found`, rows int64 [q, k] both."""
    return float((nearest[:, :, None] == found[:, None, :]).any(axis=2).mean())


def answers_and_speeds(engine: Engine, trial: Trial, *, settings: IndexSettings) -> dict[str, float]:
    """Return the columns of index.csv that tell what a built engine answers, and how fast.

    The first batch is the one whose answers are judged; an engine that takes long for it makes fewer runs.
    """
    queries, longest_s, start = trial.queries, settings.longest_s, time.perf_counter()
    found = engine.query(queries, k=K)[1]
    slow = time.perf_counter() - start > longest_s
    next_query = cycle(queries[:, None])
    single = time_calls(
        lambda: engine.query(next(next_query), k=K),
        warm_up=1 if slow else settings.warm_up,
        runs=settings.runs,
        least_runs=LEAST_RUNS,
        longest_s=longest_s,
    )
    runs = {"warm_up": 0, "runs": 1 if slow else BATCH_RUNS, "least_runs": 1, "longest_s": longest_s}
    batch = time_calls(lambda: engine.query(queries, k=K), **runs)
    compared = isinstance(engine, Evaluation)
    return {
        "query_ms_median": float(np.median(single)) * 1000,
        "query_ms_p95": float(np.quantile(single, 0.95)) * 1000,
        "queries_per_s_batch": len(queries) / float(np.median(batch)),
        "batch_times_flat": times_flat(engine, trial, longest_s=longest_s) if compared else np.nan,
        "recall_at_5": recall(found, trial.nearest),
    }


def measure(engine: Engine, trial: Trial, *, settings: IndexSettings) -> dict[str, Any]:
    """Build an engine on a trial's vectors, ask it every query, and return its row of index.csv."""
    with threadpool_limits(settings.build_threads):
        engine.threads, start = settings.build_threads, time.perf_counter()
        engine.fit(trial.vectors)
        build_s = time.perf_counter() - start
    with threadpool_limits(settings.threads):
        answered = answers_and_speeds(engine, trial, settings=settings)
    return {
        "engine": engine.name,
        "index": engine.description,
        "n": len(trial.vectors),
        "dim": trial.vectors.shape[1],
        "build_s": build_s,
        **answered,
        "bytes_per_vector": engine.bytes_per_vector(),
        "threads": settings.threads,
        "kernel": openblas_kernel(engine.name),
        "vectors": trial.kind,
        "server": engine.server,
    }


def openblas_kernel(engine: str) -> str:
    """Return the matrix kernel that an engine's OpenBLAS chose on this processor, `Zen (OpenBLAS 0.3.15)`.

    Empty where the engine brings none or OpenBLAS cannot be asked. $OPENBLAS_CORETYPE names another one.
    """
    for library in threadpool_info():
        folder = Path(library["filepath"]).parent.name  # wheels bring it in <package>.libs
        if library["internal_api"] == "openblas" and OPENBLAS.get(engine, "none") in folder:
            return f"{library['architecture']} (OpenBLAS {'.'.join(library['version'].split('.')[:3])})"
    return ""


# --- one run ---------------------------------------------------------------------------------------------


def planned(settings: IndexSettings, *, real: int) -> dict[int, list[Candidate]]:
    """Return number of vectors -> the candidates that take so many, in running order.

    A candidate with `most` runs at the sizes up to it, or with so many vectors where every size is larger.
    """
    sizes = [real if size == CATALOGUE else int(size) for size in settings.sizes]
    plan: dict[int, list[Candidate]] = {}
    for candidate in settings.candidates:
        most = candidate.most or max(sizes)
        for size in {size for size in sizes if size <= most} or {most}:
            plan.setdefault(size, []).append(candidate)
    return dict(sorted(plan.items()))


def new_engine(candidate: Candidate) -> Engine:
    """Return the engine that a line of params.yaml's `candidates` describes, with nothing in it yet.

    Raises InputError for an unknown option, or an engine that is not installed or does not answer.
    """
    try:
        return ENGINES[candidate.engine](**candidate.model_extra)
    except TypeError as error:
        raise InputError(f"params.yaml, index.candidates: {candidate.engine}: {error}") from error


def measure_all(
    vectors: np.ndarray, settings: IndexSettings, *, report: Callable[[str], object] = print
) -> pd.DataFrame:
    """Measure every candidate at every size on the catalogue's vectors, float32 [n, d]; return index.csv.

    `report` gets a line for each engine that is left out.
    """
    rest, queries = split_queries(vectors, queries=settings.queries, seed=settings.seed)
    plan, rows, left_out = planned(settings, real=len(rest)), [], {}
    progress = Progress("measuring indexes", total=sum(map(len, plan.values())), unit="index")
    for size, candidates in plan.items():
        indexed = enlarged(rest, size=size, perturbation=settings.perturbation, seed=settings.seed)
        trial = Trial.of(indexed, queries, kind=REAL if size <= len(rest) else COPIES)
        for candidate in candidates:
            try:
                with closing(new_engine(candidate)) as engine:
                    rows.append(measure(engine, trial, settings=settings))
            except InputError as error:
                left_out[f"{candidate.engine} left out: {error}"] = None  # one line, at whatever sizes
            progress.update(len(rows))
    for line in left_out:
        report(line)
    return pd.DataFrame(rows, columns=COLUMNS)
