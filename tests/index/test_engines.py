"""Every engine against FAISS's exact search; the stores over real connections, which may also be absent."""

import importlib.util
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import faiss
import numpy as np
import pytest

from solesearch.core.errors import InputError
from solesearch.index.benchmark import ENGINES, Candidate, new_engine
from solesearch.index.mongodb import local_server

# On 40 vectors the approximate ones must be exact, too: they look at everything.
CANDIDATES = [
    {"engine": "faiss", "factory": "Flat"},
    {"engine": "faiss", "factory": "IVF{lists},Flat", "effort": "nprobe=8"},
    {"engine": "evaluation"},
    {"engine": "numpy"},
    {"engine": "scikit-learn"},
    {"engine": "annoy", "trees": 10, "effort": 10_000},
    {"engine": "hnswlib", "links": 8, "effort": 64},
    {"engine": "mongodb"},
    {"engine": "milvus"},
]


def vectors(n: int = 40, d: int = 6, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)


def made(engine: str, **options):
    """Return a new engine."""
    return new_engine(Candidate(engine=engine, **options))


def check(engine, stored: np.ndarray) -> None:
    """Fit and ask; rows are exact, distances Euclidean, and a second fit replaces the first."""
    engine.fit(vectors(n=12, seed=5))
    engine.fit(stored)
    queries = vectors(n=7, seed=1)
    distances, rows = engine.query(queries, k=4)
    squares, wanted = faiss.knn(queries, stored, 4)
    assert rows.tolist() == wanted.tolist()
    np.testing.assert_allclose(distances, np.sqrt(squares), atol=1e-4)
    assert engine.bytes_per_vector() >= 6 * 4


@pytest.mark.parametrize("candidate", CANDIDATES, ids=lambda candidate: candidate["engine"])
def test_answers_are_those_of_exact_search(candidate: dict) -> None:
    try:
        engine = made(**candidate)
    except InputError as error:
        pytest.skip(str(error))
    with closing(engine):
        check(engine, vectors())
        assert bool(engine.server) == (engine.name in ("mongodb", "milvus"))


def test_lists_grow_with_the_root_of_the_vectors() -> None:
    engine = made("faiss", factory="IVF{lists},Flat", effort="nprobe=4")
    engine.fit(vectors(n=300))
    assert engine.description == "IVF16,Flat nprobe=4"


def test_unknown_options_and_missing_engines(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"candidates: .*'forests'"):
        made("annoy", forests=3)
    monkeypatch.setattr("solesearch.index.engines.find_spec", lambda name: None)
    for name in ENGINES:
        with pytest.raises(InputError, match=f"{name}: not installed; "):
            made(name, **({"factory": "Flat"} if name == "faiss" else {}))


def test_mongodb_that_is_away_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the start, by a wrong address; and in the middle, where a server dies."""
    pymongo = pytest.importorskip("pymongo", reason="pymongo is not installed: pip install '.[stores]'")
    options = "?connectTimeoutMS=200&serverSelectionTimeoutMS=300"
    monkeypatch.setenv("MONGODB_URI", f"mongodb://user:secret@127.0.0.1:1/{options}")
    with pytest.raises(InputError, match="the MongoDB server is away; start it") as caught:
        made("mongodb")
    assert "secret" not in str(caught.value)
    with local_server() as address:
        pymongo.MongoClient(address, serverSelectionTimeoutMS=20_000).admin.command("ping")  # it is up
        monkeypatch.setenv("MONGODB_URI", f"{address}/{options}")
        engine = made("mongodb")
        engine.fit(vectors(n=1, d=1))
    with pytest.raises(InputError, match="the MongoDB server is away"):
        engine.query(vectors(n=1, d=1), k=1)
    engine.close()


def test_milvus_lite_is_asked_in_parts_and_answers_in_order() -> None:
    """All at once it held 12 GiB for 100 queries among 10,000 photos."""
    if not all(map(importlib.util.find_spec, ("pymilvus", "milvus_lite"))):
        pytest.skip("Milvus is not installed: pip install '.[stores]'")
    stored, asked = vectors(n=60), []
    engine = made("milvus")
    engine.fit(stored)
    search = engine._client.search
    engine._client.search = lambda *args, data, **options: (
        asked.append(len(data)) or search(*args, data=data, **options)
    )
    _, rows = engine.query(stored[:20], k=1)
    assert rows[:, 0].tolist() == list(range(20)) and asked == [8, 8, 4]
    engine.close()


MILVUS_SERVER = (
    "import sys, time\nfrom milvus_lite.adapter.grpc.server import start_server_in_thread\n"
    "kept = start_server_in_thread(sys.argv[1], port=0)\nprint(kept[2], flush=True)\ntime.sleep(600)"
)


def test_milvus_by_address_and_a_server_that_dies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Milvus Lite as a server of its own on loopback: what a cluster looks like to the code."""
    if not all(map(importlib.util.find_spec, ("pymilvus", "milvus_lite"))):
        pytest.skip("Milvus is not installed: pip install '.[stores]'")
    command = [sys.executable, "-c", MILVUS_SERVER, str(tmp_path / "server")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            port = process.stdout.readline().strip()
            monkeypatch.setenv("MILVUS_URI", f"http://127.0.0.1:{port}")
            engine = made("milvus")
            check(engine, vectors())
        finally:
            process.kill()
    with pytest.raises(InputError, match="Milvus did not do it"):
        engine.query(vectors(n=1), k=1)
    engine.close()


def test_measuring_needs_no_tensorflow(repository: Path) -> None:
    """Nor FAISS at import, which must come after TensorFlow where a process has both."""
    code = (
        "import sys; sys.modules['tensorflow'] = sys.modules['keras'] = None\n"
        "import solesearch.index.benchmark, solesearch.index.cluster_embedding\n"
        "sys.exit('faiss' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=repository / "src", check=True)
