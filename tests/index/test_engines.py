"""Every engine in memory: exact where small, growing, shrinking, saved, never half-saved."""

import json
import multiprocessing
import os
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from engine_checks import DIMENSIONS, catalogue, check_answers, nearest

from solesearch.core.embedding import Embedding
from solesearch.core.errors import InputError
from solesearch.index.brute_force import NumpyIndex
from solesearch.index.engines import ENGINES, engine_class
from solesearch.index.index import FaissIndex, FlatIndex, default_factory
from solesearch.index.index_benchmark import use_threads
from solesearch.index.vector_index import DESCRIPTION

# On 40 vectors the approximate ones must be exact, too: they look at everything.
KINDS = {
    "faiss Flat": ("faiss", {"factory": "Flat"}),
    "faiss HNSW": ("faiss", {"factory": "HNSW8", "effort": "efSearch=64"}),
    "faiss IVF": ("faiss", {"factory": "IVF1,Flat"}),
    "faiss PCA": ("faiss", {"factory": f"PCA{DIMENSIONS},HNSW8", "effort": "efSearch=64"}),
    "evaluation": ("evaluation", {}),
    "numpy": ("numpy", {}),
    "scikit-learn": ("scikit-learn", {}),
    "annoy": ("annoy", {"trees": 10, "effort": 10_000}),
    "hnswlib": ("hnswlib", {"links": 8, "effort": 64}),
}


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """FAISS's threads wait by spinning, which costs more than this small work where others compute, too."""
    use_threads(1)


@pytest.fixture(params=KINDS, ids=lambda name: name.replace(" ", "-"))
def kind(request):
    """(class, build options) of one engine; skipped with its way out where it is not installed."""
    engine, options = KINDS[request.param]
    try:
        return engine_class(engine), options
    except InputError as error:
        pytest.skip(str(error))


def test_answers_agree_with_plain_loops(kind) -> None:
    made, (engine, options) = catalogue(), kind
    index = engine.build(made, **options)
    assert (len(index), index.dimensions, index.ids) == (40, DIMENSIONS, made.ids)
    check_answers(index, made)
    np.testing.assert_allclose(index.vector(made.ids[7]), made.vectors[7], atol=1e-5)


def test_a_query_is_left_out_by_its_id(kind) -> None:
    engine, options = kind
    made = catalogue()
    made = Embedding([*made.ids, "copy"], np.concatenate([made.vectors, made.vectors[3:4]]))
    found = engine.build(made, **options).search_by_id(made.ids[3], k=2)
    assert found[0].id == "copy" and found[0].distance < 1e-3
    assert found[1].id == nearest(made, made.vectors[3], 3, (made.ids[3],))[1][0]


def test_photos_come_and_go(kind) -> None:
    """Added photos are found, removed ones never again, and a removed id may come back."""
    made, (engine, options) = catalogue(), kind
    first, rest = Embedding(made.ids[:25], made.vectors[:25]), Embedding(made.ids[25:], made.vectors[25:])
    index = engine.build(first, **options)
    index.add(rest)
    check_answers(index, made)
    gone = tuple(made.ids[2:30])
    index.remove(gone)
    assert len(index) == 12
    check_answers(index, made, without=gone)
    index.add(Embedding([made.ids[5]], made.vectors[5:6]))
    assert index.search(made.vectors[5], k=1)[0].id == made.ids[5]
    assert index.ids == [*made.ids[:2], *made.ids[30:], made.ids[5]]


def test_round_trip_also_after_changes(kind, tmp_path: Path) -> None:
    made, (engine, options) = catalogue(), kind
    index = engine.build(made, **options)
    index.remove([made.ids[0], made.ids[39]])
    index.save(tmp_path)
    loaded = engine.load(tmp_path)
    assert loaded.ids == index.ids
    assert loaded.description == index.description
    check_answers(loaded, made, without=(made.ids[0], made.ids[39]))
    loaded.add(Embedding(["new"], made.vectors[:1]))
    loaded.save(tmp_path)
    again = engine.load(tmp_path)
    assert again.search(made.vectors[0], k=1)[0].id == "new"
    assert len(list(tmp_path.iterdir())) == 3  # what the new pair replaced is gone


@pytest.mark.parametrize("damage", ["truncated", "foreign", "gone"])
def test_damaged_files_are_named(kind, tmp_path: Path, damage: str) -> None:
    engine, options = kind
    engine.build(catalogue(), **options).save(tmp_path)
    [path] = tmp_path.glob("vectors-*")
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-40] if damage == "truncated" else b"something else entirely")
    with pytest.raises(InputError, match=r"vectors-.*(truncated|gone)"):
        engine.load(tmp_path)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda i: i.search(np.zeros(5, np.float32), k=1), "6 dimensions; the query has shape"),
        (lambda i: i.search_batch(np.zeros((2, 5), np.float32), k=1), "6 dimensions; the queries have"),
        (lambda i: i.search(np.full(6, np.nan, np.float32), k=1), "not finite"),
        (lambda i: i.search(np.zeros(6, np.float32), k=41), "between 1 and 40"),
        (lambda i: i.search_by_id("nobody", k=1), "nobody: no photo"),
        (lambda i: i.add(Embedding(["a"], np.zeros((1, 5), np.float32))), "6 dimensions; the new"),
        (lambda i: i.add(Embedding(["a"], np.full((1, 6), np.inf, np.float32))), "not finite"),
        (lambda i: i.add(catalogue()), "in the index already"),
        (lambda i: i.add(Embedding(["a\nb"], np.zeros((1, 6), np.float32))), "line break"),
        (lambda i: i.remove([catalogue().ids[0], "nobody"]), "nobody: no photo"),
        (lambda i: i.remove(catalogue().ids), "empty index"),
    ],
)
def test_bad_input_is_refused_and_changes_nothing(kind, call, words) -> None:
    engine, options = kind
    index = engine.build(catalogue(), **options)
    with pytest.raises(InputError, match=words):
        call(index)
    assert index.ids == catalogue().ids
    check_answers(index, catalogue())


