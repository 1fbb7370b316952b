"""The ladder's trainings: what is trained, what may be seen, and the same bytes after SIGKILL."""

import filecmp
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest

from solesearch.beyond import variant_training
from solesearch.beyond.variant_settings import VariantSettings
from solesearch.beyond.variants import VARIANTS
from solesearch.core import files
from solesearch.core.errors import InputError
from solesearch.core.paths import Paths
from solesearch.photos.splits import UNLABELLED

SHORT = {"steps": 6, "batch_size": 4, "resume_every": 2}


def short_settings(**changed) -> VariantSettings:
    """Return section ladder for six steps of four photos, three of contrastive_only."""
    settings = VariantSettings.load("smoke", **{**SHORT, **changed})
    return settings.replaced(contrastive=settings.contrastive.replaced(steps=3, batch_size=4))


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
    first, *others = VARIANTS.values()
    assert next(iter(VARIANTS)) == "infogan" and first.training == "recipe" and not first.gan
    assert all(re.search(r"\b(19|20)\d\d\b|P eq", one.idea) for one in (first, *others))
    assert [name for name, one in VARIANTS.items() if one.needs_labels] == ["code_supervision"]
    assert len({one.title for one in VARIANTS.values()}) == len(VARIANTS)


def test_what_cannot_be_trained_is_said_before_anything_starts(catalogue: Paths) -> None:
    train, settings = variant_training.train_variants, short_settings()
    with pytest.raises(InputError, match=r"seeds: name each one once; got \[1, 1\]"):
        short_settings(seeds=[1, 1])
    with pytest.raises(InputError, match=r"smoke\.ladder: variants: 'biggan' is none of infogan, "):
        short_settings(variants=["infogan", "biggan"])
    with pytest.raises(InputError, match="variants to train: 'gan' is none of infogan, vanilla"):
        train("smoke", settings, wanted=[("infogan", 1), ("gan", 1)])
    with pytest.raises(InputError, match=r"12 training photos make no batch of 13; lower ladder.batch_size"):
        train("smoke", short_settings(batch_size=13))
    with pytest.raises(InputError, match=r"trunk.npz: not there yet; stage ladder writes it"):
        variant_training.load_trunk("smoke", "infogan", 1, settings)
    assert not catalogue.ladder.exists()


def test_only_the_stated_share_of_labels_may_be_seen() -> None:
    labels = np.array(["a"] * 100 + ["b"] * 50 + ["c"] * 3 + [UNLABELLED] * 40)
    rows = variant_training.labelled_rows(labels, share=0.1, seed=1)
    names, counts = np.unique(labels[rows], return_counts=True)
    assert dict(zip(names, counts, strict=True)) == {"a": 10, "b": 5, "c": 1}
    assert len(set(rows)) == len(rows) == 16 and (np.diff(rows) > 0).all()
    np.testing.assert_array_equal(rows, variant_training.labelled_rows(labels, share=0.1, seed=1))
    assert (rows != variant_training.labelled_rows(labels, share=0.1, seed=2)).any()


def test_other_labels_reach_neither_training_nor_config(catalogue: Paths) -> None:
    trainings = variant_training.VariantTrainings("smoke", short_settings())
    rows = trainings.labelled(1)
    assert len(rows) == 3  # 2 % of four photos a class: one
    model = variant_training.build_training(trainings, "code_supervision", 1)
    np.testing.assert_array_equal(model.labelled.pixels, trainings.pixels[rows])
    assert [trainings.classes[n] for n in model.labelled.classes] == trainings.labels[rows].tolist()
    config = trainings.config("code_supervision", 1)
    assert config["labelled"] == {str(row): trainings.labels[row] for row in rows}
    assert config["settings"]["categorical_codes"] == 3
    assert "labelled" not in trainings.config("infogan", 1)


def test_a_value_stales_only_the_variants_that_read_it(catalogue: Paths) -> None:
    settings = short_settings()
    changed = settings.replaced(
        ideas=settings.ideas.replaced(ema_decay=0.5),
        contrastive=settings.contrastive.replaced(hidden=7),
        resume_every=1,
    )
    before, after = (variant_training.VariantTrainings("smoke", one) for one in (settings, changed))
    differing = {name for name in VARIANTS if before.config(name, 1) != after.config(name, 1)}
    assert differing == {"ema", "contrastive_head", "contrastive_only", "contrastive_gradients"}


