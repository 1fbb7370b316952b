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
import pytest
import yaml

from solesearch.beyond.variant_training import VariantTrainings, labelled_rows, train_variants
from solesearch.beyond.variants import VARIANTS, VariantSettings
from solesearch.core import files
from solesearch.core.checkpoints import checkpoint_steps
from solesearch.core.errors import InputError
from solesearch.core.paths import Paths
from solesearch.core.workers import run_trainings
from solesearch.gan.training import load_gan, train_seed
from solesearch.photos.splits import UNLABELLED

SHORT = {"steps": 6, "batch_size": 4, "resume_every": 2}


def short_settings(**changed) -> VariantSettings:
    """Return section ladder for six steps of four photos, three of contrastive_only."""
    settings = VariantSettings.load("smoke", **{**SHORT, **changed})
    return settings.replaced(contrastive=settings.contrastive.replaced(steps=3, batch_size=4))


def short_trainings(**changed) -> VariantTrainings:
    return VariantTrainings("smoke", short_settings(**changed))


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
    assert next(iter(VARIANTS)) == "infogan" and first.training == "Recipe" and not first.gan
    assert all(re.search(r"\b(19|20)\d\d\b|P eq", one.idea) for one in (first, *others))
    assert [name for name, one in VARIANTS.items() if one.needs_labels] == ["code_supervision"]
    plain = {
        name: one.gan for name, one in VARIANTS.items() if one.training == "Recipe" and not one.continued
    }
    assert list(plain) == ["infogan", "categorical_code", "lambda_0", "lambda_10"]
    assert [plain[name]["information_weight"] for name in ("lambda_0", "lambda_10")] == [0, 10]
    assert len({one.title for one in VARIANTS.values()}) == len(VARIANTS)


def test_what_cannot_be_trained_is_said_before_anything_starts(catalogue: Paths) -> None:
    with pytest.raises(InputError, match=r"seeds: name each one once; got \[1, 1\]"):
        short_settings(seeds=[1, 1])
    with pytest.raises(InputError, match=r"smoke\.ladder: variants: 'biggan' is none of infogan, "):
        short_settings(variants=["infogan", "biggan"])
    with pytest.raises(InputError, match="variants to train: 'gan' is none of infogan, infogan_longer, "):
        train_variants(short_trainings(), wanted=[("infogan", 1), ("gan", 1)])
    with pytest.raises(InputError, match=r"12 training photos make no batch of 13; lower ladder.batch_size"):
        train_variants(short_trainings(batch_size=13), wanted=[("infogan", 1)])
    with pytest.raises(InputError, match=r"12 training photos make no batch of 16; lower gan.batch_size"):
        train_variants(short_trainings())
    with pytest.raises(InputError, match=r"ladder\.longer_steps: 8 is not beyond gan\.steps, 8; raise it"):
        train_variants(short_trainings(longer_steps=8))
    small = short_trainings()
    small.recipe = small.recipe.replaced(batch_size=4)
    with pytest.raises(InputError, match=r"state\.npz: no state to go on from; stage train writes it"):
        train_variants(small, wanted=[("infogan_longer", 1)])
    with pytest.raises(InputError, match=r"trunk.npz: not there yet; stage ladder writes it"):
        short_trainings().trunk("infogan", 1)
    assert not catalogue.ladder.exists()


def test_only_the_stated_share_of_labels_may_be_seen() -> None:
    labels = np.array(["a"] * 100 + ["b"] * 50 + ["c"] * 3 + [UNLABELLED] * 40)
    rows = labelled_rows(labels, share=0.1, seed=1)
    names, counts = np.unique(labels[rows], return_counts=True)
    assert dict(zip(names, counts, strict=True)) == {"a": 10, "b": 5, "c": 1}
    assert len(set(rows)) == len(rows) == 16 and (np.diff(rows) > 0).all()
    np.testing.assert_array_equal(rows, labelled_rows(labels, share=0.1, seed=1))
    assert (rows != labelled_rows(labels, share=0.1, seed=2)).any()