def test_bad_embeddings_are_refused(kind) -> None:
    engine, options = kind
    broken = catalogue()
    broken.vectors[3, 2] = np.nan
    with pytest.raises(InputError, match="not finite"):
        engine.build(broken, **options)
    with pytest.raises(InputError, match="empty"):
        engine.build(Embedding([], np.zeros((0, 6), np.float32)), **options)


def test_another_engines_folder_is_named(tmp_path: Path) -> None:
    NumpyIndex.build(catalogue()).save(tmp_path)
    with pytest.raises(InputError, match=r"index\.json: an index of engine 'numpy', not of 'faiss'"):
        FlatIndex.load(tmp_path)
    (tmp_path / DESCRIPTION).write_text("{ not json")
    with pytest.raises(InputError, match="not the description of an index"):
        NumpyIndex.load(tmp_path)


def test_a_description_cannot_point_elsewhere(tmp_path: Path) -> None:
    NumpyIndex.build(catalogue()).save(tmp_path / "index")
    path = tmp_path / "index" / DESCRIPTION
    facts = json.loads(path.read_text())
    (tmp_path / "secret.npy").write_bytes(b"")
    facts["vectors"]["file"] = "../secret.npy"
    path.write_text(json.dumps(facts))
    with pytest.raises(InputError, match=r"secret\.npy: named by index\.json but gone"):
        NumpyIndex.load(tmp_path / "index")


def save_for_ever(folder: Path) -> None:
    number = 0
    while True:
        number += 1
        vectors = np.full((4000, 64), number, np.float32)
        NumpyIndex.build(Embedding([f"{number}-{i}" for i in range(4000)], vectors)).save(folder)


def test_a_kill_while_saving_leaves_a_whole_index(tmp_path: Path) -> None:
    """A process saves one index after the other; killed at any of eight moments, the folder holds one."""
    for moment in range(8):
        saver = multiprocessing.get_context("fork").Process(
            target=save_for_ever, args=(tmp_path,), daemon=True
        )
        saver.start()
        while not (tmp_path / DESCRIPTION).is_file():
            time.sleep(0.005)
        time.sleep(0.011 * moment)
        saver.kill()
        saver.join()
        loaded = NumpyIndex.load(tmp_path)
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
    assert made.ids[5] in [one.id for one in index.search(made.vectors[5], k=50)]
    assert index.vector(made.ids[5]).shape == (16,)  # what compression left of it


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"factory": "Nonsense7"}, "FAISS cannot make 'Nonsense7'"),
        ({"factory": "IVF64,Flat"}, "FAISS cannot make 'IVF64,Flat' of 40 vectors"),
        ({"factory": "Flat", "effort": "magic=3"}, "does not know the search parameters 'magic=3'"),
    ],
)
def test_bad_factory_strings(options, words) -> None:
    with pytest.raises(InputError, match=words):
        FaissIndex.build(catalogue(), **options)


def test_gpu_or_one_clear_line() -> None:
    """The same answers on a GPU as on the processor; without one, a line that says what is missing."""
    made = catalogue()
    index = FlatIndex.build(made)
    try:
        moved = index.on_gpu()
    except InputError as error:
        assert "GPU" in str(error)
        pytest.skip(str(error))
    check_answers(moved, made)


def test_unknown_and_missing_engines(monkeypatch) -> None:
    with pytest.raises(InputError, match="engine 'magic' is unknown; there are faiss"):
        engine_class("magic")
    monkeypatch.setattr("solesearch.index.engines.find_spec", lambda name: None)
    for name in ENGINES:
        with pytest.raises(InputError, match=f"{name}: not installed; "):
            engine_class(name)


def test_stores_need_no_tensorflow() -> None:
    """Exporting vectors to a store, and measuring, must work where TensorFlow is not installed."""
    code = (
        "import sys; sys.modules['tensorflow'] = None; sys.modules['keras'] = None\n"
        "from solesearch.index import document_store, vector_database, index_benchmark\n"
        "import solesearch.index.cluster_embedding, solesearch.index.brute_force\n"
        "print('faiss' in sys.modules)"
    )
    source = str(Path(__file__).resolve().parents[2] / "src")
    ended = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": source},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert ended.stdout.strip() == "False"
    assert find_spec("numpy")
