"""Images per second of the project's training step, against a plain two-tape InfoGAN loop in the same run.

Each contender lives in a process of its own, since threads and determinism are settled when TensorFlow
starts. All are warmed up, then take turns: one step each a round, so that a busy moment meets all alike.
Where two seeds train side by side, a round's time is the slower one's and its images are both's.

The plain loop gives D and G a generator pass each, enlarges by resizing and a 3x3 transposed convolution, and
runs under tf.function with TensorFlow's own executor. Networks, losses, optimisers, batch and data are the
same. InfoGan.train_step makes the fakes once for both updates, so G learns from D as it was before the step;
in the plain loop D has moved by then. That is a different algorithm, and part of the difference in speed.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from solesearch.core import files
from solesearch.core.environment import machine_label
from solesearch.core.errors import InputError, exit_status
from solesearch.core.paths import Paths
from solesearch.core.progress import Progress
from solesearch.core.repeatable import repeatable_execution, settle_tensorflow
from solesearch.core.settings import GanSettings, check_known
from solesearch.core.workers import ended_on_error, process_pool
from solesearch.cost.speed_figures import BASELINE, FED, FUSED, ONE, PIPELINE, PLAIN, TWO, training_speed
from solesearch.gan.trainer import batches, check_enough
from solesearch.gan.training import load_gan, training_pixels

COLUMNS = [
    "what", "images_per_second", "low", "high", "ratio", "ratio_low", "ratio_high", "waiting", "steps",
    "batch", "processes", "threads", "generator", "passes", "executor", "machine",
]  # fmt: skip
SPREAD = (0.1, 0.9)  # low and high are these quantiles of the rounds
LEAST_STEPS = 20
WARM_UP = 3
REPEATABLE, DEFAULT = "repeatable", "TensorFlow's own"


@dataclass(frozen=True)
class Contender:
    """One way to train: which generator, how many passes, which executor, how many processes and threads."""

    what: str
    generator: str = FUSED
    passes: str = ONE
    executor: str = REPEATABLE
    processes: int = 1
    threads: int = 2


ONE_THREAD = "InfoGan.train_step, one thread"
CONTENDERS = (
    Contender(BASELINE, PLAIN, TWO, DEFAULT),
    Contender("InfoGan.train_step"),
    Contender(ONE_THREAD, threads=1),
    Contender("InfoGan.train_step, two seeds side by side", processes=2, threads=1),
    Contender("plain loop, two seeds side by side", PLAIN, TWO, DEFAULT, processes=2, threads=1),
    Contender("plain loop, repeatable executor", PLAIN, TWO),
    Contender("fused generator alone", FUSED, TWO),
    Contender("one generator pass alone", PLAIN, ONE),
)


# --- the plain loop --------------------------------------------------------------------------------------


def plain_generator(fused):
    """Return the same generator as a plain loop has it: resize, then a 3x3 transposed convolution, stride 1.

    The weights are those of `fused` and its images the same to rounding; a generator that grows by strides
    has nothing to replace and is copied.
    """
    import keras
    import tensorflow as tf

    from solesearch.gan.infogan import DoublingConvolution

    class ResizeConvolution(keras.layers.Layer):
        """Nearest-neighbour doubling and a transposed convolution, as two operations."""

        def __init__(self, filters: int, *, name: str):
            super().__init__(name=name)
            self.convolution = keras.layers.Conv2DTranspose(filters, 3, padding="same", use_bias=False)

        def call(self, hidden):
            size = (hidden.shape[1] * 2, hidden.shape[2] * 2)
            return self.convolution(tf.image.resize(hidden, size, method="nearest"))

        def compute_output_shape(self, shape):
            return (shape[0], shape[1] * 2, shape[2] * 2, self.convolution.filters)

    def replaced(layer):
        if isinstance(layer, DoublingConvolution):
            return ResizeConvolution(layer.filters, name=layer.name)
        return type(layer).from_config(layer.get_config())

    plain = keras.models.clone_model(fused, clone_function=replaced)
    plain.set_weights(fused.get_weights())
    return plain


def make_gan(settings: GanSettings, *, seed: int, generator: str):
    """Return an InfoGan whose generator is fused or plain; the same seed gives the same weights."""
    import keras

    from solesearch.gan.infogan import InfoGan

    gan = InfoGan(settings, seed=seed)
    if generator == PLAIN:
        gan.generator = plain_generator(gan.generator)
        gan.generator_optimizer = keras.optimizers.Adam(
            settings.generator_learning_rate, beta_1=settings.beta_1
        )
        gan.generator_optimizer.build(gan.generator.trainable_variables)
    return gan


def two_tape_step(gan, images) -> dict[str, Any]:
    """Update D and Q, then G, each on fakes of its own pass; return the four losses as InfoGan.train_step.

    Both passes take the same latent: what P's equations 1 to 3 need, and the same losses as the shared pass
    gives before any update.
    """
    import tensorflow as tf

    from solesearch.gan.infogan import adversarial_loss, information_loss, sample_latent, update

    settings, weight = gan.settings, gan.settings.information_weight
    latent, code = sample_latent(settings, count=tf.shape(images)[0], seed=gan.step_seed())
    with tf.GradientTape() as tape:
        fake = gan.generator(latent, training=True)
        on_real, on_fake = gan.discriminator(images, training=True), gan.discriminator(fake, training=True)
        d_real = adversarial_loss(on_real.logit, real=True)
        d_fake = adversarial_loss(on_fake.logit, real=False)
        information = information_loss(settings, code=code, prediction=on_fake.code)
        total = d_real + d_fake + weight * information
    update(tape, total, gan.discriminator.trainable_variables, gan.discriminator_optimizer)
    with tf.GradientTape() as tape:
        judged = gan.discriminator(gan.generator(latent, training=True), training=True)
        generator = adversarial_loss(judged.logit, real=True)
        total = generator + weight * information_loss(settings, code=code, prediction=judged.code)
    update(tape, total, gan.generator.trainable_variables, gan.generator_optimizer)
    gan.steps_done.assign_add(1)
    return {"d_real": d_real, "d_fake": d_fake, "generator": generator, "mutual_information": information}


# --- in a contender's process ----------------------------------------------------------------------------

_contender: dict[str, Any] = {}  # what `prepare` left in this process: step, images, stream


def prepare(profile: str, contender: Contender, seed: int) -> None:
    """Settle TensorFlow for a contender, build and compile its step, and warm it up."""
    import tensorflow as tf

    pixels = training_pixels(Paths.of(profile))
    settings = load_gan(profile, mixed_precision=False)  # the plain loop scales no loss
    if contender.executor == DEFAULT:
        tf.config.threading.set_intra_op_parallelism_threads(contender.threads)
        tf.config.threading.set_inter_op_parallelism_threads(contender.threads)
    else:
        settle_tensorflow(contender.threads)
        _contender["execution"] = repeatable_execution()
        _contender["execution"].__enter__()  # for the life of this process
    gan = make_gan(settings, seed=seed, generator=contender.generator)
    body = gan.train_step if contender.passes == ONE else lambda images: two_tape_step(gan, images)
    compiled = tf.function(body, jit_compile=False)
    stream = batches(pixels, size=settings.batch_size, seed=seed, first=0, last=10**9)
    _contender.update(step=lambda images: float(compiled(images)["d_real"]), stream=stream)
    _contender["images"] = tf.constant(next(stream))
    for _ in range(WARM_UP):
        one_step()


def one_step() -> None:
    """Take a training step on a batch in memory."""
    _contender["step"](_contender["images"])


def fed_steps(count: int, train: bool) -> tuple[np.ndarray, np.ndarray]:
    """Take `count` batches from training's own input, and train on each if told so (see `drained`)."""
    return drained(_contender["stream"], count, _contender["step"] if train else None)


