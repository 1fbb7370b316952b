"""Trainings: batches, logs, set-aside folders, and going on after SIGKILL with the same bytes."""

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
from solesearch.gan import continuation, infogan, trainer, training

SHORT = {"steps": 6, "checkpoint_every": 3, "resume_every": 2, "batch_size": 4}
CHILD = """
import json, sys
from solesearch.core.paths import Paths
from solesearch.gan.training import load_gan, train_seed
train_seed(Paths.of("smoke"), load_gan("smoke", **json.loads(sys.argv[1])), 1)
"""


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


def start(**environment: str) -> subprocess.Popen:
    """Train seed 1 in a process of its own."""
    command = [sys.executable, "-c", CHILD, json.dumps(SHORT)]
    return subprocess.Popen(command, env={**os.environ, **environment})


def test_batches_are_permutations_and_resume_anywhere() -> None:
    pixels = np.arange(10, dtype=np.uint8).reshape(10, 1, 1, 1).repeat(3, axis=3)
    whole = list(trainer.batches(pixels, size=3, seed=1, first=0, last=9))
    epoch = np.concatenate(whole[:3])[:, 0, 0, 0]
    assert len(np.unique(epoch)) == 9  # no photo twice in an epoch, the incomplete batch left out
    for step in range(9):
        resumed = next(trainer.batches(pixels, size=3, seed=1, first=step, last=9))
        np.testing.assert_array_equal(resumed, whole[step])


@pytest.mark.slow
def test_killed_training_ends_with_the_same_bytes_and_other_code_starts_anew(
    catalogue: Paths, tmp_path: Path
) -> None:
    """The other code has one changed loss, as somebody who edits the package changes it."""
    assert start().wait() == 0
    whole, folder = tmp_path / "whole", catalogue.gan_seed(1)
    folder.replace(whole)

    process, log = start(), folder / "training.csv"
    while not (log.is_file() and "\n3," in log.read_text()):
        assert process.poll() is None, "training ended before it could be killed"
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert len(log.read_text().splitlines()) < 7
    assert start().wait() == 0

    names = sorted(path.name for path in whole.iterdir())
    assert names == sorted(path.name for path in folder.iterdir())
    assert filecmp.cmpfiles(whole, folder, names, shallow=False) == (names, [], [])
    assert checkpoints.checkpoint_steps(whole) == [0, 3, 6]
    grids = trainer.sample_grids(whole)
    assert list(grids) == [0, 3, 6] and grids[6].shape == (4 * 32, 8 * 48, 3)
    assert continuation.last_discriminator(whole) == checkpoints.checkpoint_file(whole, 6)

    shutil.copytree(provenance.SOURCE, tmp_path / "src")
    losses = tmp_path / "src" / "solesearch" / "gan" / "infogan.py"
    code = losses.read_text()
    assert "tf.ones_like(logit) if real" in code
    losses.write_text(code.replace("tf.ones_like(logit) if real", "0.9 * tf.ones_like(logit) if real"))
    assert start(PYTHONPATH=str(tmp_path / "src")).wait() == 0
    [aside] = catalogue.set_aside.glob("seed-1-*")
    assert filecmp.cmp(aside / "state.npz", whole / "state.npz", shallow=False)
    assert not filecmp.cmp(folder / "state.npz", whole / "state.npz", shallow=False)
    for made in (whole, folder):
        assert pd.read_csv(made / "training.csv")["step"].tolist() == [1, 2, 3, 4, 5, 6]


