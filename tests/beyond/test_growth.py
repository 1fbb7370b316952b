"""Adding photos: read, refused, trained on, resumed after SIGKILL, searched; the experiment's measures."""

import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image
from small_world import open_small_study, write_embedder_file

from solesearch.beyond import growth, growth_experiment, growth_figures
from solesearch.beyond.export import embed_catalogue
from solesearch.beyond.growth_experiment import NEW_PHOTOS
from solesearch.core import files
from solesearch.core.checkpoints import save_variables
from solesearch.core.embedding import Embedding, embedding_name, load_embedding
from solesearch.core.errors import InputError
from solesearch.core.model_names import BEST
from solesearch.core.paths import Paths
from solesearch.core.workers import run_trainings
from solesearch.evaluation.study import Study
from solesearch.gan import continuation
from solesearch.gan.infogan import InfoGan
from solesearch.gan.training import load_gan
from solesearch.photos.catalog import CatalogSettings

STATE_STEP, STEPS = 8, 16


def draw(path: Path, *, seed: int, light: bool = True) -> None:
    """Save a photo of noise, 40 by 30 pixels, dark or light as in the small study."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 60, (30, 40, 3)) + 190 * light
    Image.fromarray(noise.astype(np.uint8)).save(path)


@pytest.fixture(scope="module")
def made_world(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small study with a training state of step 8, its index, batches of 4, and 64x96 photos.

    Eight photos are trained on, four validate: five answers need a gallery of five.
    """
    root = tmp_path_factory.mktemp("world")
    shutil.copy(repository / "dvc.yaml", root)
    parameters = yaml.safe_load((repository / "params.yaml").read_text())
    parameters["smoke"]["gan"]["batch_size"] = 4
    (root / "params.yaml").write_text(yaml.safe_dump(parameters))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOLESEARCH_ROOT", str(root))
        study = open_small_study((64, 96))
        drawn = [study.paths.drawn / name for name in study.photos["id"]]
        split = np.repeat(["training", "validation", "test"], (8, 4, 12))
        table = study.photos.assign(split=split, sha256=[files.digest(path) for path in drawn])
        files.write_table(study.paths.photos, table)
        settings = load_gan("smoke", image_size=(64, 96))
        gan = InfoGan(settings, seed=1)
        gan.steps_done.assign(STATE_STEP)
        save_variables(study.paths.gan_seed(1) / "state.npz", gan.state_variables())
        from solesearch.index.faiss_index import FaissIndex

        held = load_embedding(study.paths.embeddings, embedding_name("infogan", 1))
        FaissIndex.build(held).save(study.paths.index)
    return root


@pytest.fixture
def world(made_world: Path, workspace: Path) -> Path:
    """A copy of `made_world` that a test may change."""
    return Path(shutil.copytree(made_world, workspace, dirs_exist_ok=True))


@pytest.fixture
def new_photos(tmp_path: Path) -> Path:
    """Three readable photos in two folders, a second copy of one, a broken one and a text."""
    folder = tmp_path / "arrivals"
    for number, name in enumerate(("light/a.png", "light/b.png", "dark/c.png")):
        draw(folder / name, seed=number + 100, light=name.startswith("light"))
    shutil.copy(folder / "light" / "a.png", folder / "light" / "copy.png")
    (folder / "dark" / "broken.jpg").write_bytes(b"no photo")
    (folder / "notes.txt").write_text("not a photo")
    return folder


def digests(folder: Path) -> dict[str, str]:
    """Return the sha256 of everything below a folder but growth/ itself."""
    ours = {"growth", "training-seconds"}
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file() and not ours & set(path.parts)]
    return {str(path): files.digest(path) for path in paths}


# --- reading ---------------------------------------------------------------------------------------------


def read(folder: Path, known: dict[str, str] | None = None) -> growth.NewPhotos:
    settings = CatalogSettings.load("smoke")
    return growth.read_new_photos(folder, name="new", settings=settings, known=known or {})


