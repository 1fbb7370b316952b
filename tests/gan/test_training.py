"""Training: batches, logs, checkpoints, NaN, and going on after SIGKILL with the same bytes."""

import dataclasses
import filecmp
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from solesearch.core import checkpoints, files, provenance, repeatable
from solesearch.core.errors import InputError
from solesearch.core.paths import Paths
from solesearch.gan import infogan, training

OVERRIDES = {"gan.steps": 6, "gan.checkpoint_every": 3, "gan.resume_every": 2, "gan.batch_size": 4}


@pytest.fixture
def catalogue(workspace: Path) -> Paths:
    """Twelve random training photos of 32x48, as stage prepare leaves them."""
    paths = Paths.of("smoke")
    pixels = np.random.default_rng(0).integers(0, 256, (14, 32, 48, 3), dtype=np.uint8)
    files.write_array(paths.pixels, pixels)
    splits = ["training"] * 12 + ["test"] * 2
    files.write_table(
        paths.photos, pd.DataFrame({"id": [f"{i}.jpg" for i in range(14)], "product": "", "split": splits})
    )
    return paths


def start(overrides: dict = OVERRIDES) -> subprocess.Popen:
    return training._start("smoke", 1, overrides)[0]


def test_batches_are_permutations_and_resume_anywhere() -> None:
    pixels = np.arange(10, dtype=np.uint8).reshape(10, 1, 1, 1).repeat(3, axis=3)
    whole = list(training.batches(pixels, size=3, seed=1, first=0, last=9))
    epoch = np.concatenate(whole[:3])[:, 0, 0, 0]
    assert len(np.unique(epoch)) == 9  # no photo twice in an epoch, the incomplete batch left out
    for step in range(9):
        resumed = next(training.batches(pixels, size=3, seed=1, first=step, last=9))
        np.testing.assert_array_equal(resumed, whole[step])


@pytest.mark.slow
def test_killed_training_ends_with_the_same_bytes(catalogue: Paths, tmp_path: Path) -> None:
    process = start()
    assert process.wait() == 0
    whole = tmp_path / "whole"
    catalogue.gan_seed(1).replace(whole)

    process = start()
    log = catalogue.gan_seed(1) / "training.csv"
    while not (log.is_file() and "\n3," in log.read_text()):
        assert process.poll() is None, "training ended before it could be killed"
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert len(log.read_text().splitlines()) < 7
    assert start().wait() == 0

    names = sorted(path.name for path in whole.iterdir())
    assert names == sorted(path.name for path in catalogue.gan_seed(1).iterdir())
    assert filecmp.cmpfiles(whole, catalogue.gan_seed(1), names, shallow=False) == (names, [], [])
    assert checkpoints.checkpoint_steps(whole) == [0, 3, 6]
    assert pd.read_csv(whole / "training.csv")["step"].tolist() == [1, 2, 3, 4, 5, 6]


@pytest.mark.slow
def test_sums_of_gradients_keep_their_order(workspace: Path) -> None:
    """The memory optimiser's temporary sums, whose order varies, are out; the executor would refuse them.

    They appear at 64x96 with a batch of 32, not in a smaller step (`repeatable.repeatable_execution`).
    """
    overrides = {"gan.batch_size": 32, "gan.steps": 2, "gan.checkpoint_every": 2}
    settings = training.load_settings("smoke", image_size=(64, 96), overrides=overrides)[0]
    pixels = np.random.default_rng(0).integers(0, 256, (40, 64, 96, 3), dtype=np.uint8)
    folder = training.SeedFolder(workspace / "seed-1", wanted={}, set_aside=workspace / "aside")
    training.train(settings, pixels, seed=1, folder=folder)
    assert len(folder.log.read_text().splitlines()) == 3


def test_repeatable_execution_restores_what_it_changes() -> None:
    before = tf.config.optimizer.get_experimental_options()
    with repeatable.repeatable_execution():
        assert tf.config.optimizer.get_experimental_options()["disable_meta_optimizer"]
    after = tf.config.optimizer.get_experimental_options()
    assert not after.get("disable_meta_optimizer", False)
    assert {name: value for name, value in after.items() if value} == {n: v for n, v in before.items() if v}


@pytest.mark.slow
def test_finished_training_is_not_repeated_and_other_settings_start_anew(catalogue: Paths) -> None:
    training.train_all("smoke", OVERRIDES)
    state = catalogue.gan_seed(1) / "state.npz"
    written = state.stat().st_mtime_ns
    training.train_all("smoke", OVERRIDES)
    assert state.stat().st_mtime_ns == written
    training.train_all("smoke", {**OVERRIDES, "gan.steps": 3})
    assert len(list(catalogue.set_aside.glob("seed-1-*"))) == 1, "the first run must be kept aside"
    assert checkpoints.checkpoint_steps(catalogue.gan_seed(1)) == [0, 3]


