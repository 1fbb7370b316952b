"""The plain loop is the same mathematics as the project's step; the benchmark's own arithmetic and chart."""

import dataclasses
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from solesearch.core import files
from solesearch.core.errors import InputError
from solesearch.core.paths import Paths
from solesearch.core.settings import GanSettings
from solesearch.cost import speed_figures, training_benchmark
from solesearch.cost.training_benchmark import BASELINE, CONTENDERS, FED, FUSED, ONE, PIPELINE, PLAIN, TWO
from solesearch.figures.registry import draw_chart
from solesearch.gan.training import load_gan


@pytest.fixture
def settings(workspace: Path) -> GanSettings:
    """Small photos, no dropout (which draws anew in every pass)."""
    gan = load_gan("smoke", image_size=(32, 48), batch_size=6)
    return gan.replaced(discriminator_dropout=0.0)


def photos(count: int = 6) -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 1, (count, 32, 48, 3)).astype(np.float32)


@pytest.mark.parametrize("upsampling", ["resize", "stride"])
def test_plain_generator_draws_the_same_images(settings: GanSettings, upsampling: str) -> None:
    settings = settings.replaced(upsampling=upsampling)
    fused = training_benchmark.make_gan(settings, seed=3, generator=FUSED)
    plain = training_benchmark.make_gan(settings, seed=3, generator=PLAIN)
    names = {type(layer).__name__ for layer in plain.generator.layers}
    assert "DoublingConvolution" not in names and ("ResizeConvolution" in names) == (upsampling == "resize")
    shapes = [[w.shape for w in gan.generator.get_weights()] for gan in (fused, plain)]
    assert shapes[0] == shapes[1]
    drawn = [gan.generate(count=5, seed=8).numpy() for gan in (fused, plain)]
    np.testing.assert_allclose(drawn[0], drawn[1], atol=2e-6)


def test_plain_loop_has_the_losses_of_the_projects_step(settings: GanSettings) -> None:
    """Same weights, same latent: D's losses before any update; G's too where D stands still."""
    still = settings.replaced(discriminator_learning_rate=0.0)
    images, losses, kernels = tf.constant(photos()), {}, {}
    for name, generator, passes in (("ours", FUSED, ONE), ("plain", PLAIN, TWO)):
        gan = training_benchmark.make_gan(still, seed=3, generator=generator)
        step = gan.train_step if passes == ONE else partial(training_benchmark.two_tape_step, gan)
        first = tf.function(step)(images)
        losses[name] = {key: float(loss) for key, loss in first.items()}
        kernels[name] = [variable.numpy() for variable in gan.generator.trainable_variables]
        assert int(gan.steps_done.numpy()) == 1
    for key in losses["ours"]:
        assert losses["plain"][key] == pytest.approx(losses["ours"][key], rel=2e-4), key
    # Adam's first step is the gradient's sign times the rate: alike but where a gradient is nearly 0
    shares = [
        np.isclose(one, other, atol=2e-4).mean()
        for one, other in zip(kernels["ours"], kernels["plain"], strict=True)
    ]
    assert min(shares) > 0.98, shares


def test_plain_loop_moves_d_before_g_sees_it(settings: GanSettings) -> None:
    """What differs by design: with D learning, G's loss is that of the updated D; D's losses stay equal."""
    fast = settings.replaced(discriminator_learning_rate=0.05)
    found = {}
    for name, generator in (("ours", FUSED), ("plain", PLAIN)):
        gan, images = training_benchmark.make_gan(fast, seed=3, generator=generator), tf.constant(photos())
        one = gan.train_step(images) if name == "ours" else training_benchmark.two_tape_step(gan, images)
        found[name] = {key: float(loss) for key, loss in one.items()}
    assert found["plain"]["d_fake"] == pytest.approx(found["ours"]["d_fake"], rel=2e-4)
    assert abs(found["plain"]["generator"] - found["ours"]["generator"]) > 0.01


