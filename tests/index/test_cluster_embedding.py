"""Embedding by shards: each worker's file is whole, a killed run goes on, damaged shards are named.

The tests with Ray itself need the extra `cluster`; the rest runs everywhere pyarrow is there.
"""

import os
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from solesearch.core.errors import InputError
from solesearch.index.cluster_embedding import (
    EmbeddingJob,
    ShardWriter,
    embed_files,
    missing_shards,
    read_shards,
    shard_file,
)
from solesearch.photos.photo import load_pixels
from solesearch.retrieval.controls import control_features

pytest.importorskip("pyarrow", reason="pyarrow is not installed: pip install '.[stores]'")
RAY = pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed: pip install '.[cluster]'")
DRIVER = """
import sys, time
from pathlib import Path
from solesearch.index import cluster_embedding
from test_cluster_embedding import job
slow = cluster_embedding.ShardWriter._write
def waiting(self, number):
    time.sleep(float(sys.argv[3]))
    return slow(self, number)
cluster_embedding.ShardWriter._write = waiting
print(cluster_embedding.embed_files(job(Path(sys.argv[1])), Path(sys.argv[2]), workers=2))
"""


def write_photos(folder: Path, count: int = 23) -> None:
    folder.mkdir()
    random = np.random.default_rng(4)
    for number in range(count):
        Image.fromarray(random.integers(0, 255, (20, 30, 3), np.uint8)).save(folder / f"{number:03d}.png")


def job(photos: Path, **changes) -> EmbeddingJob:
    values = {"features": "mean_colour", "size": (16, 24), "fit": "stretch", "shard_photos": 4, **changes}
    ids = sorted(path.name for path in photos.glob("*.png"))
    return EmbeddingJob(photos=str(photos), **{"ids": ids, **values})


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    write_photos(tmp_path / "photos")
    return tmp_path / "photos"


def write_here(wanted: EmbeddingJob, folder: Path, numbers: list[int]) -> None:
    ShardWriter(wanted, str(folder))({"shard": np.array(numbers)})


def check_shards(photos: Path, folder: Path) -> None:
    parts = list(read_shards(folder))
    assert [photo for part in parts for photo in part.ids] == job(photos).ids
    pixels = [load_pixels(photos / name, size=(16, 24), fit="stretch") for name in job(photos).ids]
    wanted = control_features("mean_colour", np.stack(pixels))
    np.testing.assert_array_equal(np.concatenate([part.vectors for part in parts]), wanted)


def test_shards_hold_every_photo_once_in_order(photos: Path, tmp_path: Path) -> None:
    folder = tmp_path / "shards"
    assert missing_shards(job(photos), folder) == [0, 1, 2, 3, 4, 5]
    write_here(job(photos), folder, [0, 1, 2, 3, 4, 5])
    assert missing_shards(job(photos), folder) == []
    assert [len(part.ids) for part in read_shards(folder)] == [4, 4, 4, 4, 4, 3]
    check_shards(photos, folder)


def test_shards_of_another_job_are_refused(photos: Path, tmp_path: Path) -> None:
    missing_shards(job(photos), tmp_path / "shards")
    with pytest.raises(InputError, match=r"another job \(features\)"):
        missing_shards(job(photos, features="hog"), tmp_path / "shards")
    with pytest.raises(InputError, match=r"another job \(count, ids\)"):
        missing_shards(job(photos, ids=["000.png"]), tmp_path / "shards")


def test_missing_and_damaged_shards_are_named(photos: Path, tmp_path: Path) -> None:
    folder = tmp_path / "shards"
    with pytest.raises(InputError, match="holds no shards"):
        list(read_shards(folder))
    missing_shards(job(photos), folder)
    write_here(job(photos), folder, [0, 2, 3, 4, 5])
    with pytest.raises(InputError, match=r"shard-000001\.parquet: not there yet"):
        list(read_shards(folder))
    shard_file(folder, 1).write_bytes(shard_file(folder, 0).read_bytes()[:60])
    with pytest.raises(InputError, match=r"shard-000001\.parquet: damaged"):
        list(read_shards(folder))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"features": "magic"}, "features must be one of mean_colour"),
        ({"shard_photos": 0}, "at least 1"),
        ({"ids": []}, "no photos to embed"),
        ({"ids": ["000.png", "000.png"]}, "occurs twice"),
        ({"features": "discriminator", "weights": "nowhere.npz"}, r"nowhere\.npz: no such file"),
    ],
)
def test_bad_jobs(photos: Path, changes, words) -> None:
    with pytest.raises(InputError, match=words):
        job(photos, **changes)


def test_without_ray_one_line_says_so(photos: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("solesearch.index.cluster_embedding.find_spec", lambda name: None)
    with pytest.raises(InputError, match="Ray is not installed"):
        embed_files(job(photos), tmp_path / "shards")


def run_driver(photos: Path, folder: Path, wait: float, **options) -> subprocess.Popen:
    here = Path(__file__).resolve().parents[1]
    path = os.pathsep.join([str(here.parent / "src"), str(here), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-c", DRIVER, str(photos), str(folder), str(wait)]
    surroundings = {**os.environ, "PYTHONPATH": path, "RAY_USAGE_STATS_ENABLED": "0"}
    return subprocess.Popen(command, env=surroundings, stdout=subprocess.PIPE, text=True, **options)


@RAY
@pytest.mark.slow
def test_a_killed_run_loses_no_shard_and_repeats_none(photos: Path, tmp_path: Path) -> None:
    """Two workers; SIGKILL to the whole group once two shards are there; the second run does the rest."""
    folder = tmp_path / "shards"
    process = run_driver(photos, folder, 1.0, start_new_session=True)
    while len(list(folder.glob("shard-*.parquet"))) < 2:
        assert process.poll() is None, "the run ended before it could be killed"
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    time.sleep(3)  # Ray's workers see that their driver is gone
    before = {path.name: path.stat().st_mtime_ns for path in folder.glob("shard-*.parquet")}
    assert 2 <= len(before) < 6
    out, _ = run_driver(photos, folder, 0.0).communicate(timeout=300)
    assert out.split()[-1] == str(6 - len(before))
    after = {path.name: path.stat().st_mtime_ns for path in folder.glob("shard-*.parquet")}
    assert len(after) == 6
    assert {name: after[name] for name in before} == before
    check_shards(photos, folder)


@RAY
@pytest.mark.slow
def test_a_photo_that_cannot_be_read_is_named(photos: Path, tmp_path: Path) -> None:
    (photos / "005.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"embedding stopped: .*005\.png: unreadable"):
        embed_files(job(photos), tmp_path / "shards", workers=2)
