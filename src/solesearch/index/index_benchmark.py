"""Every engine on the same vectors and queries: `python -m solesearch.index.index_benchmark PROFILE`.

A process of its own with pinned threads; warm-up first, then medians. The exact answers come from FAISS's
Flat index. Sizes beyond the catalogue are filled with perturbed copies of its vectors, and the table says so.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from solesearch.core import files
from solesearch.core.embedding import Embedding, embedding_name, load_embedding
from solesearch.core.errors import InputError, exit_status
from solesearch.core.paths import Paths
from solesearch.core.progress import Progress
from solesearch.core.settings import fill, load_section
from solesearch.index.brute_force import ExactIndex
from solesearch.index.engines import engine_class
from solesearch.index.vector_index import COPIES, REAL, VectorIndex
from solesearch.retrieval.exact_search import by_faiss, chosen_product

K = 5  # the column is called recall_at_5
COLUMNS = [
    "engine",
    "index",
    "n",
    "dim",
    "build_s",
    "query_ms_median",
    "query_ms_p95",
    "queries_per_s_batch",
    "batch_times_flat",
    "recall_at_5",
    "bytes_per_vector",
    "threads",
    "kernel",
    "vectors",
    "server",
]
CATALOGUE = "catalogue"  # as a size: every real vector that is not a query
KERNEL_VARIABLE = "OPENBLAS_CORETYPE"
LEAST_RUNS, BATCH_RUNS = 3, 10
OPENBLAS = {"faiss": "faiss", "numpy": "numpy", "scikit-learn": "scipy"}


@dataclass(frozen=True)
class IndexSettings:
    """What is measured and how; `params.yaml` holds the values."""

    factory: str
    effort: str
    sizes: list[int | str]
    queries: int
    warm_up: int
    runs: int
    longest_s: float
    threads: int
    build_threads: int
    perturbation: float
    seed: int
    candidates: list[dict[str, Any]]

    def __post_init__(self) -> None:
        """Raise InputError for a protocol that measures nothing."""
        least = min(self.queries, self.runs, self.threads, self.build_threads)
        rules = {
            "queries, runs, threads and build_threads must be at least 1": least >= 1,
            "warm_up must not be negative": self.warm_up >= 0,
            "longest_s and perturbation must be above 0": min(self.longest_s, self.perturbation) > 0,
            f"sizes are numbers above {K} or `{CATALOGUE}`": self.sizes
            and all(size == CATALOGUE or (isinstance(size, int) and size > K) for size in self.sizes),
            "each candidate names its engine": self.candidates
            and all(isinstance(one, dict) and "engine" in one for one in self.candidates),
        }
        for rule, holds in rules.items():
            if not holds:
                raise InputError(f"params.yaml, index: {rule}")


# --- vectors ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Trial:
    """One size: the vectors to index, the queries float32 [q, d], and the exact answers to them."""

    embedding: Embedding
    queries: np.ndarray
    vectors: str  # REAL or COPIES
    flat: VectorIndex  # FAISS's exact index, the arbiter
    truth: list[set[str]]  # ids of the 5 nearest of each query by it

    def first(self, photos: int) -> Trial:
        """Return a smaller trial of the first `photos` vectors."""
        kept = Embedding(self.embedding.ids[:photos], self.embedding.vectors[:photos])
        return judged_trial(kept, self.queries, self.vectors)


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
    if size <= real:
        return vectors[:size]
    made = np.empty((size, vectors.shape[1]), dtype=np.float32)
    made[:real] = vectors
    random = np.random.default_rng(seed)
    for start in range(real, size, real):
        count = min(real, size - start)
        first, second = random.integers(0, real, (2, count))
        difference = (vectors[first] - vectors[second]) * np.float32(perturbation / 2**0.5)
        made[start : start + count] = vectors[:count] + difference
    return made


def judged_trial(embedding: Embedding, queries: np.ndarray, vectors: str) -> Trial:
    """Return a trial with the exact answers, which FAISS's Flat index gives."""
    from solesearch.index.index import FlatIndex

    flat = FlatIndex.build(embedding)
    truth = [{one.id for one in row} for row in flat.search_batch(queries, k=K)]
    return Trial(embedding, queries, vectors, flat, truth)


def trial(vectors: np.ndarray, *, size: int | str, settings: IndexSettings) -> Trial:
    """Return the trial of one size from the catalogue's vectors, float32 [n, d]."""
    rest, queries = split_queries(vectors, queries=settings.queries, seed=settings.seed)
    size = len(rest) if size == CATALOGUE else int(size)
    options = {"perturbation": settings.perturbation, "seed": settings.seed}
    embedding = Embedding([f"photo-{row:07d}" for row in range(size)], enlarged(rest, size=size, **options))
    kind = REAL if size <= len(rest) else COPIES
    return judged_trial(embedding, queries, kind)


