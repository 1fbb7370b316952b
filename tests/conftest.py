"""Shared test equipment. The environment is settled before TensorFlow is imported anywhere."""

import os
import shutil
from pathlib import Path

import pytest
from official_tree import write_photo
from pipeline_runs import handed_out

from solesearch.core import surroundings  # the package's import settles the environment

# Tests ask this machine alone, and read nothing of the user's.
for name in list(os.environ):
    if name.lower() in (*surroundings.PROXIES, "no_proxy", "no_grpc_proxy"):
        del os.environ[name]
os.environ.pop("SOLESEARCH_ROOT", None)
os.environ.update(
    {"CUDA_VISIBLE_DEVICES": "-1", "MPLBACKEND": "Agg", surroundings.KERAS_HOME: "/dev/null/keras"}
)

REPOSITORY = Path(__file__).resolve().parents[1]


LONGEST = "test_pipeline.py"  # about a third of all: one process takes it at once, the others the fast tests


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Run fast tests first, so that a mistake shows in seconds; one process starts with the longest file."""
    side_by_side = hasattr(config, "workerinput")
    items.sort(key=lambda item: item.get_closest_marker("slow") is not None)
    items.sort(key=lambda item: not (side_by_side and item.path.name == LONGEST))


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The repository under test as it is handed out: nothing of it is a user's own setting or result."""
    return handed_out(REPOSITORY, tmp_path_factory.mktemp("handed_out") / "solesearch")


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, repository: Path) -> Path:
    """An empty project with this repository's params.yaml; the code's paths point into it."""
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copy(repository / name, tmp_path / name)
    monkeypatch.setenv("SOLESEARCH_ROOT", str(tmp_path))
    return tmp_path


@pytest.fixture
def shoes(workspace: Path) -> Path:
    """Two class folders of ten photos in the photos profile's place."""
    for number in range(20):
        label = ("Boot", "Shoe")[number // 10]
        write_photo(workspace / f"data/photos/{label}/{number % 10 + 1:04d}.jpg", number=number)
    return workspace / "data/photos"