def test_waiting_is_told_apart_from_training() -> None:
    calls = []
    seconds, waiting = training_benchmark.drained(
        iter(range(9)), 4, lambda images: calls.append(images) or 0.0
    )
    assert calls == [0, 1, 2, 3]
    assert len(seconds) == len(waiting) == 4 and (waiting <= seconds).all()
    assert len(training_benchmark.drained(iter(range(9)), 4, None)[0]) == 4


def test_ratio_is_formed_round_by_round() -> None:
    """Worked by hand: two seeds make 2 x 8 images a round, against 8 of the plain loop."""
    two = next(one for one in CONTENDERS if one.processes == 2)
    seconds, plain = np.array([1.0, 2.0, 4.0]), np.array([2.0, 2.0, 2.0])
    row = training_benchmark.speed_row(two, seconds, plain, batch=8)
    assert (row["images_per_second"], row["ratio"], row["steps"]) == (8.0, 2.0, 3)
    assert row["low"] == pytest.approx(np.quantile([16, 8, 4], 0.1))
    assert row["ratio_high"] == pytest.approx(np.quantile([4, 2, 1], 0.9))
    assert training_benchmark.speed_row(CONTENDERS[0], plain, plain, batch=8)["ratio"] == 1


def speed_table() -> pd.DataFrame:
    rows = [
        training_benchmark.speed_row(one, np.linspace(1, 1.5, 20), np.linspace(1, 2, 20), batch=8)
        for one in CONTENDERS
    ]
    for what, waiting in ((PIPELINE, np.nan), (FED, 0.001)):
        row = training_benchmark.speed_row(
            dataclasses.replace(CONTENDERS[2], what=what), np.ones(20), np.empty(0), batch=8, waiting=waiting
        )
        rows.append(row)
    return pd.DataFrame(rows)[training_benchmark.COLUMNS]


def test_chart_has_a_bar_a_contender(workspace: Path) -> None:
    files.write_table(Paths.of("smoke").result("training_speed"), speed_table())
    figure = draw_chart(speed_figures.training_speed, profile="smoke")
    assert len(figure.axes[0].patches) == len(CONTENDERS)
    assert "0.1% of a step waits" in figure._supxlabel.get_text().replace("\n", " ")
    with pytest.raises(InputError, match="no row with what plain two-tape loop"):
        speed_figures.training_speed(speed_table().iloc[1:], profile="smoke")


def test_bad_input_is_named_before_anything_starts(workspace: Path) -> None:
    with pytest.raises(InputError, match="steps: at least 1"):
        training_benchmark.measure("smoke", steps=0)
    with pytest.raises(InputError, match=r"photos\.csv: not there yet; stage prepare writes it"):
        training_benchmark.measure("smoke", steps=1)


@pytest.mark.slow
def test_a_benchmark_of_two_contenders_end_to_end(workspace: Path) -> None:
    """Real processes: the plain loop and a single-thread step, two rounds, the input pipeline."""
    paths, contenders = Paths.of("smoke"), (CONTENDERS[0], CONTENDERS[2])
    pixels = np.random.default_rng(0).integers(0, 256, (20, 32, 48, 3), dtype=np.uint8)
    files.write_array(paths.pixels, pixels)
    table = pd.DataFrame({"id": [f"{i}.jpg" for i in range(20)], "product": "", "split": "training"})
    files.write_table(paths.photos, table)
    table = training_benchmark.measure("smoke", steps=2, contenders=contenders).set_index("what")
    assert table.index.tolist() == [BASELINE, CONTENDERS[2].what, PIPELINE, FED]
    assert (table["images_per_second"] > 0).all() and table.loc[BASELINE, "ratio"] == 1
    assert table.loc[PIPELINE, "images_per_second"] > table.loc[FED, "images_per_second"]
    assert 0 <= table.loc[FED, "waiting"] < 1
