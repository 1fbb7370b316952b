"""Retraining: what the heads learn, that one unit learns nothing, and impossible settings."""

from collections.abc import Iterator

import numpy as np
import pytest
import tensorflow as tf

from solesearch.core.errors import InputError
from solesearch.networks.networks import Variant, build_network, find_network
from solesearch.networks.retraining import LOG_COLUMNS, RetrainingSettings, retrain, targets

NAME = "MobileNet-0.25"
VALUES = {
    "networks": [NAME], "heads": ["one_unit", "classes"], "trainable": "all", "dropout": 0.0,
    "learning_rate": 0.01, "steps": 12, "batch": 8, "seed": 1,
}  # fmt: skip


@pytest.fixture(autouse=True)
def eager() -> Iterator[None]:
    """Tracing a network's gradient takes longer than the few steps of these tests."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


def settings(**changes: object) -> RetrainingSettings:
    return RetrainingSettings(**{**VALUES, **changes})


def dark_and_light(count: int) -> tuple[np.ndarray, np.ndarray]:
    labels = np.array(["dark", "light"] * (count // 2))
    pixels = (
        np.random.default_rng(0).integers(0, 60, (count, 75, 75, 3))
        + 180 * (labels == "light")[:, None, None, None]
    )
    return pixels.astype(np.uint8), labels


def run(head: str, chosen: RetrainingSettings, *, trained: bool = False):
    whole = build_network(find_network(NAME), size=75, seed=3)
    before = [variable.numpy() for variable in whole.variables]
    pixels, labels = dark_and_light(24)
    log = retrain(
        whole, Variant(NAME, head=head), chosen, pixels=pixels, labels=labels, scaling="tf", trained=trained
    )
    moved = [
        float(np.abs(variable.numpy() - old).max())
        for variable, old in zip(whole.variables, before, strict=True)
    ]
    return log, dict(zip((variable.path for variable in whole.variables), moved, strict=True))


def test_targets_by_hand() -> None:
    labels = np.array(["b", "a", "b"])
    assert [array.tolist() for array in targets(labels, head="classes")[:1]] == [[1, 0, 1]]
    assert targets(labels, head="classes")[1] == 2
    numbers, units = targets(labels, head="one_unit")
    assert (numbers.tolist(), units) == ([1, 1, 1], 1)
    with pytest.raises(InputError, match="`classes` needs photos of two classes or more; there is only a"):
        targets(np.array(["a", "a"]), head="classes")


def test_one_unit_has_nothing_to_learn_and_its_gradient_fades() -> None:
    log, _ = run("one_unit", settings(steps=10, learning_rate=0.03))
    assert list(log.columns) == LOG_COLUMNS
    assert log["step"].tolist() == list(range(1, 11))
    assert log["loss"].iloc[0] == pytest.approx(np.log(2), abs=0.05)  # knows nothing: sigmoid(0)
    assert log["mean_probability"].iloc[-1] > 0.99, "it says yes to everything"
    assert log["gradient_norm"].iloc[-1] < 0.1 * log["gradient_norm"].iloc[:3].max()


def test_classes_are_learned() -> None:
    log, moved = run("classes", settings())
    assert log["loss"].iloc[-1] < 0.5 * log["loss"].iloc[0]
    learned = {path for path, change in moved.items() if change > 0}
    assert any("conv1/kernel" in path for path in learned)
    assert any("moving" in path for path in learned), "random weights come without statistics"


def test_only_the_layers_named_learn() -> None:
    _, moved = run("classes", settings(trainable="conv_pw_13", steps=1))
    changed = {path.split("/")[0] for path, change in moved.items() if change > 0 and "moving" not in path}
    assert changed == {"conv_pw_13", "conv_pw_13_bn"}


def test_a_head_alone_leaves_the_network_as_it_was() -> None:
    _, moved = run("classes", settings(trainable="head", steps=1), trained=True)
    assert set(moved.values()) == {0.0}, "batch norm keeps ImageNet's statistics, too"


def test_the_same_seed_gives_the_same_numbers() -> None:
    first, second = (run("classes", settings(steps=1, dropout=0.5))[0] for _ in range(2))
    assert first["loss"].tolist() == second["loss"].tolist()


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"networks": ["VGG18"]}, "VGG18"),
        ({"heads": ["two_units"]}, "heads"),
        ({"heads": ["classes", "classes"]}, "heads"),
        ({"dropout": 1.0}, "dropout"),
        ({"learning_rate": 0}, "learning_rate"),
        ({"steps": 0}, "at least 1"),
        ({"networks": [NAME, NAME]}, "once"),
    ],
)
def test_impossible_settings_are_named(wrong: dict, words: str) -> None:
    with pytest.raises(InputError, match=words):
        settings(**wrong)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [({"trainable": "nowhere"}, "has no layer 'nowhere'"), ({"batch": 100}, "make no batch of 100")],
)
def test_what_does_not_fit_the_network_or_the_photos(wrong: dict, words: str) -> None:
    with pytest.raises(InputError, match=words):
        run("classes", settings(**wrong))