@pytest.mark.slow
def test_seeds_train_alike_side_by_side_and_one_after_the_other(
    catalogue: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two processes, then one that takes both seeds: the same bytes; a third call trains nothing."""
    settings = training.load_gan("smoke", **SHORT, seeds=[1, 2])
    monkeypatch.setattr(training, "trainings_at_once", lambda threads: 2)
    training.train_all("smoke", settings)
    catalogue.gan.replace(tmp_path / "two")
    monkeypatch.setattr(training, "trainings_at_once", lambda threads: 1)
    folders = training.train_all("smoke", settings)
    for folder in folders:
        names = sorted(path.name for path in folder.iterdir())
        two = tmp_path / "two" / folder.name
        assert filecmp.cmpfiles(two, folder, names, shallow=False) == (names, [], [])
    written = [(folder / "state.npz").stat().st_mtime_ns for folder in folders]
    training.train_all("smoke", settings)
    assert [(folder / "state.npz").stat().st_mtime_ns for folder in folders] == written
    training.train_all("smoke", training.load_gan("smoke", **{**SHORT, "steps": 3}, seeds=[1]))
    kept = sorted(path.name[: len("seed-1")] for path in catalogue.set_aside.iterdir())
    assert kept == ["seed-1", "seed-2"], "what is not wanted any more is kept aside"
    assert checkpoints.checkpoint_steps(catalogue.gan_seed(1)) == [0, 3]
    with pytest.raises(InputError, match="training of seed 1 failed: 12 training photos make no batch of 64"):
        training.train_all("smoke", training.load_gan("smoke", **{**SHORT, "batch_size": 64}))


@pytest.mark.slow
def test_children_end_with_their_parent(catalogue: Paths) -> None:
    settings = f"load_gan('smoke', **{SHORT | {'steps': 600}})"
    code = f"from solesearch.gan.training import *; train_all('smoke', {settings})"
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


@pytest.mark.slow
def test_sums_of_gradients_keep_their_order(workspace: Path) -> None:
    """The memory optimiser's temporary sums, whose order varies, are out; the executor would refuse them.

    They appear at 64x96 with a batch of 32, not in a smaller step (`repeatable.repeatable_execution`).
    """
    settings = training.load_gan("smoke", image_size=(64, 96), batch_size=32, steps=2, checkpoint_every=2)
    pixels = np.random.default_rng(0).integers(0, 256, (40, 64, 96, 3), dtype=np.uint8)
    paths = Paths.of("smoke")
    folder = trainer.TrainingFolder(paths, paths.gan_seed(1))
    trainer.train(infogan.InfoGan(settings, seed=1), pixels, folder=folder, title="seed 1")
    assert len(folder.log.read_text().splitlines()) == 3 and folder.step == 2 and folder.seconds > 0


def test_repeatable_execution_restores_what_it_changes() -> None:
    before = tf.config.optimizer.get_experimental_options()
    with repeatable.repeatable_execution():
        assert tf.config.optimizer.get_experimental_options()["disable_meta_optimizer"]
    after = tf.config.optimizer.get_experimental_options()
    assert not after.get("disable_meta_optimizer", False)
    assert {name: value for name, value in after.items() if value} == {n: v for n, v in before.items() if v}


def test_nan_stops_with_the_place_and_the_way_out() -> None:
    losses = {"d_real": float("nan"), "d_fake": 1.0}
    with pytest.raises(InputError, match=r"InfoGAN seed 3, step 17: d_real is not finite.*learning rates"):
        trainer.stop_when_not_finite(losses, title="InfoGAN seed 3", step=17)
    trainer.stop_when_not_finite({"d_real": 1.0}, title="InfoGAN seed 3", step=17)


def test_weights_of_another_network_are_refused(workspace: Path, tmp_path: Path) -> None:
    small, large = (
        infogan.build_discriminator(training.load_gan("smoke", image_size=size), seed=1)
        for size in ((32, 48), (64, 96))
    )
    checkpoints.save_variables(tmp_path / "weights.npz", small.variables)
    checkpoints.load_variables(tmp_path / "weights.npz", small.variables)
    with pytest.raises(InputError, match="made for another network"):
        checkpoints.load_variables(tmp_path / "weights.npz", large.variables)


def test_the_log_goes_on_after_the_state_and_seconds_end_with_a_config(workspace: Path) -> None:
    paths = Paths.of("smoke")
    folder = trainer.TrainingFolder(paths, paths.gan_seed(1))
    folder.claim({"a": 1})
    files.write_json(folder.seconds_file, 120.0)
    folder.log.write_text("step,d_real\n1,1\n2,2\n3,")
    with folder.opened_log(after=1) as log:
        log(2, {"d_real": 0.5})
    assert folder.log.read_text().splitlines() == ["step,d_real", "1,1", "2,0.5"]
    folder.claim({"a": 1})
    assert training.seconds_spent(paths) == 120 and folder.log.is_file()
    log_text = folder.log.read_text()
    folder.log.unlink()
    assert folder.seconds == 0, "of a training that is no longer there"
    folder.log.write_text(log_text)
    folder.claim({"a": 2})
    assert training.seconds_spent(paths) == 0 and not folder.log.exists()


# --- on several GPUs: two logical CPUs stand for them ----------------------------------------------------

TWO = """
import json, sys
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
import numpy as np
from solesearch.core.errors import InputError
from solesearch.core.paths import Paths
from solesearch.gan import infogan, trainer, training
DEVICES = ["CPU:0", "CPU:1"]
"""


def on_two_devices(script: str, *arguments: str) -> None:
    """Run a script below TWO in a process of its own, since logical devices are settled at the start."""
    command = [sys.executable, "-c", TWO + script, *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr[-3000:]


SAME = """
drawn = infogan.sample_latent
def halves(settings, *, count, seed):  # both replicas draw what one draws twice
    pair = drawn(settings, count=2, seed=seed * tf.constant([0, 1]) + tf.constant([1, 0]))
    return tuple(tf.tile(part, [count // 2, 1]) for part in pair)
infogan.sample_latent = halves
half = sys.argv[1] == "mixed_float16"
settings = training.load_gan("smoke", image_size=(32, 48), batch_size=4, mixed_precision=half)
settings = settings.replaced(discriminator_dropout=0.0)
two = np.random.default_rng(0).uniform(-1, 1, (2, 32, 48, 3)).astype(np.float32)
steps, losses, gans = (2 if half else 3), [], []  # half precision drifts apart faster
for devices in (DEVICES[:1], DEVICES):
    with trainer.strategy_for(devices).scope():
        gan = infogan.InfoGan(settings, seed=1)
    for adam in (gan.discriminator_optimizer, gan.generator_optimizer):
        # else Adam divides by the size of gradients that are nothing but rounding (biases before a norm)
        (adam.inner_optimizer if half else adam).epsilon = 0.1
    step = trainer.compiled_step(gan)
    losses.append([[float(loss) for loss in step(np.concatenate([two, two])).values()] for _ in range(steps)])
    gans.append(gan)
one, both = gans
assert int(both.steps_done.numpy()) == steps
assert np.abs(np.subtract(losses[0][0], losses[0][-1])).min() > 0.001, losses  # they have learned
np.testing.assert_allclose(losses[0], losses[1], rtol=2e-2 if half else 1e-4)
for network in ("discriminator", "generator"):
    pairs = zip(getattr(one, network).trainable_variables, getattr(both, network).trainable_variables)
    for first, second in pairs:
        np.testing.assert_allclose(first.numpy(), second.numpy(), atol=1e-3 if half else 2e-6)
"""


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "mixed_float16"])
def test_two_replicas_of_half_a_batch_learn_what_one_learns_of_the_whole(workspace: Path, precision) -> None:
    """Both halves are alike here: each replica's batch norm sees what that of the whole batch sees."""
    on_two_devices(SAME, precision)


WHOLE = """
import contextlib
# as with GPUs: one thread and one fixed order are a processor's; devices that wait for each other need more
training.settle_tensorflow = lambda threads: None
trainer.repeatable_execution = contextlib.nullcontext
trainer.gpus = training.gpus = lambda: DEVICES
paths = Paths.of("smoke")
pixels = np.random.default_rng(0).integers(0, 256, (12, 32, 48, 3), dtype=np.uint8)
settings = training.load_gan("smoke", image_size=(32, 48), **json.loads(sys.argv[1]))
whole, halves = (trainer.TrainingFolder(paths, paths.run / name) for name in ("whole", "halves"))
training.train_infogan(settings, pixels, seed=1, folder=whole)
for steps in (3, 6):  # as after a kill
    training.train_infogan(settings.replaced(steps=steps), pixels, seed=1, folder=halves)
assert (whole.step, halves.step) == (6, 6)
logs = [np.loadtxt(folder.log, delimiter=",", skiprows=1) for folder in (whole, halves)]
assert len(logs[0]) == 6
np.testing.assert_allclose(logs[0], logs[1], rtol=1e-2)
for changed, devices in (({"batch_size": 5}, DEVICES), ({"mixed_precision": True}, [])):
    training.gpus, refused = lambda: devices, trainer.TrainingFolder(paths, paths.run / "refused")
    try:
        training.train_infogan(settings.replaced(**changed), pixels, seed=1, folder=refused)
    except InputError as error:
        assert next(iter(changed)) in str(error) and not refused.path.exists(), error
    else:
        sys.exit(f"{changed} was taken")
"""


@pytest.mark.slow
def test_a_training_on_two_devices_goes_on_after_a_kill(workspace: Path) -> None:
    on_two_devices(WHOLE, json.dumps(SHORT))


@pytest.mark.parametrize(
    ("changed", "devices", "words"),
    [
        ({"batch_size": 5}, 2, "gan.batch_size: 5 photos do not split evenly over 2 GPUs.*a multiple of 2"),
        ({"batch_size": 3}, 3, "3 photos do not split evenly over 3 GPUs, two or more each"),
        (
            {"mixed_precision": True},
            0,
            "gan.mixed_precision: true needs an NVIDIA GPU .*GPU=1.*set it to false",
        ),
    ],
)
def test_what_the_devices_cannot_do_is_said_before_training(workspace: Path, changed, devices, words) -> None:
    settings = training.load_gan("smoke", image_size=(32, 48))
    for allowed in (0, 1, 2):
        trainer.check_devices(settings.replaced(batch_size=4), ["GPU"] * allowed)
    with pytest.raises(InputError, match=words):
        trainer.check_devices(settings.replaced(**changed), ["GPU"] * devices)


def test_batches_made_ahead_are_the_same_and_one_ahead() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (10, 2, 2, 3), dtype=np.uint8)
    options = {"size": 3, "seed": 1, "first": 2, "last": 8}
    made: list[int] = []

    def counted():
        for number, batch in enumerate(trainer.batches(pixels, **options)):
            made.append(number)
            yield batch
        raise InputError("a photo is gone")

    taken, ahead = [], trainer.made_ahead(counted())
    with pytest.raises(InputError, match="a photo is gone"):
        for batch in ahead:
            taken.append(batch)
            while len(made) < min(len(taken) + 1, 6):  # made while this one is used, or this never ends
                time.sleep(0.01)
    np.testing.assert_array_equal(taken, list(trainer.batches(pixels, **options)))


def test_a_gpu_counts_where_tensorflow_may_use_it(tmp_path: Path, monkeypatch) -> None:
    """An NVIDIA card below the environment without CUDA must not make seeds wait for each other."""
    installed = ["tensorflow"]
    monkeypatch.setattr(repeatable, "NVIDIA", tmp_path / "nvidia0")
    monkeypatch.setattr(repeatable, "distributions", lambda name: [one for one in installed if one == name])
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert not repeatable.has_gpu()
    (tmp_path / "nvidia0").touch()
    assert repeatable.has_gpu() and repeatable.trainings_at_once(1) == 1
    for hidden in ("-1", ""):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
        assert not repeatable.has_gpu()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    assert repeatable.has_gpu()
    installed.append("tensorflow-cpu")
    assert not repeatable.has_gpu()


# --- training on -----------------------------------------------------------------------------------------


def test_steps_and_checkpoints_of_a_continuation(workspace: Path) -> None:
    """checkpoint_every has to divide the steps, whatever the state's step is; a kill costs a quarter."""
    gan = training.load_gan("paper", image_size=(64, 96))
    settings = continuation.continued_settings(gan, first=2500, steps=101)
    assert (settings.steps, settings.checkpoint_every, settings.resume_every) == (2601, 2601, 25)
    assert continuation.continued_settings(gan, first=7, steps=1000).resume_every == gan.resume_every
    with pytest.raises(InputError, match="at least 1 to go on"):
        continuation.continued_settings(gan, first=5, steps=0)
    with pytest.raises(InputError, match=r"state\.npz: no state to go on from; stage train writes it"):
        continuation.last_state(Paths.of("smoke"), 1)


def test_new_photos_follow_the_old_ones(tmp_path: Path) -> None:
    old = np.zeros((3, 4, 6, 3), np.uint8)
    files.write_array(tmp_path / "new.npy", np.ones((2, 4, 6, 3), np.uint8))
    assert continuation.with_new(old, tmp_path / "new.npy")[:, 0, 0, 0].tolist() == [0, 0, 0, 1, 1]
    files.write_array(tmp_path / "other.npy", np.ones((2, 6, 4, 3), np.uint8))
    with pytest.raises(InputError, match=r"other\.npy: uint8 \(2, 6, 4, 3\), not uint8 photos"):
        continuation.with_new(old, tmp_path / "other.npy")
