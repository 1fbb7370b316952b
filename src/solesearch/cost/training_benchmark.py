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
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd

from solesearch.core import files
from solesearch.core.environment import machine_label
from solesearch.core.errors import InputError, exit_status
from solesearch.core.paths import Paths
from solesearch.core.progress import Progress
from solesearch.core.repeatable import repeatable_execution
from solesearch.core.settings import check_known
from solesearch.gan.training import batches, check_enough, load_settings, training_pixels

COLUMNS = [
    "what", "images_per_second", "low", "high", "ratio", "ratio_low", "ratio_high", "waiting", "steps",
    "batch", "processes", "threads", "generator", "passes", "executor", "machine",
]  # fmt: skip
SPREAD = (0.1, 0.9)  # low and high are these quantiles of the rounds
LEAST_STEPS = 20
WARM_UP = 3
FUSED, PLAIN = "fused", "resize, then convolution"
ONE, TWO = "one, shared", "two"
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


BASELINE = "plain two-tape loop"
CONTENDERS = (
    Contender(BASELINE, PLAIN, TWO, DEFAULT),
    Contender("InfoGan.train_step"),
    Contender("InfoGan.train_step, one thread", threads=1),
    Contender("InfoGan.train_step, two seeds side by side", processes=2, threads=1),
    Contender("plain loop, two seeds side by side", PLAIN, TWO, DEFAULT, processes=2, threads=1),
    Contender("plain loop, repeatable executor", PLAIN, TWO),
    Contender("fused generator alone", FUSED, TWO),
    Contender("one generator pass alone", PLAIN, ONE),
)
PIPELINE = "input pipeline alone"
FED = "InfoGan.train_step, one thread, fed by the pipeline"


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


def make_gan(settings, *, seed: int, generator: str):
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

    from solesearch.gan.infogan import adversarial_loss, information_loss, sample_latent

    settings, weight = gan.settings, gan.settings.information_weight
    latent, code = sample_latent(settings, count=tf.shape(images)[0], seed=gan._step_seed())
    with tf.GradientTape() as tape:
        fake = gan.generator(latent, training=True)
        on_real, on_fake = gan.discriminator(images, training=True), gan.discriminator(fake, training=True)
        d_real = adversarial_loss(on_real.logit, real=True)
        d_fake = adversarial_loss(on_fake.logit, real=False)
        information = information_loss(settings, code=code, prediction=on_fake.code)
        total = d_real + d_fake + weight * information
    gan._apply(tape, total, gan.discriminator, gan.discriminator_optimizer)
    with tf.GradientTape() as tape:
        judged = gan.discriminator(gan.generator(latent, training=True), training=True)
        generator = adversarial_loss(judged.logit, real=True)
        total = generator + weight * information_loss(settings, code=code, prediction=judged.code)
    gan._apply(tape, total, gan.generator, gan.generator_optimizer)
    gan.steps_done.assign_add(1)
    return {"d_real": d_real, "d_fake": d_fake, "generator": generator, "mutual_information": information}


# --- one process -----------------------------------------------------------------------------------------


def make_step(contender: Contender, settings, *, seed: int) -> Callable[[Any], float]:
    """Return a compiled training step: images [b, h, w, 3] in, D's loss on real photos out."""
    import tensorflow as tf

    gan = make_gan(settings, seed=seed, generator=contender.generator)
    body = gan.train_step if contender.passes == ONE else lambda images: two_tape_step(gan, images)
    compiled = tf.function(body, jit_compile=False)
    return lambda images: float(compiled(images)["d_real"])


def input_stream(settings, pixels: np.ndarray, *, seed: int):
    """Return training's own stream of batches (`training.train`), float32 [b, h, w, 3], without an end."""
    import tensorflow as tf

    spec = tf.TensorSpec((settings.batch_size, *settings.image_size, 3), tf.float32)
    return tf.data.Dataset.from_generator(
        lambda: batches(pixels, size=settings.batch_size, seed=seed, first=0, last=10**9),
        output_signature=spec,
    ).prefetch(2)


