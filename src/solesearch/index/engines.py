"""Every engine by its name: which class answers, and what must be installed for it. Imported on demand."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import NamedTuple

from solesearch.core.errors import InputError
from solesearch.index.vector_index import VectorIndex


class Engine(NamedTuple):
    """Where an engine's class lives, the module it needs, and how that is installed."""

    module: str
    name: str
    needs: str
    way_out: str


LOCKED = "run `make` to install requirements.lock"
COMPILED = "it is compiled when it is installed, so it needs a C++ compiler: pip install '.[peers]'"
STORES = "pip install '.[stores]'"
ENGINES = {
    "faiss": Engine("index", "FaissIndex", "faiss", LOCKED),
    "evaluation": Engine("brute_force", "ExactIndex", "faiss", LOCKED),
    "numpy": Engine("brute_force", "NumpyIndex", "numpy", LOCKED),
    "scikit-learn": Engine("brute_force", "ScikitIndex", "sklearn.neighbors", LOCKED),
    "annoy": Engine("peers", "AnnoyForest", "annoy", COMPILED),
    "hnswlib": Engine("peers", "HnswlibGraph", "hnswlib", COMPILED),
    "mongodb": Engine("document_store", "DocumentStore", "pymongo", STORES),
    "milvus": Engine("vector_database", "VectorDatabase", "pymilvus", STORES),
}


def engine_class(name: str) -> type[VectorIndex]:
    """Return the class of engine `name`; raises InputError when it is unknown or not installed."""
    if name not in ENGINES:
        raise InputError(f"engine {name!r} is unknown; there are {', '.join(ENGINES)}")
    engine = ENGINES[name]
    if find_spec(engine.needs.split(".")[0]) is None:
        raise InputError(f"{name}: not installed; {engine.way_out}")
    import_module(engine.needs)  # now, so that no build pays for it
    return getattr(import_module(f"solesearch.index.{engine.module}"), engine.name)
