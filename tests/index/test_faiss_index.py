"""The FAISS index: exact, by id, growing and shrinking, and safe against kills and damaged files."""

import json
import multiprocessing
import os
import subprocess
import sys
import time
from pathlib import Path

import faiss
import numpy as np
import pytest

from solesearch.core.embedding import Embedding
from solesearch.core.errors import InputError
from solesearch.index.faiss_index import DESCRIPTION, FaissIndex, default_factory

# On 40 vectors the approximate ones must be exact, too: they look at everything.
KINDS = [("Flat", ""), ("HNSW8", "efSearch=64"), ("IVF1,Flat", ""), ("PCA6,HNSW8", "efSearch=64")]


def catalogue(n: int = 40, d: int = 6) -> Embedding:
    vectors = np.random.default_rng(0).normal(size=(n, d)).astype(np.float32)
    return Embedding([f"class/{i:03d} ü'\".jpg" for i in range(n)], vectors)


def check_answers(index: FaissIndex, made: Embedding, *, without: tuple[str, ...] = ()) -> None:
    """Every photo as a query, against a plain loop."""
    for vector, answer in zip(made.vectors, index.search_batch(made.vectors, k=4), strict=True):
        pairs = zip(made.ids, made.vectors, strict=True)
        far = {photo: np.linalg.norm(vector - other) for photo, other in pairs if photo not in without}
        expected = sorted(far, key=far.__getitem__)[:4]
        assert [found.id for found in answer] == expected
        distances = [found.distance for found in answer]
        np.testing.assert_allclose(distances, [far[photo] for photo in expected], atol=1e-3)


@pytest.fixture(params=KINDS, ids=lambda kind: kind[0])
def kind(request) -> dict[str, str]:
    return dict(zip(("factory", "effort"), request.param, strict=True))


def test_distances_are_euclidean_not_squared() -> None:
    made = Embedding(["a", "b"], np.array([[0, 0], [3, 4]], dtype=np.float32))
    assert FaissIndex.build(made).search(np.zeros(2, np.float32), k=2) == [("a", 0.0), ("b", 5.0)]


def test_query_is_left_out_by_id_even_behind_a_copy() -> None:
    made = Embedding(["copy", "query", "far"], np.array([[1, 1], [1, 1], [9, 9]], dtype=np.float32))
    assert [found.id for found in FaissIndex.build(made).search_by_id("query", k=2)] == ["copy", "far"]


def test_photos_come_and_go_and_are_saved(kind, tmp_path: Path) -> None:
    """Added photos are found, removed ones never again, and a removed id may come back."""
    made = catalogue()
    first, rest = Embedding(made.ids[:25], made.vectors[:25]), Embedding(made.ids[25:], made.vectors[25:])
    index = FaissIndex.build(first, **kind)
    index.add(rest)
    assert (len(index), index.ids) == (40, made.ids)
    check_answers(index, made)
    np.testing.assert_allclose(index.vector(made.ids[7]), made.vectors[7], atol=1e-5)
    gone = tuple(made.ids[2:30])
    index.remove(gone)
    check_answers(index, made, without=gone)
    index.add(Embedding([made.ids[5]], made.vectors[5:6]))
    index.save(tmp_path)
    loaded = FaissIndex.load(tmp_path)
    assert loaded.ids == [*made.ids[:2], *made.ids[30:], made.ids[5]] == index.ids
    assert loaded.description == " ".join(filter(None, kind.values()))
    check_answers(loaded, made, without=(*gone[:3], *gone[4:]))
    loaded.add(Embedding(["new"], made.vectors[:1]))
    loaded.save(tmp_path)
    assert "new" in FaissIndex.load(tmp_path).ids
    assert len(list(tmp_path.iterdir())) == 2  # what the new pair replaced is gone


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda i: i.search(np.zeros(5, np.float32), k=1), "6 dimensions"),
        (lambda i: i.search(np.full(6, np.nan, np.float32), k=1), "not finite"),
        (lambda i: i.search(np.zeros(6, np.float32), k=41), "between 1 and 40"),
        (lambda i: i.search_by_id("nobody", k=1), "nobody: no photo"),
        (lambda i: i.search_by_id(catalogue().ids[0], k=40), "between 1 and 39"),
        (lambda i: i.add(Embedding(["a"], np.zeros((1, 5), np.float32))), "6 dimensions"),
        (lambda i: i.add(Embedding(["a"], np.full((1, 6), np.inf, np.float32))), "not finite"),
        (lambda i: i.add(catalogue()), "in the index already"),
        (lambda i: i.remove([catalogue().ids[0], "nobody"]), "nobody: no photo"),
        (lambda i: i.remove(catalogue().ids), "empty index"),
    ],
)
def test_bad_input_is_refused_and_changes_nothing(call, words: str) -> None:
    index = FaissIndex.build(catalogue())
    with pytest.raises(InputError, match=words):
        call(index)
    assert index.ids == catalogue().ids
    check_answers(index, catalogue())