# --- measuring -------------------------------------------------------------------------------------------


def timed(call: Callable[[int], object], *, warm_up: int, runs: int, longest_s: float) -> np.ndarray:
    """Return the wall seconds of call(0), call(1), ..., float64: at most `runs`, or what fits `longest_s`.

    Slow engines get fewer warm-ups and runs, but three runs at least.
    """
    start = time.perf_counter()
    for number in range(warm_up):
        call(number)
        if time.perf_counter() - start > longest_s / 4:
            break
    seconds, start = [], time.perf_counter()
    while len(seconds) < runs:
        begun = time.perf_counter()
        call(len(seconds))
        seconds.append(time.perf_counter() - begun)
        if time.perf_counter() - start > longest_s and len(seconds) >= LEAST_RUNS:
            break
    return np.array(seconds)


def times_flat(built: VectorIndex, setup: Trial, *, longest_s: float) -> float:
    """Return how many times as fast as FAISS's Flat index a batch is: the median of runs taken in turn.

    In turn, since a machine's speed drifts by more than exact engines differ.
    """
    ratios, start = [], time.perf_counter()
    while len(ratios) < LEAST_RUNS or (
        len(ratios) < BATCH_RUNS and time.perf_counter() - start < 2 * longest_s
    ):
        begun = time.perf_counter()
        setup.flat.search_batch(setup.queries, k=K)
        between = time.perf_counter()
        built.search_batch(setup.queries, k=K)
        ratios.append((between - begun) / (time.perf_counter() - between))
    return float(np.median(ratios))


def recall(answers: list[list[Any]], truth: list[set[str]]) -> float:
    """Return the share of the exact neighbours that the answers hold; a missing answer is a miss."""
    hits = [len({one.id for one in row} & wanted) for row, wanted in zip(answers, truth, strict=True)]
    return sum(hits) / sum(len(wanted) for wanted in truth)


def measure(
    built: VectorIndex, setup: Trial, *, build_s: float, settings: IndexSettings, kernel: str
) -> dict[str, Any]:
    """Return one row of index.csv for a built index."""
    queries, count = setup.queries, len(setup.queries)
    single = timed(
        lambda run: built.search(queries[run % count], k=K),
        warm_up=settings.warm_up,
        runs=settings.runs,
        longest_s=settings.longest_s,
    )
    answers = built.search_batch(queries, k=K)
    batch = timed(
        lambda _: built.search_batch(queries, k=K),
        warm_up=0,
        runs=BATCH_RUNS if len(single) == settings.runs else 1,
        longest_s=settings.longest_s,
    )
    beside = isinstance(built, ExactIndex)
    return {
        "engine": built.engine,
        "index": built.description,
        "n": len(built),
        "dim": built.dimensions,
        "build_s": build_s,
        "query_ms_median": float(np.median(single)) * 1000,
        "query_ms_p95": float(np.quantile(single, 0.95)) * 1000,
        "queries_per_s_batch": count / float(np.median(batch)),
        "batch_times_flat": times_flat(built, setup, longest_s=settings.longest_s) if beside else np.nan,
        "recall_at_5": recall(answers, setup.truth),
        "bytes_per_vector": bytes_per_vector(built),
        "threads": settings.threads,
        "kernel": kernel,
        "vectors": setup.vectors,
        "server": getattr(built, "server", ""),
    }


def bytes_per_vector(built: VectorIndex) -> float:
    """Return what the engine keeps for one photo: the saved file's bytes, or a document's, ids aside."""
    if hasattr(built, "bytes_per_vector"):
        return built.bytes_per_vector()
    with tempfile.TemporaryDirectory() as scratch:
        built.save(Path(scratch))
        [path] = Path(scratch).glob("vectors-*")
        return path.stat().st_size / len(built)


def use_threads(threads: int) -> None:
    """Let FAISS use so many threads from now on; the matrix products of NumPy are pinned at start."""
    from solesearch.index import index

    index.faiss.omp_set_num_threads(threads)


def kernel_of(engine: str, setup: Trial) -> str:
    """Return the matrix kernel of an engine, for the evaluation with the package that it takes here."""
    if engine != "evaluation":
        return openblas_kernel(engine)
    product = chosen_product(len(setup.queries), *setup.embedding.vectors.shape)
    package = "faiss" if product is by_faiss else "numpy"
    return f"{package}'s {openblas_kernel(package)}".strip()