WHOLE_THEN_KILLED = """
import os, sys
from solesearch.beyond.variant_settings import VariantSettings
from solesearch.beyond.variant_training import train_variant
for root, often in ((sys.argv[1], 2), (sys.argv[2], 1)):
    os.environ["SOLESEARCH_ROOT"] = root
    settings = VariantSettings.load("smoke", steps=6, batch_size=4, resume_every=often)
    train_variant("smoke", settings, "ema", 1)
"""


@pytest.mark.slow
@pytest.mark.timeout(1500)  # three trainings are traced; minutes on a busy machine
def test_a_killed_training_goes_on_and_ends_with_the_same_bytes(workspace: Path, tmp_path_factory) -> None:
    """One process ends a run and is killed in the second one; processes of a pool go on with that."""
    whole = tmp_path_factory.mktemp("whole")
    for root in (workspace, whole):
        write_catalogue(root)
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copy(workspace / name, whole / name)
    process = subprocess.Popen([sys.executable, "-c", WHOLE_THEN_KILLED, str(whole), str(workspace)])
    folder = Paths("smoke", workspace).ladder_seed("ema", 1)
    while not (folder / "state.npz").is_file():
        assert process.poll() is None, "training ended before it could be killed"
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (folder / "trunk.npz").exists()
    assert 1 <= len(pd.read_csv(folder / "training.csv")) < 6

    settings, jobs = short_settings(), [("ema", 1), ("contrastive_only", 1)]
    table = variant_training.train_variants("smoke", settings, wanted=jobs)
    one, names = Paths("smoke", whole).ladder_seed("ema", 1), sorted(path.name for path in folder.iterdir())
    assert names == ["config.json", "samples-000006.png", "training.csv", "trunk.npz"]  # the state is gone
    assert names == sorted(path.name for path in one.iterdir())
    assert filecmp.cmpfiles(one, folder, names, shallow=False) == (names, [], [])
    assert table[["variant", "seed", "steps"]].values.tolist() == [["ema", 1, 6], ["contrastive_only", 1, 3]]
    assert (table["seconds"] > 0).all()
    assert np.isfinite(table.loc[0, "d_real"]) and np.isfinite(table.loc[1, "contrastive"])
    check_trunk(settings, table)


def check_trunk(settings: VariantSettings, table: pd.DataFrame) -> None:
    """A second call trains nothing; the trunk that is loaded is the file's."""
    file = variant_training.trunk_file(Paths.of("smoke").ladder_seed("ema", 1))
    written = file.stat().st_mtime_ns
    again = variant_training.train_variants("smoke", settings, wanted=[("ema", 1)])
    assert file.stat().st_mtime_ns == written
    assert again.loc[0, "d_real"] == table.loc[0, "d_real"]
    trunk = variant_training.load_trunk("smoke", "ema", 1, settings)
    arrays = files.read_arrays(file)
    np.testing.assert_array_equal(trunk.convolutions[0].kernel.numpy(), arrays["0000"])
    features = trunk(np.zeros((2, 16, 24, 3), np.float32)).features.numpy()
    assert features.shape == (2, 2 * 3 * 16) and np.isfinite(features).all()


@pytest.mark.slow
def test_trainings_end_with_their_parent(catalogue: Paths) -> None:
    """Killed while its children start TensorFlow: none of them may go on to train."""
    code = (
        "from solesearch.beyond.variant_training import *\n"
        f"train_variants('smoke', VariantSettings.load('smoke', **{SHORT}))"
    )
    parent = subprocess.Popen([sys.executable, "-c", code])
    while not list(catalogue.ladder.glob("*/seed-1/config.json")):
        assert parent.poll() is None
        time.sleep(0.02)
    children = psutil.Process(parent.pid).children(recursive=True)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    gone, alive = psutil.wait_procs(children, timeout=60)
    assert gone and not alive
    assert not list(catalogue.ladder.glob("*/seed-1/trunk.npz"))