@pytest.mark.parametrize("damage", ["truncated", "foreign", "gone", "elsewhere", "too few ids"])
def test_damaged_files_are_named(tmp_path: Path, damage: str) -> None:
    FaissIndex.build(catalogue()).save(tmp_path)
    [path], description = tmp_path.glob("vectors-*"), tmp_path / DESCRIPTION
    facts = json.loads(description.read_text())
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:-40])
    elif damage == "foreign":
        description.write_text("{ not json")
    elif damage == "gone":
        path.unlink()
    elif damage == "elsewhere":  # a description cannot point out of its folder
        description.write_text(json.dumps({**facts, "vectors": "/etc/hosts"}))
    else:
        description.write_text(json.dumps({**facts, "ids": ["only one"]}))
    with pytest.raises(InputError, match=r"not a whole index .*; delete it and run stage index again"):
        FaissIndex.load(tmp_path)
    with pytest.raises(InputError, match="no index yet"):
        FaissIndex.load(tmp_path / "nowhere")


def save_for_ever(folder: Path) -> None:
    number = 0
    while True:
        number += 1
        vectors = np.full((4000, 64), number, np.float32)
        FaissIndex.build(Embedding([f"{number}-{i}" for i in range(4000)], vectors)).save(folder)


def test_a_kill_while_saving_leaves_a_whole_index(tmp_path: Path) -> None:
    """A process saves one index after the other; killed at any of six moments, the folder holds one."""
    for moment in range(6):
        saver = multiprocessing.get_context("fork").Process(
            target=save_for_ever, args=(tmp_path,), daemon=True
        )
        saver.start()
        while not (tmp_path / DESCRIPTION).is_file():
            time.sleep(0.005)
        time.sleep(0.013 * moment)
        saver.kill()
        saver.join()
        loaded = FaissIndex.load(tmp_path)
        number = int(loaded.ids[0].partition("-")[0])
        assert loaded.ids == [f"{number}-{i}" for i in range(4000)]
        assert (loaded.vector(loaded.ids[-1]) == number).all()


def test_faiss_chooses_by_size() -> None:
    assert default_factory(200_000, 1536) == "Flat"
    assert default_factory(200_001, 1536) == "HNSW32"
    assert default_factory(200_001, 12_544) == "PCA256,HNSW32"
    assert default_factory(50_000_000, 1536) == "OPQ64_256,IVF32768_HNSW32,PQ64np"
    assert default_factory(50_000_000, 6).startswith("IVF32768_HNSW32")
    assert FaissIndex.build(catalogue()).description == "Flat"


def test_what_lies_beyond_the_default_sizes_works_small() -> None:
    """The kind of index for many millions, at a size where it trains in a moment."""
    made = catalogue(n=700, d=16)
    index = FaissIndex.build(made, factory="OPQ4_8,IVF4_HNSW32,PQ4x4np", effort="nprobe=4")
    assert made.ids[5] in [found.id for found in index.search(made.vectors[5], k=50)]
    assert index.vector(made.ids[5]).shape == (16,)  # what compression left of it


