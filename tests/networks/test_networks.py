"""The twelve CNNs: names, Keras's own facts about them, input scaling, features."""

import importlib
import inspect
import shutil
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

from solesearch.core.errors import InputError
from solesearch.core.model_names import NetworkRow, published_networks
from solesearch.core.published import published
from solesearch.networks import networks
from solesearch.networks.networks import NetworkEmbedder, NetworkSettings, find_network

NAMES = published_networks().index.tolist()
NARROW = "MobileNet-0.25"
UNKNOWN = ("VGG18", "VGG16-0.5", "MobileNet-0.3", "MobileNet-1.0", "", "mobilenet")


def settings(**changes: object) -> NetworkSettings:
    same = {
        "names": [NARROW],
        "whole_catalogue": [],
        "input_size": 96,
        "untrained_input_size": 96,
        "batch": 4,
    }
    return NetworkSettings.load("sample", **{**same, **changes})


def features(*, weights: Path | None = None, scaling: str = "", count: int = 2, **changes: object):
    row = NetworkRow(NARROW, scaling=scaling)
    return NetworkEmbedder(row, settings(**changes), weights=weights).embed(photos(count))


def photos(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 96, 96, 3), dtype=np.uint8)


def test_they_are_the_networks_of_the_papers_table() -> None:
    assert [name for name in published()["model"] if name in NAMES] == NAMES
    assert len(NAMES) == 12
    for name, file in (
        (NARROW, "mobilenet_2_5_224_tf_no_top.h5"),
        ("MobileNetV2-1.4", "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.4_224_no_top.h5"),
        ("ResNet152", "resnet152_weights_tf_dim_ordering_tf_kernels_notop.h5"),
    ):
        assert find_network(name).file == file


@pytest.mark.parametrize("name", NAMES)
def test_file_and_hash_are_those_that_keras_uses(name: str) -> None:
    network = find_network(name)
    source = inspect.getsource(importlib.import_module(f"keras.src.applications.{network.folder}"))
    assert network.md5 in source
    assert f"keras-applications/{network.folder}/" in source.replace('"\n    "', "")
    if network.folder not in ("mobilenet", "mobilenet_v2", "resnet"):  # these compose the name
        assert network.file in source.replace('"\n    "', "").replace('"\n                "', "")


def test_settings_that_no_type_refuses() -> None:
    for wrong, words in (
        *(({"names": [name]}, r"sample\.networks\.names\.0: network") for name in UNKNOWN),
        ({"names": ["VGG16", "VGG16"]}, "each once"),
        ({"whole_catalogue": ["VGG16"]}, "VGG16 is not among `names`"),
        ({"photos": 5}, "photos: 0, or 20 and more, got 5"),
        ({"input_size": 64}, "input_size: 0, or 75 and more"),
    ):
        with pytest.raises(InputError, match=words):
            settings(**wrong)


def test_scalings_by_hand() -> None:
    red = np.array([[[[255, 0, 0]]]], dtype=np.uint8)
    by_hand = {
        "caffe": [-103.939, -116.779, 255 - 123.68],  # blue, green, red less ImageNet's mean
        "tf": [1, -1, -1],
        "torch": [(1 - 0.485) / 0.229, -0.456 / 0.224, -0.406 / 0.225],
        "none": [255, 0, 0],
    }
    for name, expected in by_hand.items():
        np.testing.assert_allclose(networks.scale(red, scaling=name)[0, 0, 0], expected, rtol=1e-5)


def test_features_are_the_pooled_last_convolution() -> None:
    found = features(count=5)  # two passes: four photos and one
    assert found.shape == (5, 256) and found.dtype == np.float32
    whole = networks.build_network(find_network(NARROW), size=96, seed=1)
    plain = keras.Model(whole.input, whole.get_layer("conv_pw_13_relu").output)
    maps = plain(photos(5).astype(np.float32) / 127.5 - 1, training=False).numpy()
    np.testing.assert_allclose(found, maps.mean(axis=(1, 2)), rtol=1e-3, atol=1e-5)


def test_layer_pooling_and_scaling_can_be_chosen() -> None:
    assert features(layers={NARROW: "conv_pw_6_relu"}, pooling="max").shape == (2, 128)
    with pytest.raises(InputError, match=r"MobileNet-0.25 has no layer 'nowhere'"):
        features(layers={NARROW: "nowhere"})
    rows = [NetworkRow("VGG16"), NetworkRow("VGG16", head="classes"), NetworkRow("VGG16", scaling="tf")]
    assert [row.name for row in rows] == ["VGG16", "VGG16+classes", "VGG16@tf"]
    assert [settings().scaling_of(row) for row in rows] == ["caffe", "caffe", "tf"]
    assert settings(preprocess="shared", shared_scaling="torch").scaling_of(rows[0]) == "torch"
    plain, other = (features(scaling=scaling) for scaling in ("", "none"))
    assert np.abs(plain - other).max() > 0.1 * np.abs(plain).max()


