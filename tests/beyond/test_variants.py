"""The ladder's trainings: what is trained, what may be seen, and the same bytes after SIGKILL."""

import filecmp
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest

from solesearch.beyond import variants
from solesearch.core import files
from solesearch.core.errors import InputError
from solesearch.core.paths import Paths
from solesearch.core.settings import load_section
from solesearch.photos.splits import UNLABELLED

OVERRIDES = {"ladder.steps": 6, "ladder.batch_size": 4, "ladder.resume_every": 2}


def contrastive() -> dict:
    """Return section ladder.contrastive for three steps of four photos."""
    return {**load_section("smoke", "ladder")["contrastive"], "steps": 3, "batch_size": 4}


def write_catalogue(root: Path) -> None:
    """Twelve random training photos of 16x24 in three classes, and two test photos, as stage prepare does."""
    paths = Paths("smoke", root)
    pixels = np.random.default_rng(0).integers(0, 256, (14, 16, 24, 3), dtype=np.uint8)
    files.write_array(paths.pixels, pixels)
    labels = [*("boots", "heels", "flats") * 4, "boots", "heels"]
    table = {"id": [f"{i}.jpg" for i in range(14)], "label": labels, "product": "", "group": ""}
    files.write_table(paths.photos, pd.DataFrame({**table, "split": ["training"] * 12 + ["test"] * 2}))


@pytest.fixture
def catalogue(workspace: Path) -> Paths:
    write_catalogue(workspace)
    return Paths.of("smoke")


def test_the_first_variant_is_the_papers_recipe_and_each_has_a_source() -> None:
    first, *others = variants.VARIANTS.values()
    assert next(iter(variants.VARIANTS)) == "infogan" and first.training == "recipe" and not first.gan
    assert all(re.search(r"\b(19|20)\d\d\b|P eq", one.idea) for one in (first, *others))
    assert [name for name, one in variants.VARIANTS.items() if one.needs_labels] == ["code_supervision"]
    assert len({one.title for one in variants.VARIANTS.values()}) == len(variants.VARIANTS)