def drained(
    stream: Iterator, count: int, step: Callable[[Any], float] | None
) -> tuple[np.ndarray, np.ndarray]:
    """Take `count` batches, train on each if there is a `step`; return seconds and those of waiting, [n]."""
    times = []
    for _ in range(count):
        started = time.perf_counter()
        images = next(stream)
        came = time.perf_counter()
        if step:
            step(images)
        times.append((time.perf_counter() - started, came - started))
    return tuple(np.transpose(times))


# --- all of them -----------------------------------------------------------------------------------------


@contextlib.contextmanager
def running(profile: str, contenders: Sequence[Contender]) -> Iterator[dict[str, list[ProcessPoolExecutor]]]:
    """Start every contender's processes, one after the other, until all are warm; end them after.

    Raises InputError when one was killed, in here or in the block; the others are then ended at once.
    """
    progress = Progress("starting contenders", total=len(contenders), unit="contender")
    processes = {one.what: [process_pool(1) for _ in range(one.processes)] for one in contenders}
    pools = [pool for some in processes.values() for pool in some]
    with ended_on_error(pools, work="a contender"), contextlib.ExitStack() as stack:
        for pool in pools:
            stack.enter_context(pool)
        for number, contender in enumerate(contenders, start=1):
            for seed, process in enumerate(processes[contender.what], start=1):
                process.submit(prepare, profile, contender, seed).result()
            progress.update(number)
        yield processes