def openblas_kernel(engine: str) -> str:
    """Return the matrix kernel that an engine's OpenBLAS chose on this processor, `Zen (OpenBLAS 0.3.15)`.

    Empty where the engine brings none or OpenBLAS cannot be asked.
    """
    from threadpoolctl import threadpool_info

    wanted = OPENBLAS.get(engine)
    for library in threadpool_info() if wanted else []:
        if library["internal_api"] == "openblas" and wanted in _origin(library["filepath"]):
            return f"{library['architecture']} (OpenBLAS {'.'.join(library['version'].split('.')[:3])})"
    return ""


def _origin(library: str) -> str:
    """Return the package a bundled library came with: wheels put it into <package>.libs."""
    return Path(library).parent.name.removesuffix(".libs")


def fitting_kernel() -> str:
    """Return the kernel name to give an old OpenBLAS: what NumPy's newer one detects here, upper case."""
    return openblas_kernel("numpy").split(" ")[0].upper()


# --- one run ---------------------------------------------------------------------------------------------


@contextmanager
def prepared(
    candidate: dict[str, Any], *, scratch: Path, settings: IndexSettings
) -> Iterator[dict[str, Any]]:
    """Give the options to build a candidate with: threads for the peers, a server for the stores."""
    options = {key: value for key, value in candidate.items() if key not in ("engine", "most")}
    engine = candidate["engine"]
    with ExitStack() as stack:
        if engine in ("annoy", "hnswlib"):
            options["threads"] = settings.build_threads
        elif engine == "milvus":
            options["uri"] = os.environ.get("MILVUS_URI") or scratch / "milvus.db"
            options["name"] = "benchmark"
        elif engine == "mongodb":
            from solesearch.index import document_store

            named = os.environ.get(document_store.VARIABLE)
            server = document_store.local_server(scratch / "mongodb") if not named else None
            options["uri"] = stack.enter_context(server)[0] if server else named
            options["collection"] = "benchmark"
        yield options


def run_candidate(
    candidate: dict[str, Any], setup: Trial, *, settings: IndexSettings, kernel: str = ""
) -> dict[str, Any]:
    """Build and measure one candidate; raises InputError when it is not installed or cannot be built."""
    engine = candidate["engine"]
    kind = engine_class(engine)
    candidate = {
        key: str(value).format(lists=lists_for(len(setup.embedding.ids))) if key == "factory" else value
        for key, value in candidate.items()
    }
    with (
        tempfile.TemporaryDirectory() as scratch,
        prepared(candidate, scratch=Path(scratch), settings=settings) as options,
    ):
        use_threads(settings.build_threads)
        start = time.perf_counter()
        built = kind.build(setup.embedding, **options)
        build_s = time.perf_counter() - start
        with closing(built):
            use_threads(settings.threads)
            kernel = kernel or kernel_of(engine, setup)
            return measure(built, setup, build_s=build_s, settings=settings, kernel=kernel)


def lists_for(photos: int) -> int:
    """Return how many lists an inverted file of so many vectors gets: the power of two next to its root."""
    return 2 ** round(np.log2(photos**0.5))


def planned(settings: IndexSettings, sizes: list[int]) -> list[tuple[int, dict[str, Any], int]]:
    """Return (size of the trial, candidate, photos it takes) in running order.

    A candidate with `most` runs at the sizes up to it, or once with so many photos of the smallest.
    """
    plan = []
    for size in sizes:
        for candidate in settings.candidates:
            most = candidate.get("most", size)
            if size <= most or (size == min(sizes) and most < size):
                plan.append((size, candidate, min(size, most)))
    return plan


def run_all(
    vectors: np.ndarray, settings: IndexSettings, *, report: Callable[[str], None], kernel: str = ""
) -> pd.DataFrame:
    """Measure every candidate at every size on the catalogue's vectors, float32 [n, d].

    `report` gets a line for each engine that is left out. With `kernel`, FAISS's exact index alone.
    """
    if kernel:
        only = [{"engine": "faiss", "factory": "Flat"}]
        settings = IndexSettings(**{**vars(settings), "candidates": only})
    rest = len(vectors) - settings.queries
    sizes = sorted({rest if size == CATALOGUE else int(size) for size in settings.sizes})
    plan, rows, missing = planned(settings, sizes), [], set()
    progress = Progress("measuring indexes", total=len(plan), unit="index")
    for size in sizes:
        setup = trial(vectors, size=size, settings=settings)
        for candidate, photos in [(one, photos) for at, one, photos in plan if at == size]:
            smaller = setup if photos == size else setup.first(photos)
            try:
                rows.append(run_candidate(candidate, smaller, settings=settings, kernel=kernel))
            except InputError as error:
                if str(error) not in missing:
                    report(f"{candidate['engine']} left out: {error}")
                missing.add(str(error))
            progress.update(len(rows))
    return pd.DataFrame(rows, columns=COLUMNS)


