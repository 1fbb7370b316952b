"""Embedding with the networks: which photos, what is kept, what is made anew, what a killed run costs."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
import yaml
from PIL import Image

from solesearch.core import files
from solesearch.core.errors import InputError
from solesearch.core.paths import Paths
from solesearch.networks import comparison
from solesearch.networks.comparison import Comparison, embed_networks, retrain_networks
from solesearch.networks.networks import NetworkEmbedder, Variant, build_network, find_network
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
    parameters["smoke"]["retraining"].update(networks=NAMES[:1], steps=1, batch=4)
    (workspace / "params.yaml").write_text(yaml.safe_dump(parameters))
    paths, rows = Paths.of("smoke"), []
    for number in range(PHOTOS):
        drawn = np.random.default_rng(number).integers(0, 256, (60, 80, 3), dtype=np.uint8)
        paths.drawn.mkdir(parents=True, exist_ok=True)
        Image.fromarray(drawn).save(paths.drawn / f"{number:02d}.png")
        split = "training" if number < 16 else "validation" if number < 20 else "test"
        rows.append((f"{number:02d}.png", f"digest-{number}", "ab"[number % 2], split, str(number), 0))
    columns = ["id", "sha256", "label", "split", "group", "position"]
    files.write_table(paths.photos, pd.DataFrame(rows, columns=columns))
    (workspace / "weights").mkdir()
    whole = build_network(find_network(NAMES[0]), size=75, seed=5)
    whole.save_weights(workspace / "weights" / f"{NAMES[0]}.weights.h5")
    collect("smoke", report=lambda _: None)
    return Comparison.open("smoke")


def test_which_models_and_which_photos(opened: Comparison) -> None:
    names = [variant.name for variant in opened.variants()]
    assert names == [
        *NAMES,
        f"{NAMES[0]}+one_unit",
        f"{NAMES[0]}+classes",
        f"{NAMES[0]}@caffe",
    ]  # fmt: skip  no other scaling for the network without weights
    count = {variant.name: len(opened.photographs(variant).ids) for variant in opened.variants()}
    test = PHOTOS - 20
    assert count == {
        NAMES[0]: PHOTOS, NAMES[1]: 20, f"{NAMES[0]}+one_unit": test, f"{NAMES[0]}+classes": test,
        f"{NAMES[0]}@caffe": test,
    }  # fmt: skip
    some = opened.photographs(Variant(NAMES[1])).ids
    assert some == sorted(some) and set(some) < set(opened.photos["id"][20:])
    assert some == opened.photographs(Variant(NAMES[1])).ids, "drawn from the seed"


def test_vectors_are_those_of_the_network_and_kept(
    opened: Comparison, monkeypatch: pytest.MonkeyPatch
) -> None:
    tf.config.run_functions_eagerly(True)  # tracing the gradients would take longer than the steps
    retrain_networks(opened)
    tf.config.run_functions_eagerly(False)
    overview = embed_networks(opened, workers=1)
    assert overview["weights"].tolist() == ["imagenet", "untrained", "imagenet", "imagenet", "imagenet"]
    assert overview["scaling"].tolist() == ["tf", "tf", "tf", "tf", "caffe"]
    assert overview["dimensions"].tolist() == [256, 1280, 256, 256, 256]

    photographs = opened.photographs(Variant(NAMES[0]))
    weights = opened.weights[NAMES[0]].path
    direct = NetworkEmbedder(Variant(NAMES[0]), opened.networks, weights=weights)
    kept = opened.store.load(NAMES[0])
    assert kept.ids == photographs.ids
    np.testing.assert_allclose(kept.vectors, direct.embed(photographs.decode(size=75)), rtol=1e-3, atol=1e-5)
    learned = opened.store.load(f"{NAMES[0]}+classes")
    assert np.abs(learned.vectors - kept.of(learned.ids)).max() > 1e-6, "retraining changed nothing"

    monkeypatch.setattr(comparison, "NetworkEmbedder", None)  # nothing may be computed again
    monkeypatch.setattr(comparison, "retrain", None)
    retrain_networks(opened)
    pd.testing.assert_frame_equal(embed_networks(opened), overview)
    pd.testing.assert_frame_equal(opened.store.overview(), overview)


def test_whatever_decides_the_numbers_asks_for_new_ones(opened: Comparison) -> None:
    mine, retrained = Variant(NAMES[0]), Variant(NAMES[0], head="classes")
    wanted, networks = opened.wanted(mine), opened.networks
    weights = {**opened.weights, NAMES[0]: replace(opened.weights[NAMES[0]], sha256="other")}
    other_photo = opened.photos.assign(sha256="x")
    changed = [
        replace(opened, weights=weights),
        replace(opened, photos=other_photo),
        replace(opened, fit="pad"),
        *(
            replace(opened, networks=replace(networks, **change))
            for change in (
                {"pooling": "max"},
                {"preprocess": "shared", "shared_scaling": "torch"},
                {"input_size": 128},
                {"layers": {NAMES[0]: "conv_pw_6_relu"}},
                {"whole_catalogue": []},
            )
        ),
    ]
    assert not [one for one in changed if one.wanted(mine) == wanted]
    same = replace(opened, networks=replace(networks, batch=3, seed=2))
    assert same.wanted(mine) == wanted, "batch never decides; the seed only where something is drawn"
    assert same.wanted(Variant(NAMES[1])) != opened.wanted(Variant(NAMES[1]))
    longer = replace(opened, retraining=replace(opened.retraining, steps=3))
    assert longer.wanted(mine) == wanted
    assert longer.wanted(retrained) != opened.wanted(retrained)
    labels = replace(opened, photos=opened.photos.assign(label="c"))
    assert labels.wanted(retrained) != opened.wanted(retrained)


def test_a_run_cut_short_goes_on_with_what_is_missing(
    opened: Comparison, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, whole, built = (
        replace(opened, retraining=replace(opened.retraining, heads=[])),
        NetworkEmbedder,
        [],
    )

    class Failing(whole):
        def __init__(self, variant: Variant, *args, **options):
            built.append(variant.name)
            if len(built) == 2:
                raise KeyboardInterrupt
            super().__init__(variant, *args, **options)

    monkeypatch.setattr(comparison, "NetworkEmbedder", Failing)
    with pytest.raises(KeyboardInterrupt):
        embed_networks(plain, workers=1)
    assert len(embed_networks(plain, workers=1)) == 3
    assert built == [NAMES[0], NAMES[1], NAMES[1], f"{NAMES[0]}@caffe"]


def test_networks_side_by_side_give_what_one_after_the_other_gives(opened: Comparison) -> None:
    plain = replace(opened, retraining=replace(opened.retraining, heads=[]))
    beside = embed_networks(plain, workers=2)
    kept = {name: plain.store.load(name).vectors for name in NAMES}
    for name in NAMES:
        plain.store.note(name).unlink()
    pd.testing.assert_frame_equal(embed_networks(plain, workers=1), beside)
    for name in NAMES:
        assert (plain.store.load(name).vectors == kept[name]).all()


def test_weights_that_changed_since_are_named(opened: Comparison, workspace: Path) -> None:
    build_network(find_network(NAMES[0]), size=75, seed=6).save_weights(
        workspace / "weights" / f"{NAMES[0]}.weights.h5"
    )
    with pytest.raises(InputError, match=r"weights\.csv: the weight files have changed since"):
        Comparison.open("smoke")


def test_what_is_not_there_or_damaged_is_named(tmp_path: Path) -> None:
    folder = comparison.NetworkFolder(tmp_path)
    with pytest.raises(InputError, match=r"VGG16\.json: not there yet; stage networks writes it"):
        folder.load("VGG16")
    with pytest.raises(InputError, match=r"networks\.csv: not there yet; stage networks writes it"):
        folder.overview()
    folder.note("VGG16").write_text("{")
    assert not folder.holds(folder.note("VGG16"), {})