@pytest.mark.slow
def test_other_code_starts_anew(catalogue: Paths, tmp_path: Path) -> None:
    """One changed loss, as somebody who edits the package changes it: no weight of the old code stays."""
    training.train_all("smoke", OVERRIDES)
    before = (catalogue.gan_seed(1) / "state.npz").read_bytes()
    shutil.copytree(provenance.PACKAGE, tmp_path / "src" / "solesearch")
    losses = tmp_path / "src" / "solesearch" / "infogan.py"
    code = losses.read_text()
    assert "tf.ones_like(logit) if real" in code
    losses.write_text(code.replace("tf.ones_like(logit) if real", "0.9 * tf.ones_like(logit) if real"))
    command = [sys.executable, "-m", "solesearch.gan.training", "smoke", "1"]
    command += ["--overrides", json.dumps(OVERRIDES)]
    subprocess.run(command, env={**os.environ, "PYTHONPATH": str(tmp_path / "src")}, check=True)
    [aside] = catalogue.set_aside.glob("seed-1-*")
    assert (aside / "state.npz").read_bytes() == before
    assert (catalogue.gan_seed(1) / "state.npz").read_bytes() != before
    assert pd.read_csv(catalogue.gan_seed(1) / "training.csv")["step"].tolist() == [1, 2, 3, 4, 5, 6]


@pytest.mark.slow
def test_children_end_with_their_parent(catalogue: Paths) -> None:
    many = {**OVERRIDES, "gan.steps": 600}
    code = f"from solesearch.gan.training import train_all; train_all('smoke', {many!r})"
    parent = subprocess.Popen([sys.executable, "-c", code], env=os.environ.copy())
    log = catalogue.gan_seed(1) / "training.csv"
    while not (log.is_file() and "\n1," in log.read_text()):
        assert parent.poll() is None
        time.sleep(0.05)
    parent.kill()
    parent.wait()
    deadline, last = time.monotonic() + 60, -1
    while time.monotonic() < deadline and last != len(log.read_text()):
        last = len(log.read_text())
        time.sleep(2)
    assert last == len(log.read_text()), "the training process went on without its parent"
    assert len(log.read_text().splitlines()) < 600


def test_failure_of_a_seed_is_told_in_one_line(catalogue: Paths) -> None:
    with pytest.raises(
        InputError, match=r"training of seed 1 failed: 12 training photos make no batch of 64"
    ):
        training.train_all("smoke", {**OVERRIDES, "gan.batch_size": 64})


def test_nan_stops_with_the_place_and_the_way_out(tmp_path: Path) -> None:
    losses = {"d_real": float("nan"), "d_fake": 1.0}
    with pytest.raises(InputError, match=r"seed 3, step 17: d_real is not finite.*learning_rate"):
        training.stop_when_not_finite(losses, seed=3, step=17, folder=tmp_path)
    training.stop_when_not_finite({"d_real": 1.0}, seed=3, step=17, folder=tmp_path)


def test_seeds_must_be_named_once(workspace: Path) -> None:
    for seeds in ([], [1, 1]):
        with pytest.raises(InputError, match="name each seed once"):
            training.load_settings("smoke", image_size=(64, 96), overrides={"gan.seeds": seeds})


def test_weights_of_another_network_are_refused(workspace: Path, tmp_path: Path) -> None:
    settings = training.load_settings("smoke", image_size=(32, 48))[0]
    small = infogan.build_discriminator(settings, seed=1)
    large = infogan.build_discriminator(dataclasses.replace(settings, image_size=(64, 96)), seed=1)
    checkpoints.save_variables(tmp_path / "weights.npz", small.variables)
    checkpoints.load_variables(tmp_path / "weights.npz", small.variables)
    with pytest.raises(InputError, match="made for another network"):
        checkpoints.load_variables(tmp_path / "weights.npz", large.variables)


def test_log_is_trimmed_to_the_state(tmp_path: Path) -> None:
    folder = training.SeedFolder(tmp_path / "seed-1", wanted={"a": 1}, set_aside=tmp_path / "aside")
    folder.log.write_text("step,d_real,d_fake,generator,mutual_information\n1,1,1,1,1\n2,2,2,2,2\n3,3,")
    folder.trim_log(1)
    assert folder.log.read_text().splitlines()[1:] == ["1,1,1,1,1"]


@pytest.mark.slow
def test_two_replicas_train_like_one_machine(catalogue: Paths) -> None:
    """MirroredStrategy on two logical CPUs: the code path that several GPUs take."""
    script = """
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from solesearch.gan import training
from solesearch.gan.infogan import InfoGan
import numpy as np
settings = training.load_settings("smoke", image_size=(32, 48), overrides={"gan.batch_size": 4})[0]
with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
    gan = InfoGan(settings, seed=1)
    gan.compile_for_training()
before = gan.generator.trainable_variables[0].numpy().copy()
stream = tf.data.Dataset.from_tensor_slices(np.zeros((12, 32, 48, 3), "float32")).batch(4)
history = gan.fit(stream, verbose=0).history
assert int(gan.steps_done.numpy()) == 3, gan.steps_done
assert np.abs(gan.generator.trainable_variables[0].numpy() - before).max() > 0
assert all(np.isfinite(np.mean(v)) for v in history.values()), history
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr[-2000:]


def test_environment_has_no_gpu_for_tests() -> None:
    assert not tf.config.list_physical_devices("GPU")


def test_seconds_add_up_over_interruptions(workspace: Path) -> None:
    paths = Paths.of("smoke")
    assert training.seconds_spent(paths) == 0
    clock = training.Clock(paths.gan_seed(1), first=0)
    clock.started -= 100
    clock.save()
    resumed = training.Clock(paths.gan_seed(1), first=5)
    resumed.started -= 20
    resumed.save()
    training.Clock(paths.gan_seed(2), first=0).save()
    assert training.seconds_spent(paths) == pytest.approx(120, abs=5)
    training.Clock(paths.gan_seed(1), first=0).save()  # other settings: a new training, a new clock
    assert training.seconds_spent(paths) < 5
