"""Embedding with the networks: which photos, what is kept, what is made anew, what a killed run costs."""

import os
from concurrent.futures import Executor, Future
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest
import yaml
from PIL import Image

from solesearch.core import files
from solesearch.core.errors import InputError
from solesearch.core.model_names import NetworkRow
from solesearch.core.paths import Paths
from solesearch.core.workers import process_pool
from solesearch.networks import comparison
from solesearch.networks.comparison import Comparison, embed_networks, start_process
from solesearch.networks.networks import NetworkEmbedder, build_network, find_network, kept_embedders
from solesearch.networks.weights import collect

NAMES = ["MobileNet-0.25", "MobileNetV2-0.35"]
PHOTOS = 48


@pytest.fixture
def opened(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Comparison:
    """48 random photos of two classes, weights of our own for the first network, none for the second."""
    monkeypatch.setenv("KERAS_HOME", str(workspace / "keras"))
    parameters = yaml.safe_load((workspace / "params.yaml").read_text())
    parameters["smoke"]["networks"].update(
        names=NAMES, whole_catalogue=NAMES[:1], photos=20, untrained_photos=20
    )
    parameters["smoke"]["retraining"].update(networks=NAMES[:1], heads=["classes"], steps=1, batch=4)
    (workspace / "params.yaml").write_text(yaml.safe_dump(parameters))
    paths, rows = Paths.of("smoke"), []
    paths.drawn.mkdir(parents=True, exist_ok=True)
    for number in range(PHOTOS):
        drawn = np.random.default_rng(number).integers(0, 256, (60, 80, 3), dtype=np.uint8)
        Image.fromarray(drawn).save(paths.drawn / f"{number:02d}.png")
        split = "training" if number < 16 else "validation" if number < 20 else "test"
        rows.append((f"{number:02d}.png", f"digest-{number}", "ab"[number % 2], split, str(number), 0))
    columns = ["id", "sha256", "label", "split", "group", "position"]
    files.write_table(paths.photos, pd.DataFrame(rows, columns=columns))
    (workspace / "weights").mkdir()
    save_weights(workspace, seed=5)
    collect("smoke", report=lambda _: None)
    kept_embedders().clear()
    return Comparison.open("smoke")


def save_weights(workspace: Path, *, seed: int) -> None:
    whole = build_network(find_network(NAMES[0]), size=75, seed=seed)
    whole.save_weights(workspace / "weights" / f"{NAMES[0]}.weights.h5")


class Here(Executor):
    """Runs in this process, so that a test can see into it."""

    def submit(self, call, *arguments) -> Future:
        future = Future()
        try:
            future.set_result(call(*arguments))
        except Exception as error:
            future.set_exception(error)
        return future


HERE = Here()


def without_heads(opened: Comparison) -> Comparison:
    return replace(opened, retraining=opened.retraining.model_copy(update={"heads": []}))


def test_which_models_and_which_photos(opened: Comparison) -> None:
    count = {variant.name: len(opened.photos_of(variant)) for variant in opened.variants()}
    test = PHOTOS - 20
    assert count == {
        NAMES[0]: PHOTOS, NAMES[1]: 20, f"{NAMES[0]}+classes": test, f"{NAMES[0]}@caffe": test,
    }, "no other scaling for the network without weights"  # fmt: skip
    some = opened.photos_of(NetworkRow(NAMES[1]))["id"].tolist()
    assert some == sorted(some) and set(some) < set(opened.photos["id"][20:])
    assert some == opened.photos_of(NetworkRow(NAMES[1]))["id"].tolist(), "drawn from the seed"


def test_vectors_are_those_of_the_network_and_kept(opened: Comparison) -> None:
    overview, log = embed_networks(opened, HERE)
    assert overview["weights"].tolist() == ["imagenet", "untrained", "imagenet", "imagenet"]
    assert overview["scaling"].tolist() == ["tf", "tf", "tf", "caffe"]
    assert overview["dimensions"].tolist() == [256, 1280, 256, 256]
    assert log["model"].tolist() == [f"{NAMES[0]}+classes"]

    plain, weights = NetworkRow(NAMES[0]), opened.weights[NAMES[0]].path
    direct = NetworkEmbedder(plain, opened.networks, weights=weights)
    kept = opened.store.load(plain.name)
    assert kept.ids == opened.photos["id"].tolist()
    expected = direct.embed(opened.decode(opened.photos, size=75))
    np.testing.assert_allclose(kept.vectors, expected, rtol=1e-3, atol=1e-5)
    learned = opened.store.load(f"{NAMES[0]}+classes")
    assert np.abs(learned.vectors - kept.of(learned.ids)).max() > 1e-6, "retraining changed nothing"

    again = embed_networks(opened, {})  # nothing may be computed again
    pd.testing.assert_frame_equal(again[0], overview)
    pd.testing.assert_frame_equal(again[1], log)
    pd.testing.assert_frame_equal(opened.store.overview(), overview)


def test_whatever_decides_the_numbers_asks_for_new_ones(opened: Comparison) -> None:
    plain, retrained = NetworkRow(NAMES[0]), NetworkRow(NAMES[0], head="classes")

    def changed(field: str, **values: object) -> Comparison:
        return replace(opened, **{field: getattr(opened, field).model_copy(update=values)})

    weights = {**opened.weights, NAMES[0]: replace(opened.weights[NAMES[0]], sha256="other")}
    for other in (
        replace(opened, weights=weights),
        replace(opened, photos=opened.photos.assign(sha256="x")),
        changed("catalogue", fit="pad"),
        changed("networks", pooling="max"),
        changed("networks", preprocess="shared", shared_scaling="torch"),
        changed("networks", input_size=128),
        changed("networks", layers={NAMES[0]: "conv_pw_6_relu"}),
        changed("networks", whole_catalogue=[]),
    ):
        assert other.wanted(plain) != opened.wanted(plain)
    same = changed("networks", batch=3, seed=2)
    assert same.wanted(plain) == opened.wanted(plain), "batch never decides; the seed only what is drawn"
    assert same.wanted(NetworkRow(NAMES[1])) != opened.wanted(NetworkRow(NAMES[1]))
    for other in (changed("retraining", steps=3), replace(opened, photos=opened.photos.assign(label="c"))):
        assert other.wanted(plain) == opened.wanted(plain)
        assert other.wanted(retrained) != opened.wanted(retrained)


def test_a_run_cut_short_goes_on_with_what_is_missing(
    opened: Comparison, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, real = [], comparison.decode_photos

    def failing(*args, **options):
        made.append(opened.store.note(NAMES[0]).is_file())
        if len(made) == 4:
            raise KeyboardInterrupt
        return real(*args, **options)

    monkeypatch.setattr(comparison, "decode_photos", failing)
    with pytest.raises(KeyboardInterrupt):
        embed_networks(without_heads(opened), HERE)
    assert made == [False, False, False, True], "three batches of the first network, then the second one's"
    assert len(embed_networks(without_heads(opened), HERE)[0]) == 3
    assert len(made) == 4 + 2 + 2, "the second network, and the first under another scaling"


def test_a_process_gives_what_this_one_gives(opened: Comparison) -> None:
    plain = without_heads(opened)
    with start_process(threads=1) as process:
        beside, _ = embed_networks(plain, process)
    kept = {name: plain.store.load(name).vectors for name in beside["model"]}
    for name in kept:
        plain.store.note(name).unlink()
    pd.testing.assert_frame_equal(embed_networks(plain, HERE)[0], beside)
    for name, vectors in kept.items():
        assert (plain.store.load(name).vectors == vectors).all()


def test_a_process_that_does_not_start_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(threads: int) -> None:
        raise InputError(f"{threads} threads: refused")

    monkeypatch.setattr(comparison, "_set_threads", refuse)
    monkeypatch.setattr(comparison, "process_pool", lambda workers: Here())
    with pytest.raises(InputError, match="2 threads: refused"):
        start_process(threads=2)


def test_an_error_in_one_network_comes_out_and_no_table_is_written(
    opened: Comparison, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args, **options):
        raise InputError("00.png: not readable")

    monkeypatch.setattr(comparison, "decode_photos", refuse)
    with pytest.raises(InputError, match=r"00\.png: not readable"):
        embed_networks(opened, HERE)
    assert not (opened.store.folder / "networks.csv").exists()


def die_at_the_second(opened: Comparison, variant: NetworkRow, wanted: dict) -> None:
    """Stand for embedding: the process is killed in its second network."""
    if variant.network != NAMES[0]:
        os._exit(1)


def test_a_killed_process_names_the_network_and_none_lives_on(
    opened: Comparison, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = process_pool(1)
    worker = pool.submit(os.getpid).result()
    monkeypatch.setattr(comparison, "_embed_one", die_at_the_second)
    with pytest.raises(InputError, match=rf"^network {NAMES[1]}: its process was killed \(out of memory"):
        embed_networks(without_heads(opened), pool)
    assert not psutil.pid_exists(worker)


def test_what_is_not_there_damaged_or_another_is_named(opened: Comparison, workspace: Path) -> None:
    with pytest.raises(InputError, match=r"VGG16\.json: not there yet; stage networks writes it"):
        opened.store.load("VGG16")
    with pytest.raises(InputError, match=r"networks\.csv: not there yet; stage networks writes it"):
        opened.store.overview()
    files.write_text(opened.store.note("VGG16"), "{")
    assert not opened.store.holds("VGG16", {})
    save_weights(workspace, seed=6)
    with pytest.raises(InputError, match=r"weights\.csv: the weight files have changed since"):
        Comparison.open("smoke")
