"""Retraining: what the heads learn, that one unit learns nothing, and what does not fit."""

from collections.abc import Iterator

import numpy as np
import pytest
import tensorflow as tf

from solesearch.core.errors import InputError
from solesearch.core.model_names import NetworkRow
from solesearch.networks.networks import NetworkEmbedder, NetworkSettings
from solesearch.networks.retraining import LOG_COLUMNS, RetrainingSettings, retrain, targets

NAME = "MobileNet-0.25"


@pytest.fixture(autouse=True)
def eager() -> Iterator[None]:
    """Tracing a network's gradient takes longer than the few steps of these tests."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


def settings(**changes: object) -> RetrainingSettings:
    same = {"networks": [NAME], "dropout": 0.0, "learning_rate": 0.01, "steps": 12, "batch": 8}
    return RetrainingSettings.load("sample", **{**same, **changes})


def run(head: str, chosen: RetrainingSettings, *, trained: bool = False):
    """Retrain on 24 photos, dark and light; return the log, and variable -> its largest change."""
    networks = NetworkSettings.load(
        "sample", names=[NAME], whole_catalogue=[], seed=3, untrained_input_size=75
    )
    embedder = NetworkEmbedder(NetworkRow(NAME), networks, weights=None)
    embedder.trained = trained
    before = [variable.numpy() for variable in embedder.whole.variables]
    labels = np.array(["dark", "light"] * 12)
    pixels = np.random.default_rng(0).integers(0, 60, (24, 75, 75, 3), dtype=np.uint8)
    pixels[1::2] += 180
    row = NetworkRow(NAME, head=head)
    log = retrain(embedder, row, chosen, photos=lambda rows: pixels[rows], labels=labels)
    after = embedder.whole.variables
    moved = {new.path: float(np.abs(new.numpy() - old).max()) for new, old in zip(after, before, strict=True)}
    return log, moved


def test_targets_by_hand() -> None:
    labels = np.array(["b", "a", "b"])
    for head, expected in (("classes", ([1, 0, 1], 2)), ("one_unit", ([1, 1, 1], 1))):
        numbers, units = targets(labels, head=head)
        assert (numbers.tolist(), units) == expected
    with pytest.raises(InputError, match="`classes` needs photos of two classes or more; there is only a"):
        targets(np.array(["a", "a"]), head="classes")


def test_one_unit_has_nothing_to_learn_and_its_gradient_fades() -> None:
    log, _ = run("one_unit", settings(steps=10, learning_rate=0.03))
    assert list(log.columns) == LOG_COLUMNS and log["step"].tolist() == list(range(1, 11))
    assert log["loss"].iloc[0] == pytest.approx(np.log(2), abs=0.05)  # knows nothing: sigmoid(0)
    assert log["mean_probability"].iloc[-1] > 0.99, "it says yes to everything"
    assert log["gradient_norm"].iloc[-1] < 0.1 * log["gradient_norm"].iloc[:3].max()


def test_classes_are_learned() -> None:
    log, moved = run("classes", settings())
    assert log["loss"].iloc[-4:].median() < 0.5 * log["loss"].iloc[0]  # a batch of eight leaps
    learned = {path for path, change in moved.items() if change > 0}
    assert any("conv1/kernel" in path for path in learned)
    assert any("moving" in path for path in learned), "random weights come without statistics"


def test_only_the_layers_named_learn() -> None:
    _, moved = run("classes", settings(trainable="conv_pw_13", steps=1))
    changed = {path.split("/")[0] for path, change in moved.items() if change > 0 and "moving" not in path}
    assert changed == {"conv_pw_13", "conv_pw_13_bn"}
    _, moved = run("classes", settings(trainable="head", steps=1), trained=True)
    assert set(moved.values()) == {0.0}, "batch norm keeps ImageNet's statistics, too"


def test_the_same_seed_gives_the_same_numbers() -> None:
    first, second = (run("classes", settings(steps=1, dropout=0.5))[0] for _ in range(2))
    assert first["loss"].tolist() == second["loss"].tolist()


def test_what_does_not_fit_is_named() -> None:
    for wrong, words in (
        ({"heads": ["classes", "classes"]}, r"sample\.retraining\.heads: name each once"),
        ({"trainable": "nowhere"}, "has no layer 'nowhere'"),
        ({"batch": 100}, "24 training photos make no batch of 100"),
    ):
        with pytest.raises(InputError, match=words):
            run("classes", settings(**wrong))