def test_one_network_takes_photos_of_any_size_and_gives_what_one_built_for_it_gives() -> None:
    """It embeds at one size and is timed at another; a MobileNet is built for one, since V2 pads by it."""
    row, network = NetworkRow("InceptionV3"), find_network("InceptionV3")
    free = NetworkEmbedder(row, settings(names=["InceptionV3"]), weights=None, any_size=True)
    assert free.sides is None
    narrow = NetworkEmbedder(NetworkRow(NARROW), settings(), weights=None, any_size=True)
    assert narrow.sides == 96
    fixed = networks.feature_model(networks.build_network(network, size=96, seed=1), network)
    scaled = networks.scale(photos(2), scaling="tf")
    np.testing.assert_allclose(free.embed(photos(2)), fixed(scaled, training=False), rtol=1e-3, atol=1e-5)
    assert free.embed(np.zeros((1, 120, 120, 3), np.uint8)).shape == (1, 2048)


def test_only_the_network_that_is_kept_for_timing_is_of_any_size() -> None:
    """What is exported for the web page takes the one size that photos are decoded to."""
    chosen = settings(names=["ResNet50"])
    assert NetworkEmbedder(NetworkRow("ResNet50"), chosen, weights=None).sides == 96
    assert networks.kept_embedder("ResNet50", chosen.model_dump_json(), None).sides is None
    networks.kept_embedders().clear()


def test_a_layers_name_does_not_depend_on_what_was_built_before() -> None:
    """Keras numbers InceptionV3's convolutions over all that a process has built: conv2d to conv2d_93."""
    row, chosen = (
        NetworkRow("InceptionV3"),
        settings(names=["InceptionV3"], layers={"InceptionV3": "conv2d_93"}),
    )
    vectors = [NetworkEmbedder(row, chosen, weights=None).embed(photos(1)) for _ in range(2)]
    assert vectors[0].shape == (1, 192)
    np.testing.assert_array_equal(*vectors)


def test_input_size_depends_on_the_weights() -> None:
    chosen, network = settings(input_size=0, untrained_input_size=75), find_network("InceptionV3")
    assert chosen.size_of(network, trained=True) == 299
    assert chosen.size_of(network, trained=False) == 75


def test_saved_weights_come_back_and_foreign_ones_are_refused(tmp_path: Path) -> None:
    network, mine = find_network(NARROW), tmp_path / "mine.weights.h5"
    networks.build_network(network, size=96, seed=9).save_weights(mine)
    renamed = Path(shutil.copy(mine, tmp_path / f"{NARROW}.h5"))  # Keras 3 inside, the ending of Keras 2
    for file in (mine, renamed):
        np.testing.assert_array_equal(features(weights=file), features(seed=9))

    (tmp_path / "text.h5").write_text("no HDF5")
    (tmp_path / "half.h5").write_bytes(mine.read_bytes()[: mine.stat().st_size // 2])
    with h5py.File(tmp_path / "empty.h5", "w"):
        pass
    with h5py.File(tmp_path / "flat.h5", "w") as file:
        file["values"] = np.zeros(218544, np.float32)  # the right number in the wrong shape
    for name, words in (
        ("text.h5", "not a whole HDF5 file"),
        ("half.h5", "not a whole HDF5 file"),
        ("empty.h5", "it holds 0 values, wanted are 218,544"),
        ("flat.h5", r"not the weights of MobileNet-0\.25"),
    ):
        with pytest.raises(InputError, match=rf"{name}: .*{words}"):
            networks.build_network(network, size=96, seed=1, weights=tmp_path / name)
    with pytest.raises(InputError, match="of MobileNetV2 without classifier: it holds 218,544"):
        networks.check_weight_file(mine, find_network("MobileNetV2"))


@pytest.mark.parametrize("builder", sorted(networks.WIDTHS))
def test_the_number_of_values_is_that_of_the_network(builder: str) -> None:
    for width in (min(networks.WIDTHS[builder]), 1.0):
        network = find_network(builder if width == 1 else f"{builder}-{width}")
        assert networks.build_network(network, size=96, seed=1).count_params() == network.values


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_parameters_are_those_of_kerass_table_and_the_layer_is_there(name: str) -> None:
    network = find_network(name)
    whole = getattr(keras.applications, network.builder)(weights=None)
    assert whole.count_params() == published_networks().loc[name, "parameters"]
    bare = networks.build_network(network, size=network.input_size, seed=1)
    assert bare.count_params() == network.values
    assert networks.feature_model(bare, network).count_params() == network.values