def read_vectors(profile: str) -> np.ndarray:
    """Return the proposed model's vectors of the whole catalogue, float32 [n, d] (stage embed)."""
    seeds = load_section(profile, "gan")["seeds"]
    return load_embedding(Paths.of(profile).embeddings, embedding_name("infogan", seeds[0])).vectors


def read_settings(profile: str, overrides: dict[str, Any] | None = None) -> IndexSettings:
    """Return the settings of a profile's `index` section."""
    return fill(IndexSettings, load_section(profile, "index", overrides), where=f"{profile}.index")


def measure_apart(
    profile: str, *, target: Path, vectors: Path | None = None, report: Callable[[str], None] = print
) -> pd.DataFrame:
    """Run the benchmark in fresh processes, write index.csv to `target` and return it.

    First everything as shipped; then FAISS's exact index again with the matrix kernel named that fits this
    processor, since the wheel's old OpenBLAS may take it for another. `vectors` replaces the embedding by
    a file, .npy float32 [n, d]. Raises InputError when a process fails.
    """
    settings = read_settings(profile)
    threads = {name: str(settings.threads) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    shipped = {name: value for name, value in os.environ.items() if name != KERNEL_VARIABLE}
    surroundings = {**shipped, **threads, "OMP_WAIT_POLICY": "passive"}
    with tempfile.TemporaryDirectory() as scratch:
        tables = []
        for name, kernel in (("shipped", ""), ("named", fitting_kernel())):
            if name == "named" and not kernel:
                report("FAISS with a named kernel left out: NumPy's OpenBLAS does not tell which one fits")
                continue
            out = Path(scratch) / f"{name}.csv"
            command = [sys.executable, "-m", "solesearch.index.index_benchmark", profile, "--out", str(out)]
            command += ["--kernel", kernel] if kernel else []
            command += ["--vectors", str(vectors)] if vectors else []
            extra = {KERNEL_VARIABLE: kernel} if kernel else {}
            _follow(command, {**surroundings, **extra}, report)
            gaps = {"keep_default_na": False, "na_values": {"batch_times_flat": [""]}}
            tables.append(files.read_table(out, made_by="stage index", **gaps))
    table = pd.concat(tables, ignore_index=True).sort_values("n", kind="stable", ignore_index=True)
    files.write_table(target, table)
    return table


def _follow(command: list[str], surroundings: dict[str, str], report: Callable[[str], None]) -> None:
    ended = subprocess.run(command, env=surroundings, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise InputError(f"the benchmark failed: {(ended.stderr.strip().splitlines() or ['no message'])[-1]}")
    for line in ended.stdout.splitlines():
        if " left out: " in line:
            report(line)


def measure_here(arguments: argparse.Namespace) -> None:
    """Measure in this process and write the table; the parent has set threads and kernel."""
    settings = read_settings(arguments.profile)
    vectors = (
        files.read_array(arguments.vectors, made_by="you")
        if arguments.vectors
        else read_vectors(arguments.profile)
    )
    named = f"{arguments.kernel} (named)" if arguments.kernel else ""
    table = run_all(np.ascontiguousarray(vectors, np.float32), settings, report=print, kernel=named)
    files.write_table(arguments.out, table)


def main() -> int:
    """Measure every engine for one profile: `python -m solesearch.index.index_benchmark PROFILE`."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("profile")
    parser.add_argument("--vectors", type=Path, help=".npy float32 [n, d] instead of the profile's embedding")
    parser.add_argument("--table", type=Path, help="where index.csv goes; default: results/PROFILE/index.csv")
    parser.add_argument("--out", type=Path, help="measure in this process (the command calls itself so)")
    parser.add_argument(
        "--kernel", default="", type=str.upper, help="FAISS's exact index alone, kernel named"
    )
    arguments = parser.parse_args()
    if re.search(r"\W", arguments.kernel):
        parser.error("a kernel is one word, say HASWELL")

    def work() -> None:
        if arguments.out:
            return measure_here(arguments)
        target = arguments.table or Paths.of(arguments.profile).result("index")
        print(measure_apart(arguments.profile, target=target, vectors=arguments.vectors).to_string())

    return exit_status(work)


if __name__ == "__main__":
    sys.exit(main())