def test_other_labels_reach_neither_training_nor_config(catalogue: Paths) -> None:
    """One label seen changes a config; all that are not seen may change without a trace."""
    trainings = short_trainings()
    rows, before = trainings.labelled(1), trainings.config("code_supervision", 1)
    assert len(rows) == 3  # 2 % of four photos a class: one
    assert before["settings"]["categorical_codes"] == 3
    assert "labelled" not in trainings.config("infogan", 1)
    model = trainings.model("code_supervision", 1)
    np.testing.assert_array_equal(model.labelled.pixels, trainings.pixels[rows])
    photos = files.read_table(catalogue.photos, made_by="stage prepare", keep_default_na=False)
    assert [trainings.classes[n] for n in model.labelled.classes] == photos["label"][rows].tolist()
    photos.loc[photos.index[12:], "label"] = "sandals"  # test photos
    files.write_table(catalogue.photos, photos)
    assert short_trainings().config("code_supervision", 1) == before
    photos.loc[rows[0], "label"] = photos["label"][rows[1]]
    files.write_table(catalogue.photos, photos)
    assert short_trainings().config("code_supervision", 1) != before


def test_a_value_stales_only_the_variants_that_read_it(catalogue: Paths) -> None:
    settings = short_settings()
    changed = settings.replaced(
        ideas=settings.ideas.replaced(ema_decay=0.5),
        contrastive=settings.contrastive.replaced(hidden=7),
        dictionary=settings.dictionary.replaced(centres=7),
        resume_every=1,
    )
    before, after = (VariantTrainings("smoke", one) for one in (settings, changed))
    trained = set(VARIANTS) - {"infogan_longer"}  # whose config tells what it starts from
    differing = {name for name in trained if before.config(name, 1) != after.config(name, 1)}
    assert differing == {
        *("ema", "contrastive_head", "contrastive_only", "contrastive_gradients"),
        *("dictionary", "dictionary_network"),
    }


@pytest.mark.slow
def test_the_papers_training_goes_on_as_if_it_had_never_stopped(catalogue: Paths) -> None:
    """From four steps to six, bit for bit what six steps at once give; both later checkpoints are kept."""
    for steps in (4, 6):
        settings = load_gan("smoke", steps=steps, batch_size=4, checkpoint_every=2)
        run_trainings(train_seed, {"seed 1": (catalogue, settings, 1)}, at_once=1)
        if steps == 4:
            parameters = catalogue.root / "params.yaml"
            read = yaml.safe_load(parameters.read_text())
            read["smoke"]["gan"].update(steps=4, batch_size=4)
            parameters.write_text(yaml.safe_dump(read))
            trainings = short_trainings(longer_steps=6, longer_every=1)
            table = train_variants(trainings, wanted=[("infogan_longer", 1)])
    folder = trainings.folder("infogan_longer", 1).path
    assert checkpoint_steps(folder) == [5, 6] and table["steps"].tolist() == [6]
    assert not (folder / "state.npz").exists()
    at_once = files.read_arrays(catalogue.gan_seed(1) / "discriminator-000006.npz")
    went_on = files.read_arrays(trainings.trunk_file("infogan_longer", 1))
    assert at_once.keys() == went_on.keys()
    assert all(np.array_equal(at_once[name], went_on[name]) for name in at_once)


WHOLE_THEN_KILLED = """
import os, sys
from solesearch.beyond.variants import VariantSettings
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

    trainings = short_trainings()
    table = train_variants(trainings, wanted=[("ema", 1), ("contrastive_only", 1), ("dictionary", 1)])
    one, names = Paths("smoke", whole).ladder_seed("ema", 1), sorted(path.name for path in folder.iterdir())
    assert names == ["config.json", "samples-000006.png", "training.csv", "trunk.npz"]  # the state is gone
    assert names == sorted(path.name for path in one.iterdir())
    assert filecmp.cmpfiles(one, folder, names, shallow=False) == (names, [], [])
    assert table["variant"].tolist() == ["ema", "contrastive_only", "dictionary"]
    assert table["steps"].tolist() == [6, 3, trainings.settings.dictionary.epochs]
    assert (table.loc[:1, "seconds"] > 0).all()
    assert np.isfinite(table.loc[0, "d_real"]) and np.isfinite(table.loc[1, "contrastive"])

    file = trainings.trunk_file("ema", 1)
    written, kernel = file.stat().st_mtime_ns, trainings.trunk("ema", 1).convolutions[0].kernel
    np.testing.assert_array_equal(kernel.numpy(), files.read_arrays(file)["0000"])
    again = train_variants(trainings, wanted=[("ema", 1)])  # trains nothing
    assert file.stat().st_mtime_ns == written and again.loc[0, "d_real"] == table.loc[0, "d_real"]