def settle(contender: Contender) -> contextlib.AbstractContextManager[None]:
    """Settle threads and determinism before TensorFlow starts; return the executor's context."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(contender.threads)
    tf.config.threading.set_inter_op_parallelism_threads(contender.threads)
    if contender.executor == DEFAULT:
        return contextlib.nullcontext()
    tf.config.experimental.enable_op_determinism()
    return repeatable_execution()


def serve(profile: str, contender: Contender, *, seed: int, overrides: dict[str, Any]) -> None:
    """Answer a parent's words on standard input, a line of JSON each: step, pipeline N, fed N.

    `step` gives the seconds of one step on a batch in memory; `pipeline` N and `fed` N the seconds of N
    batches without and with training, and those spent waiting. Ends with its parent, whose pipe closes.
    """
    paths = Paths.of(profile)
    pixels = training_pixels(paths)
    settings, _, _ = load_settings(profile, image_size=pixels.shape[1:3], overrides=overrides)
    check_enough(len(pixels), batch_size=settings.batch_size)
    with settle(contender):
        stream = iter(input_stream(settings, pixels, seed=seed))
        images, step = next(stream), make_step(contender, settings, seed=seed)
        for _ in range(WARM_UP):
            step(images)
        say({"ready": True})
        for line in sys.stdin:
            word, _, count = line.strip().partition(" ")
            if word == "step":
                started = time.perf_counter()
                step(images)
                say({"seconds": time.perf_counter() - started})
            else:
                say(drained(stream, int(count), step if word == "fed" else None))


def drained(stream: Iterator, count: int, step: Callable[[Any], float] | None) -> dict[str, list[float]]:
    """Take `count` batches, train on each if there is a `step`; return seconds of each, and of waiting."""
    seconds, waiting = [], []
    for _ in range(count):
        started = time.perf_counter()
        images = next(stream)
        waiting.append(time.perf_counter() - started)
        if step:
            step(images)
        seconds.append(time.perf_counter() - started)
    return {"seconds": seconds, "waiting": waiting}


def say(answer: dict[str, Any]) -> None:
    """Write one answer as a line of JSON."""
    print(json.dumps(answer), flush=True)


# --- all of them -----------------------------------------------------------------------------------------


class Worker:
    """A contender's process: takes words, gives answers."""

    def __init__(self, profile: str, contender: Contender, *, seed: int, overrides: dict[str, Any]):
        """Start the process; it is ready when its first answer is there."""
        command = [sys.executable, "-m", "solesearch.cost.training_benchmark", profile, "--seed", str(seed)]
        command += [
            "--serve",
            json.dumps(dataclasses.asdict(contender)),
            "--overrides",
            json.dumps(overrides),
        ]
        # a file, since a full pipe would stall it
        self.words: IO[str] = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.words, text=True
        )  # fmt: skip

    def ask(self, word: str) -> None:
        """Send a word; raises InputError with the last words of a process that ended."""
        try:
            self.process.stdin.write(f"{word}\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            self.answer()

    def answer(self) -> dict[str, Any]:
        """Wait for the next answer; raises InputError with the last words of a process that ended."""
        for line in self.process.stdout:
            if line.startswith("{"):
                return json.loads(line)
        self.process.wait()
        self.words.seek(0)
        last = (self.words.read().strip().splitlines() or [f"status {self.process.returncode}"])[-1]
        raise InputError(f"the benchmark's process ended: {last.removeprefix('error: ')}")

    def end(self) -> None:
        """Close the pipe and wait: the process ends by itself."""
        self.process.stdin.close()
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait()
        self.process.stdout.close()
        self.words.close()


@contextlib.contextmanager
def running(
    profile: str, contenders: Sequence[Contender], overrides: dict[str, Any]
) -> Iterator[dict[str, list[Worker]]]:
    """Start every contender's processes, one after the other, and wait until all are warm; end them after."""
    workers: dict[str, list[Worker]] = {one.what: [] for one in contenders}
    progress, done = Progress("starting contenders", total=len(contenders), unit="contender"), 0
    try:
        for contender in contenders:
            workers[contender.what] += [
                Worker(profile, contender, seed=seed, overrides=overrides)
                for seed in range(1, contender.processes + 1)
            ]
            for worker in workers[contender.what]:
                worker.answer()
            done += 1
            progress.update(done)
        yield workers
    finally:
        for worker in (one for group in workers.values() for one in group):
            worker.end()


def rounds(workers: dict[str, list[Worker]], *, steps: int) -> dict[str, np.ndarray]:
    """Return contender -> seconds of each of `steps` rounds; the order turns by one each round."""
    names, seconds = list(workers), {name: [] for name in workers}
    progress = Progress("measuring steps", total=steps, unit="round")
    for number in range(steps):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            started = time.perf_counter()
            for worker in workers[name]:
                worker.ask("step")
            for worker in workers[name]:
                worker.answer()
            seconds[name].append(time.perf_counter() - started)
        progress.update(number + 1)
    return {name: np.array(values) for name, values in seconds.items()}


def speed_row(
    contender: Contender, seconds: np.ndarray, baseline: np.ndarray, *, batch: int, waiting: float = np.nan
) -> dict[str, Any]:
    """Return one row of training_speed.csv from seconds [n] a round and those of the plain loop [n].

    Ratios are formed round by round, since a round's contenders ran within seconds of each other.
    """
    images = batch * contender.processes
    speed = images / seconds
    ratios = speed / (batch / baseline) if len(baseline) == len(seconds) else np.array([np.nan])
    middle, low, high = (float(np.quantile(speed, share)) for share in (0.5, *SPREAD))
    ratio, ratio_low, ratio_high = (float(np.quantile(ratios, share)) for share in (0.5, *SPREAD))
    return {
        **{name: value for name, value in dataclasses.asdict(contender).items()},
        "images_per_second": middle, "low": low, "high": high,
        "ratio": ratio, "ratio_low": ratio_low, "ratio_high": ratio_high,
        "waiting": waiting, "steps": len(seconds), "batch": batch, "machine": machine_label(),
    }  # fmt: skip


def pipeline_rows(worker: Worker, contender: Contender, *, steps: int, batch: int) -> list[dict[str, Any]]:
    """Return the rows of the input pipeline alone and of training fed by it, with the share spent waiting."""
    rows, nothing = [], np.empty(0)
    for what, word in ((PIPELINE, "pipeline"), (FED, "fed")):
        worker.ask(f"{word} {steps}")
        answer = worker.answer()
        seconds, waiting = np.array(answer["seconds"]), float(np.sum(answer["waiting"]))
        share = waiting / float(seconds.sum()) if word == "fed" else np.nan
        one = dataclasses.replace(contender, what=what)
        row = speed_row(one, seconds, nothing, batch=batch, waiting=share)
        if word == "pipeline":
            row |= {"generator": "", "passes": "", "executor": ""}
        rows.append(row)
    return rows


def measure(profile: str, *, steps: int, overrides: dict[str, Any] | None = None) -> pd.DataFrame:
    """Measure every contender for `steps` rounds and return the table (columns COLUMNS).

    Raises InputError before anything is started when the profile has no training photos, or too few.
    """
    overrides = overrides or {}
    if steps < 1:
        raise InputError(f"steps: at least 1, {LEAST_STEPS} for numbers to report; got {steps}")
    pixels = training_pixels(Paths.of(profile))
    settings, _, _ = load_settings(profile, image_size=pixels.shape[1:3], overrides=overrides)
    check_enough(len(pixels), batch_size=settings.batch_size)
    del pixels
    with running(profile, CONTENDERS, overrides) as workers:
        seconds = rounds(workers, steps=steps)
        alone = next(one for one in CONTENDERS if one.threads == 1 and one.processes == 1)
        fed = pipeline_rows(workers[alone.what][0], alone, steps=steps, batch=settings.batch_size)
    rows = [
        speed_row(one, seconds[one.what], seconds[BASELINE], batch=settings.batch_size) for one in CONTENDERS
    ]
    return pd.DataFrame([*rows, *fed])[COLUMNS]


def main() -> int:
    """Measure training against a plain loop: `python -m solesearch.cost.training_benchmark PROFILE`."""
    parser = argparse.ArgumentParser(
        prog="python -m solesearch.cost.training_benchmark", description=main.__doc__
    )
    parser.add_argument("profile")
    parser.add_argument("--steps", type=int, default=30, help="of each contender (30)")
    parser.add_argument(
        "--table", type=Path, help="default: results/PROFILE/training_speed.csv, with its chart"
    )
    parser.add_argument("--overrides", type=json.loads, default={}, help='JSON, {"gan.batch_size": 8}')
    parser.add_argument("--serve", type=json.loads, help=argparse.SUPPRESS)  # how it calls itself
    parser.add_argument("--seed", type=int, default=1, help=argparse.SUPPRESS)
    arguments = parser.parse_args()

    def work() -> None:
        check_known([arguments.profile])
        profile, overrides = arguments.profile, arguments.overrides
        if arguments.serve:
            return serve(profile, Contender(**arguments.serve), seed=arguments.seed, overrides=overrides)
        table = measure(profile, steps=arguments.steps, overrides=overrides)
        files.write_table(arguments.table or Paths.of(profile).result("training_speed"), table)
        if not arguments.table:
            from solesearch.cost.speed_figures import draw_chart

            draw_chart("training_speed", profile=profile)
        print(table[["what", "images_per_second", "low", "high", "ratio", "waiting"]].round(3).to_string())
        if arguments.steps < LEAST_STEPS:
            print(f"{arguments.steps} steps are a try; {LEAST_STEPS} or more make numbers to report")

    return exit_status(work)


if __name__ == "__main__":
    sys.exit(main())