def test_the_rest_goes_on_and_every_other_file_is_named(workspace: Path, new_photos: Path) -> None:
    found = read(new_photos)
    assert found.photos["id"].tolist() == ["new/dark/c.png", "new/light/a.png", "new/light/b.png"]
    assert found.photos["label"].tolist() == ["dark", "light", "light"]
    assert found.pixels.shape == (3, 64, 96, 3) and found.pixels.dtype == np.uint8
    problems = found.problems.set_index("file")
    assert problems.loc["light/copy.png", "problem"] == "the same bytes as new/light/a.png"
    assert problems.loc["light/copy.png", "action"] == growth.SKIPPED
    assert problems.loc["dark/broken.jpg", "action"] == problems.loc["notes.txt", "action"] == "left out"
    known = {found.photos["sha256"][0]: "boots/old.jpg"}
    again = read(new_photos, known)
    assert len(again.photos) == 2
    assert "the same bytes as boots/old.jpg" in set(again.problems["problem"])


def test_bad_folders_are_one_clear_line(workspace: Path, tmp_path: Path, new_photos: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere: no such folder"):
        read(tmp_path / "nowhere")
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(InputError, match=r"empty: holds no photos; wanted files that end in \.jpg"):
        read(empty)
    known = {digest: f"old/{digest}" for digest in read(new_photos).photos["sha256"]}
    with pytest.raises(InputError, match=r"none of its 5 photos is readable and new \(.*\); add others"):
        read(new_photos, known)
    with pytest.raises(InputError, match=r"growth\.steps: .*greater than or equal to 0, got -1"):
        growth.GrowthSettings.load("smoke", steps=-1)


# --- the command -----------------------------------------------------------------------------------------


def test_added_to_the_index_of_a_frozen_network(world: Path, new_photos: Path) -> None:
    """The stages' files stay as they were, the index equals one built anew, a search finds the photo."""
    before, left = digests(world / "runs"), "growth-.arrivals.partial-infogan-seed-1.json"
    files.write_json(Paths.of("smoke").training_seconds / left, 99.0)  # of one that was moved away
    summary = growth.add_folder("smoke", new_photos, steps=0)
    assert digests(world / "runs") == before and summary["training_seconds"] == 0
    assert (summary["added"], summary["known_already"], summary["left_out"]) == (3, 1, 2)
    assert summary["photos"] == 27 and summary["network_step"] > 0
    assert "27 photos in runs/smoke/growth/arrivals/index" in growth.summary_line(summary)
    paths, study = Paths.of("smoke"), Study.open("smoke")
    from solesearch.index.faiss_index import FaissIndex

    extended = FaissIndex.load(paths.growth / "arrivals" / "index")
    held = load_embedding(paths.embeddings, embedding_name("infogan", 1))
    new = study.embedder.load(paths.growth / "arrivals" / growth.NETWORK_FILES["infogan"]).embed(
        read(new_photos).pixels
    )
    rebuilt = FaissIndex.build(Embedding(extended.ids, np.concatenate([held.vectors, new])))
    queries = np.concatenate([held.vectors, new])
    assert extended.search_batch(queries, k=5) == rebuilt.search_batch(queries, k=5)
    found = growth.search("smoke", "arrivals", new_photos / "dark" / "c.png", k=3)
    assert found["id"][0] == "arrivals/dark/c.png" and found["new"][0]
    assert found["distance"][0] == pytest.approx(0, abs=1e-3)
    assert growth.add_folder("smoke", new_photos, steps=0) == summary, "a finished one is not done again"
    draw(new_photos / "light" / "late.png", seed=900)
    with pytest.raises(InputError, match=r"arrivals: is there already, from other photos"):
        growth.add_folder("smoke", new_photos, steps=0)
    for wrong, words in (("nobody", "there are arrivals"), ("", "there are arrivals")):
        with pytest.raises(InputError, match=words):
            growth.search("smoke", wrong, new_photos / "dark" / "c.png")
    with pytest.raises(InputError, match=r"broken\.jpg: unreadable"):
        growth.search("smoke", "arrivals", new_photos / "dark" / "broken.jpg")


def test_added_to_the_index_of_the_best_model_without_labels(world: Path, new_photos: Path) -> None:
    """The exported file embeds, here the mean colour; nothing else of the growth knows which model it is."""
    with pytest.raises(InputError, match=r"best\.onnx: not there yet; stage ladder writes it"):
        growth.add_folder("smoke", new_photos, model=BEST)
    study = Study.open("smoke")
    held = embed_catalogue(study, write_embedder_file(study.paths.ladder / "best.onnx"))
    from solesearch.index.faiss_index import FaissIndex

    FaissIndex.build(held).save(study.paths.ladder / "index")
    before = digests(world / "runs")
    with pytest.raises(InputError, match=r"STEPS=3: the best model without labels is not trained on step by"):
        growth.add_folder("smoke", new_photos, model=BEST, steps=3)
    summary = growth.add_folder("smoke", new_photos, model=BEST)
    assert digests(world / "runs") == before and (summary["steps"], summary["photos"]) == (0, 27)
    assert "best model without labels, its index extended" in growth.summary_line(summary)
    folder = study.paths.growth / "arrivals"
    new = read(new_photos).pixels.mean(axis=(1, 2)).astype(np.float32)
    queries = np.concatenate([held.vectors, new])
    rebuilt = FaissIndex.build(Embedding([*held.ids, *"abc"], queries))
    extended = FaissIndex.load(folder / "index").search_batch(queries, k=5)
    for ours, theirs in zip(extended, rebuilt.search_batch(queries, k=5), strict=True):
        assert [found.distance for found in ours] == pytest.approx([f.distance for f in theirs], abs=1e-2)
    found = growth.search("smoke", "arrivals", new_photos / "dark/c.png", k=1).iloc[0]
    assert found["new"] and found["distance"] == pytest.approx(0, abs=1e-2)
    with pytest.raises(InputError, match=r"is there already, from other photos, model, steps"):
        growth.add_folder("smoke", new_photos, steps=0)


def command(folder: Path, *more: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "solesearch.beyond.growth", "smoke", str(folder), *more],
        env=os.environ.copy(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


@pytest.mark.slow
def test_killed_while_training_on_and_resumed(
    world: Path,
    new_photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    """SIGKILL to the command in the middle of retraining; the same command ends with the same bytes."""
    before, paths = digests(world / "runs"), Paths.of("smoke")
    partial = paths.growth / ".arrivals.partial"
    log = partial / "infogan" / "seed-1" / "training.csv"
    process = command(new_photos, "--steps", str(STEPS))
    while not (log.is_file() and f"\n{STATE_STEP + 3}," in log.read_text()):
        assert process.poll() is None, "the command ended before it could be killed"
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (paths.growth / "arrivals").exists(), "nothing half-made has the growth's name"
    wait_until_still(log)
    reached = int(files.read_arrays(log.parent / "state.npz")["0000"])
    assert STATE_STEP < reached < STATE_STEP + STEPS
    pixels = shutil.copy(partial / "pixels.npy", tmp_path / "pixels.npy")
    whole = paths.growth / "whole" / "infogan" / "seed-1"
    with ThreadPoolExecutor() as pool:  # side by side, for time
        uninterrupted = pool.submit(continue_apart, paths, whole, Path(pixels))
        monkeypatch.setattr(sys, "argv", ["growth", "smoke", str(new_photos), "--steps", str(STEPS)])
        assert growth.main() == 0, capsys.readouterr().err
        uninterrupted.result()
    words = capsys.readouterr().out
    assert "3 photos added, 1 known already, 2 left out" in words
    assert f"trained on for {STEPS} steps to step {STATE_STEP + STEPS}" in words
    assert digests(world / "runs") == before, "a stage's output was touched"
    assert not partial.exists() and not paths.set_aside.exists()
    folder = paths.growth / "arrivals"
    steps = pd.read_csv(folder / "infogan" / "seed-1" / "training.csv")["step"].tolist()
    assert steps == list(range(STATE_STEP + 1, STATE_STEP + STEPS + 1)), "no step twice, none left out"
    ended = continuation.last_discriminator(whole)
    assert files.digest(ended) == files.digest(folder / growth.NETWORK_FILES["infogan"])
    assert files.digest(ended) != files.digest(paths.gan_seed(1) / "discriminator-000008.npz")
    found = growth.search("smoke", "arrivals", new_photos / "dark" / "c.png", k=2)
    assert found["id"][0] == "arrivals/dark/c.png"


def continue_apart(paths: Paths, folder: Path, new_pixels: Path) -> None:
    """Train seed 1 on in a process of its own."""
    arguments = (paths, folder, 1, STEPS, new_pixels)
    run_trainings(continuation.continue_training, {"seed 1": arguments}, at_once=1)


def wait_until_still(log: Path) -> None:
    """Wait until a log no longer grows: the training notices that its parent is gone within a step."""
    last = -1
    while last != len(log.read_text(encoding="utf-8")):
        last = len(log.read_text(encoding="utf-8"))
        time.sleep(2)


def test_the_command_says_what_is_wrong_in_one_line(world: Path, tmp_path: Path) -> None:
    process = command(tmp_path / "nowhere")
    _, words = process.communicate()
    assert process.returncode == 1
    assert words.strip().splitlines()[-1].startswith("error: ") and "no such folder" in words
    assert "Traceback" not in words


# --- the experiment --------------------------------------------------------------------------------------


def photo_table() -> pd.DataFrame:
    """Return 18 photos of three classes, six a split."""
    split = np.repeat(["training", "validation", "test"], 6)
    label = np.tile(["boots", "heels", "sandals"], 6)
    return pd.DataFrame({"id": [f"{n:02d}" for n in range(18)], "label": label, "split": split})


def test_who_is_old_and_who_is_new() -> None:
    photos = photo_table()
    grown, arrived = growth_experiment.experiments(photos, new_class="")
    assert photos["split"].iloc[grown.old].unique().tolist() == ["training"]
    assert photos["split"].iloc[grown.new].unique().tolist() == ["validation"]
    assert photos["label"].iloc[arrived.new].unique().tolist() == ["sandals"], "the last class by name"
    assert not set(photos["label"].iloc[arrived.old]) & {"sandals"}
    assert "test" not in set(photos["split"].iloc[[*arrived.old, *arrived.new]])
    assert arrived.parts["sandals"].sum() == 2 and arrived.parts["other classes"].sum() == 4
    assert "boots" in growth_experiment.experiments(photos, new_class="boots")[1].parts
    with pytest.raises(InputError, match=r"growth\.new_class: 'hats' is none of boots, heels, sandals"):
        growth_experiment.experiments(photos, new_class="hats")


class HandStudy:
    """Photos on a line: the class decides the place, and network `other` mirrors the line."""

    def __init__(self):
        photos = photo_table()
        self.photos = photos.assign(group=photos["id"], position=0)
        places = photos["label"].map({"boots": 0, "heels": 10, "sandals": 30}).to_numpy(float)
        places = places + np.arange(18) * 0.01
        line = np.stack([places, np.zeros(18)], axis=1).astype(np.float32)
        self.vectors = {name: line for name in ("last", "served", "untrained", "continued")}
        self.vectors["retrained"] = -line + 1000
        self.evaluation = type("Evaluation", (), {"exclusion_window": 0})


def test_stale_vectors_find_nothing_and_a_new_class_is_found_once_it_is_there(monkeypatch) -> None:
    """Worked by hand: two networks whose spaces lie apart; each class has two photos a split, so k is 2."""
    monkeypatch.setattr(growth_experiment, "K", 2)
    study = HandStudy()
    grown, arrived = growth_experiment.experiments(study.photos, new_class="")
    judged = growth_experiment.judge_ways(study, grown, study.vectors, growth_experiment.WAYS)["naive"]
    assert judged[["before", "added", "retrained"]].to_numpy().min() == 1
    # queries near 1000 meet old photos near 0: the new photos alone are near, two of each class
    assert judged["new stale"].tolist() == [1] * 6
    judged = growth_experiment.judge_ways(study, arrived, study.vectors, growth_experiment.WAYS)["naive"]
    theirs = arrived.parts["sandals"]
    assert judged["before"][theirs].tolist() == [0, 0], "by construction"
    assert judged["added"][theirs].tolist() == [1, 1]
    assert judged["before"][~theirs].tolist() == judged["added"][~theirs].tolist() == [1] * 4
    assert judged["stale"][~theirs].tolist() == [0] * 4, "only the new class lies in the new space"


def test_a_query_that_too_few_photos_may_answer_is_not_judged(monkeypatch) -> None:
    """The first query's product holds all old photos: without them nobody answers, before."""
    monkeypatch.setattr(growth_experiment, "K", 2)
    study = HandStudy()
    grown, _ = growth_experiment.experiments(study.photos, new_class="")
    together = [*grown.old, grown.queries[0]]
    study.photos.loc[together, "group"] = "one"
    judged = growth_experiment.judge_ways(study, grown, study.vectors, growth_experiment.WAYS)
    strict = judged["product_excluded"]
    for column in ("before", "new before"):
        assert strict[column].isna().tolist() == [True] + [False] * 5
    assert strict["added"].notna().all() and strict["new added"].iloc[0] == 1
    assert judged["naive"].notna().all(axis=None)


def test_changes_are_paired_and_their_intervals_come_from_products() -> None:
    from solesearch.retrieval.uncertainty import Resampling, bootstrap_intervals

    settings = Resampling(resamples=300, permutations=9, confidence=0.9, significance=0.05, seed=4)
    rng = np.random.default_rng(1)
    names = [way.name for way in growth_experiment.WAYS]
    judged = pd.DataFrame({name: rng.integers(0, 6, 40) / 5 for name in names})
    judged.loc[3, "added"] = np.nan
    for name in names:
        judged[f"new {name}"] = 0.25
    units = pd.Series(rng.integers(0, 9, 40))
    table = growth_experiment.way_rows(judged, growth_experiment.WAYS, units, settings).set_index("way")
    difference = (judged["retrained"] - judged["before"]).to_numpy()
    assert table.loc["retrained", "change"] == pytest.approx(difference.mean())
    assert table.loc["stale", "over_added"] == pytest.approx((judged["stale"] - judged["added"]).mean())
    low, high = bootstrap_intervals(
        difference[:, None], pd.factorize(units)[0], resamples=300, confidence=0.9, seed=4
    )[:, 0]
    assert (table.loc["retrained", "change_low"], table.loc["retrained", "change_high"]) == (low, high)
    assert table.loc[["before", "served_before", "untrained_before"], "change"].isna().all()
    assert table.loc[["before", "added"], "over_added"].isna().all()
    assert table.loc["added", "n"] == 39 and table.loc["before", "n"] == 40
    assert table["new_share"].eq(0.25).all()


def test_chart_names_a_wrong_table() -> None:
    good = pd.DataFrame({
        "experiment": NEW_PHOTOS, "queries": "all", "gallery": "naive", "way": ["before", "added"],
        "precision": [0.5, 0.6], "low": 0.4, "high": 0.7, "n": 10, "new_share": [0, 0.3], "old_photos": 20,
        "new_photos": [0, 5],
    })  # fmt: skip
    assert len(growth_figures.growth(good, profile="smoke").axes) == 1
    with pytest.raises(InputError, match=r"table growth: .*unknown way"):
        growth_figures.growth(good.assign(way="magic"), profile="smoke")
    with pytest.raises(InputError, match="table growth: no rows"):
        growth_figures.growth(good.iloc[:0], profile="smoke")