def rounds(processes: dict[str, list[ProcessPoolExecutor]], *, steps: int) -> dict[str, np.ndarray]:
    """Return contender -> seconds of each of `steps` rounds; the order turns by one each round."""
    names, seconds = list(processes), {name: [] for name in processes}
    progress = Progress("measuring steps", total=steps, unit="round")
    for number in range(steps):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            started = time.perf_counter()
            for step in [process.submit(one_step) for process in processes[name]]:
                step.result()
            seconds[name].append(time.perf_counter() - started)
        progress.update(number + 1)
    return {name: np.array(values) for name, values in seconds.items()}


def speed_row(
    contender: Contender, seconds: np.ndarray, baseline: np.ndarray, *, batch: int, waiting: float = np.nan
) -> dict[str, Any]:
    """Return one row of training_speed.csv from seconds [n] a round and those of the plain loop [n].

    Ratios are formed round by round, since a round's contenders ran within seconds of each other.
    """
    speed = batch * contender.processes / seconds
    ratios = speed / (batch / baseline) if len(baseline) == len(seconds) else np.array([np.nan])
    quantiles = (0.5, *SPREAD)
    return {
        **dataclasses.asdict(contender),
        **dict(zip(("images_per_second", "low", "high"), np.quantile(speed, quantiles), strict=True)),
        **dict(zip(("ratio", "ratio_low", "ratio_high"), np.quantile(ratios, quantiles), strict=True)),
        "waiting": waiting, "steps": len(seconds), "batch": batch, "machine": machine_label(),
    }  # fmt: skip


def pipeline_rows(
    process: ProcessPoolExecutor, contender: Contender, *, steps: int, batch: int
) -> list[dict]:
    """Return the rows of the input pipeline alone and of training fed by it, with the share spent waiting."""
    rows = []
    for what, train in ((PIPELINE, False), (FED, True)):
        seconds, waiting = process.submit(fed_steps, steps, train).result()
        share, one = waiting.sum() / seconds.sum(), dataclasses.replace(contender, what=what)
        row = speed_row(one, seconds, np.empty(0), batch=batch, waiting=share if train else np.nan)
        rows.append(row if train else row | {"generator": "", "passes": "", "executor": ""})
    return rows


def measure(profile: str, *, steps: int, contenders: Sequence[Contender] = CONTENDERS) -> pd.DataFrame:
    """Measure every contender for `steps` rounds and return the table (columns COLUMNS).

    Raises InputError before anything is started when the profile has no training photos, or too few.
    """
    if steps < 1:
        raise InputError(f"steps: at least 1, {LEAST_STEPS} for numbers to report; got {steps}")
    photos, settings = len(training_pixels(Paths.of(profile))), load_gan(profile)
    check_enough(photos, batch_size=settings.batch_size)
    batch, alone = settings.batch_size, next(one for one in contenders if one.what == ONE_THREAD)
    with running(profile, contenders) as processes:
        seconds = rounds(processes, steps=steps)
        fed = pipeline_rows(processes[ONE_THREAD][0], alone, steps=steps, batch=batch)
    rows = [speed_row(one, seconds[one.what], seconds[BASELINE], batch=batch) for one in contenders]
    return pd.DataFrame([*rows, *fed])[COLUMNS]


def main() -> int:
    """Measure training against a plain loop: `python -m solesearch.cost.training_benchmark PROFILE`."""
    parser = argparse.ArgumentParser(
        prog="python -m solesearch.cost.training_benchmark", description=main.__doc__
    )
    parser.add_argument("profile")
    parser.add_argument("--steps", type=int, default=30, help="of each contender (30)")
    arguments = parser.parse_args()

    def work() -> None:
        from solesearch.figures.drawing import save

        profile = arguments.profile
        check_known([profile])
        table = measure(profile, steps=arguments.steps)
        files.write_table(Paths.of(profile).result("training_speed"), table)
        save(training_speed(table, profile=profile), Paths.of(profile).figures / "all" / "training_speed")
        print(table[["what", "images_per_second", "low", "high", "ratio", "waiting"]].round(3).to_string())
        if arguments.steps < LEAST_STEPS:
            print(f"{arguments.steps} steps are a try; {LEAST_STEPS} or more make numbers to report")

    return exit_status(work)


if __name__ == "__main__":
    sys.exit(main())