@pytest.mark.parametrize(
    ("factory", "effort", "words"),
    [
        ("Nonsense7", "", "FAISS cannot make 'Nonsense7'"),
        ("IVF64,Flat", "", "FAISS cannot make 'IVF64,Flat' of 40 vectors"),
        ("Flat", "magic=3", "does not know the search parameters 'magic=3'"),
    ],
)
def test_bad_factory_strings(factory: str, effort: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        FaissIndex.build(catalogue(), factory=factory, effort=effort)


# --- on GPUs ---------------------------------------------------------------------------------------------


class Copy:
    """Stands for a copy on a GPU: the index as it was, which can fail as CUDA does."""

    def __init__(self, index: faiss.Index, *, most: int = 2048):
        self._index, self._most, self.searches = faiss.clone_index(index), most, 0

    def search(self, vectors: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        self.searches += 1
        if k > self._most:
            raise RuntimeError("Error in faiss::gpu::runBlockSelect\nk <= 3: too large a k")
        return self._index.search(vectors, k)


@pytest.fixture
def copies(monkeypatch) -> list[Copy]:
    """Two GPUs that are none; the copies that were made for them."""
    made: list[Copy] = []

    def copy(index: faiss.Index) -> Copy:
        made.append(Copy(index, most=3))
        return made[-1]

    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 2)
    monkeypatch.setattr(faiss, "index_cpu_to_all_gpus", copy)
    return made


def test_a_copy_on_the_gpus_answers_and_the_index_is_kept(kind, copies, tmp_path: Path) -> None:
    made = catalogue()
    first, rest = Embedding(made.ids[:25], made.vectors[:25]), Embedding(made.ids[25:], made.vectors[25:])
    index, moved = FaissIndex.build(first, **kind), "HNSW" not in kind["factory"]
    assert not copies  # none until something is asked
    for _ in range(2):
        assert index.search(made.vectors[0], k=2)[0].id == made.ids[0]
    assert [copy.searches for copy in copies] == [2] * moved
    index.add(rest)
    assert index.search(made.vectors[30], k=2)[0].id == made.ids[30]
    assert len(copies) == 2 * moved
    index.save(tmp_path)  # a copy on a GPU has no file
    check_answers(FaissIndex.load(tmp_path), made)


def test_a_gpu_that_fails_is_told_once_and_the_processor_answers(copies, capsys, monkeypatch) -> None:
    index = FaissIndex.build(catalogue())
    for _ in range(2):
        check_answers(index, catalogue())  # asks for 4
    line = "FAISS searches on the processor, the GPU did not (k <= 3: too large a k)\n"
    assert capsys.readouterr().out == line and copies[0].searches == 1

    def full(index: faiss.Index) -> None:
        raise RuntimeError("Error in allocMemory\ncudaMalloc error out of memory [2]\n")

    monkeypatch.setattr(faiss, "index_cpu_to_all_gpus", full)
    index = FaissIndex.build(catalogue())
    for _ in range(2):
        check_answers(index, catalogue())
    assert capsys.readouterr().out.count("the GPU did not (cudaMalloc error out of memory [2])") == 1


ON_A_GPU = """
import sys
import numpy as np, faiss
from solesearch.core.embedding import Embedding
from solesearch.index.faiss_index import FaissIndex, on_gpus
if not faiss.get_num_gpus():
    sys.exit(77)
random = np.random.default_rng(0)
vectors = random.normal(size=(5000, 1536)).astype(np.float32)
made = Embedding([str(row) for row in range(5000)], vectors)
queries = random.normal(size=(200, 1536)).astype(np.float32)
for factory, effort in (("Flat", ""), ("IVF16,Flat", "nprobe=16")):
    index = FaissIndex.build(made, factory=factory, effort=effort)
    assert on_gpus(index._index) is not index._index, factory
    squares, rows = faiss.knn(queries, vectors, 5)
    answers = index.search_batch(queries, k=5)
    assert index._searched is not index._index, factory
    assert [[int(found.id) for found in answer] for answer in answers] == rows.tolist(), factory
    far = [[found.distance for found in answer] for answer in answers]
    np.testing.assert_allclose(far, np.sqrt(squares), rtol=1e-4)
"""


@pytest.mark.gpu
def test_a_gpu_answers_as_the_processor_does() -> None:
    """Ids and distances, exact and by lists; in a process of its own, since the tests hide GPUs."""
    if not hasattr(faiss, "StandardGpuResources"):
        pytest.skip("faiss-cpu: this environment is the one without CUDA")
    seeing = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"}
    command = [sys.executable, "-c", ON_A_GPU]
    ended = subprocess.run(command, env=seeing, capture_output=True, text=True, check=False)
    if ended.returncode == 77:
        pytest.skip("FAISS sees no GPU")
    assert ended.returncode == 0, ended.stderr[-2000:]