@pytest.mark.parametrize("profile", ["smoke", "sample", "zappos", "paper"])
def test_every_profile_has_a_ladder(workspace, profile: str) -> None:
    settings = variants.load_variant_settings(profile)
    assert "infogan" in settings.variants
    assert set(settings.seeds) <= set(settings.finalist_seeds)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"ladder.variants": ["infogan", "biggan"]}, r"smoke.ladder.variants: 'biggan' is none of infogan, "),
        ({"ladder.steps": 0}, r"params.yaml, ladder.steps: at least 1; got 0"),
        ({"ladder.steps": "many"}, r"params.yaml, ladder.steps: 'many' is no int"),
        ({"ladder.seeds": [1, 1]}, r"params.yaml, ladder.seeds: name each one once; got \[1, 1\]"),
        ({"ladder.contrastive": {"steps": 3}}, r"smoke.ladder.contrastive: missing batch_size, "),
        ({"ladder.epochs": 3}, r"no such key below smoke.ladder"),
    ],
)
def test_settings_that_make_no_ladder_are_refused(workspace, overrides: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        variants.load_variant_settings("smoke", overrides)


def test_what_cannot_be_trained_is_said_before_anything_starts(catalogue: Paths) -> None:
    with pytest.raises(InputError, match="variants to train: 'gan' is none of infogan, vanilla"):
        variants.train_variants("smoke", OVERRIDES, wanted=[("infogan", 1), ("gan", 1)])
    with pytest.raises(InputError, match=r"12 training photos make no batch of 13; lower ladder.batch_size"):
        variants.train_variants("smoke", {**OVERRIDES, "ladder.batch_size": 13})
    with pytest.raises(InputError, match=r"trunk.npz: not there yet; stage ladder writes it"):
        variants.load_trunk("smoke", "infogan", 1, OVERRIDES)
    with pytest.raises(InputError, match="trunk to load: 'gan' is none of"):
        variants.load_trunk("smoke", "gan", 1)
    assert not catalogue.ladder.exists()


def test_only_the_stated_share_of_labels_may_be_seen() -> None:
    labels = np.array(["a"] * 100 + ["b"] * 50 + ["c"] * 3 + [UNLABELLED] * 40)
    rows = variants.labelled_rows(labels, share=0.1, seed=1)
    names, counts = np.unique(labels[rows], return_counts=True)
    assert dict(zip(names, counts, strict=True)) == {"a": 10, "b": 5, "c": 1}
    assert len(set(rows)) == len(rows) == 16 and (np.diff(rows) > 0).all()
    np.testing.assert_array_equal(rows, variants.labelled_rows(labels, share=0.1, seed=1))
    assert (rows != variants.labelled_rows(labels, share=0.1, seed=2)).any()


def test_other_labels_reach_neither_training_nor_config(catalogue: Paths) -> None:
    ladder = variants.Ladder("smoke", OVERRIDES)
    rows = variants.labelled_rows(ladder.labels, share=ladder.settings.ideas.labelled_share, seed=1)
    assert len(rows) == 3  # 2 % of four photos a class: one
    given = ladder.labelled(1)
    np.testing.assert_array_equal(given.pixels, ladder.pixels[rows])
    assert [ladder.classes[number] for number in given.classes] == ladder.labels[rows].tolist()
    wanted = ladder.wanted("code_supervision", 1)
    assert wanted["labelled"] == {str(row): ladder.labels[row] for row in rows}
    assert wanted["settings"]["categorical_codes"] == 3
    assert "labelled" not in ladder.wanted("infogan", 1)


def test_a_value_stales_only_the_variants_that_read_it(catalogue: Paths) -> None:
    before = variants.Ladder("smoke", OVERRIDES)
    ideas = {**load_section("smoke", "ladder")["ideas"], "ema_decay": 0.5}
    changes = {"ladder.ideas": ideas, "ladder.contrastive": contrastive(), "ladder.resume_every": 1}
    after = variants.Ladder("smoke", {**OVERRIDES, **changes})
    differing = {name for name in variants.VARIANTS if before.wanted(name, 1) != after.wanted(name, 1)}
    assert differing == {"ema", "contrastive_head", "contrastive_only", "contrastive_gradients"}


def test_a_loss_that_is_not_finite_stops_with_its_name() -> None:
    with pytest.raises(
        InputError, match=r"variant ema, seed 2, step 7: d_real is not finite.*learning rates"
    ):
        variants.stop_when_not_finite({"d_real": float("nan"), "d_fake": 1.0}, name="ema", seed=2, step=7)


WHOLE_THEN_KILLED = """
import os, sys
from solesearch.beyond.variants import train_variant
whole, killed, overrides = sys.argv[1], sys.argv[2], {overrides!r}
os.environ["SOLESEARCH_ROOT"] = whole
train_variant("smoke", "ema", 1, overrides)
os.environ["SOLESEARCH_ROOT"] = killed
train_variant("smoke", "ema", 1, {{**overrides, "ladder.resume_every": 1}})
"""


@pytest.mark.slow
@pytest.mark.timeout(1500)  # three trainings are traced; minutes on a busy machine
def test_a_killed_training_goes_on_and_ends_with_the_same_bytes(workspace: Path, tmp_path_factory) -> None:
    """One process ends a run and is killed in the second one; processes of a pool go on with that."""
    overrides = {**OVERRIDES, "ladder.contrastive": contrastive()}
    whole = tmp_path_factory.mktemp("whole")
    for root in (workspace, whole):
        write_catalogue(root)
    for name in ("params.yaml", "dvc.yaml"):
        (whole / name).write_bytes((workspace / name).read_bytes())
    script = WHOLE_THEN_KILLED.format(overrides=overrides)
    process = subprocess.Popen([sys.executable, "-c", script, str(whole), str(workspace)])
    folder = Paths("smoke", workspace).ladder_seed("ema", 1)
    while not ((folder / "training.csv").is_file() and (folder / "state.npz").is_file()):
        assert process.poll() is None, "training ended before it could be killed"
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (folder / "trunk.npz").exists()
    assert 1 <= len(pd.read_csv(folder / "training.csv")) < 6

    jobs = [("ema", 1), ("contrastive_only", 1)]
    table = variants.train_variants("smoke", overrides, wanted=jobs)
    one, names = Paths("smoke", whole).ladder_seed("ema", 1), sorted(path.name for path in folder.iterdir())
    assert names == ["config.json", "samples-000006.png", "training.csv", "trunk.npz"]  # the state is gone
    assert names == sorted(path.name for path in one.iterdir())
    assert filecmp.cmpfiles(one, folder, names, shallow=False) == (names, [], [])
    assert table[["variant", "seed", "steps"]].values.tolist() == [["ema", 1, 6], ["contrastive_only", 1, 3]]
    assert (table["seconds"] > 0).all()
    assert np.isfinite(table.loc[0, "d_real"]) and np.isfinite(table.loc[1, "contrastive"])
    check_trunk(overrides, table)


def check_trunk(overrides: dict, table: pd.DataFrame) -> None:
    """A second call trains nothing; the trunk that is loaded is the file's."""
    file = variants.trunk_file(Paths.of("smoke").ladder_seed("ema", 1))
    written = file.stat().st_mtime_ns
    again = variants.train_variants("smoke", overrides, wanted=[("ema", 1)])
    assert file.stat().st_mtime_ns == written
    assert again.loc[0, "d_real"] == table.loc[0, "d_real"]
    trunk = variants.load_trunk("smoke", "ema", 1, overrides)
    arrays = files.read_arrays(file)
    np.testing.assert_array_equal(trunk.convolutions[0].kernel.numpy(), arrays["0000"])
    features = trunk(np.zeros((2, 16, 24, 3), np.float32)).features.numpy()
    assert features.shape == (2, 2 * 3 * 16) and np.isfinite(features).all()


def test_trainings_end_with_their_parent(catalogue: Paths) -> None:
    """Killed while its children start TensorFlow: none of them may go on to train."""
    code = f"from solesearch.beyond.variants import train_variants; train_variants('smoke', {OVERRIDES!r})"
    parent = subprocess.Popen([sys.executable, "-c", code], env=os.environ.copy())
    while not list(catalogue.ladder.glob("*/seed-1/config.json")):
        assert parent.poll() is None
        time.sleep(0.02)
    children = psutil.Process(parent.pid).children(recursive=True)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    gone, alive = psutil.wait_procs(children, timeout=60)
    assert gone and not alive
    assert not list(catalogue.ladder.glob("*/seed-1/trunk.npz"))
