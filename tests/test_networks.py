"""The twelve CNNs: names, Keras's own facts about them, input scaling, features."""

import importlib
import inspect

import h5py
import numpy as np
import pandas as pd
import pytest

from solesearch import networks
from solesearch.errors import InputError
from solesearch.networks import NetworkEmbedder, NetworkSettings, find_network
from solesearch.published import published

NAMES = networks.published_networks().index.tolist()
MODULES = {"resnet50": "resnet", "resnet101": "resnet", "resnet152": "resnet"}


def settings(**changes: object) -> NetworkSettings:
    values = {
        "names": ["MobileNet-0.25"],
        "layers": {},
        "pooling": "average",
        "preprocess": "native",
        "input_size": 96,
        "seed": 1,
        "batch": 4,
    }
    return NetworkSettings(**{**values, **changes})


def photos(count: int, size: int = 96) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def test_they_are_the_networks_of_the_papers_table() -> None:
    printed = published()["model"].tolist()
    assert [name for name in printed if name in NAMES] == NAMES
    assert len(NAMES) == 12


@pytest.mark.parametrize("name", NAMES)
def test_file_and_hash_are_those_that_keras_uses(name: str) -> None:
    network = find_network(name)
    folder = importlib.import_module(f"keras.src.applications.{network.folder}")
    source = inspect.getsource(folder)
    assert network.md5 in source
    assert f"keras-applications/{network.folder}/" in source.replace('"\n    "', "")
    if network.folder not in ("mobilenet", "mobilenet_v2", "resnet"):  # these compose the name
        assert network.file in source.replace('"\n    "', "").replace('"\n                "', "")


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("MobileNet", "mobilenet_1_0_224_tf_no_top.h5"),
        ("MobileNet-0.25", "mobilenet_2_5_224_tf_no_top.h5"),
        ("MobileNetV2-1.4", "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.4_224_no_top.h5"),
        ("ResNet152", "resnet152_weights_tf_dim_ordering_tf_kernels_notop.h5"),
    ],
)
def test_file_names_with_width(name: str, file: str) -> None:
    assert find_network(name).file == file


@pytest.mark.parametrize("name", ["VGG18", "VGG16-0.5", "MobileNet-0.3", "MobileNet-1.0", "", "mobilenet"])
def test_unknown_networks_and_widths_are_named(name: str) -> None:
    with pytest.raises(InputError, match="network"):
        find_network(name)


@pytest.mark.parametrize(
    "wrong",
    [
        {"names": ["VGG18"]},
        {"names": ["VGG16", "VGG16"]},
        {"layers": {"VGG": "conv"}},
        {"pooling": "mean"},
        {"preprocess": "none"},
        {"input_size": 64},
        {"batch": 0},
    ],
)
def test_impossible_settings_are_named(wrong: dict) -> None:
    with pytest.raises(InputError):
        settings(**wrong)


def test_scalings_by_hand() -> None:
    red = np.array([[[[255, 0, 0]]]], dtype=np.uint8)
    scaled = {
        name: np.asarray(networks.scale(red, scaling=name))[0, 0, 0] for name in ("caffe", "tf", "torch")
    }
    np.testing.assert_allclose(scaled["caffe"], [-103.939, -116.779, 255 - 123.68], rtol=1e-5)
    np.testing.assert_allclose(scaled["tf"], [1, -1, -1])
    expected = [(1 - 0.485) / 0.229, -0.456 / 0.224, -0.406 / 0.225]
    np.testing.assert_allclose(scaled["torch"], expected, rtol=1e-5)


def test_features_are_the_pooled_last_convolution() -> None:
    embedder = NetworkEmbedder(find_network("MobileNet-0.25"), settings(), weights=None)
    features = embedder.embed(photos(5))
    assert features.shape == (5, 256) and features.dtype == np.float32
    np.testing.assert_allclose(features[:1], embedder.embed(photos(5)[:1]), rtol=1e-4, atol=1e-5)

    import keras

    whole = networks.build_network(find_network("MobileNet-0.25"), size=96, seed=1)
    plain = keras.Model(whole.input, whole.get_layer("conv_pw_13_relu").output)
    maps = plain(networks.scale(photos(5), scaling="tf"), training=False).numpy()
    np.testing.assert_allclose(features, maps.mean(axis=(1, 2)), rtol=1e-3, atol=1e-5)


def test_layer_and_pooling_can_be_chosen() -> None:
    chosen = settings(layers={"MobileNet-0.25": "conv_pw_6_relu"}, pooling="max")
    assert NetworkEmbedder(find_network("MobileNet-0.25"), chosen, weights=None).embed(photos(1)).shape == (
        1,
        128,
    )
    wrong = settings(layers={"MobileNet-0.25": "nowhere"})
    with pytest.raises(InputError, match=r"MobileNet-0.25 has no layer 'nowhere'"):
        NetworkEmbedder(find_network("MobileNet-0.25"), wrong, weights=None)


def test_shared_scaling_changes_what_a_caffe_network_sees() -> None:
    native, shared = (
        NetworkEmbedder(find_network("ResNet50"), settings(preprocess=how), weights=None).embed(photos(1))
        for how in ("native", "shared")
    )
    assert np.abs(native - shared).max() > 1e-3


def test_saved_weights_come_back_and_foreign_ones_are_refused(tmp_path) -> None:
    network = find_network("MobileNet-0.25")
    whole = networks.build_network(network, size=96, seed=9)
    whole.save_weights(tmp_path / "mine.weights.h5")
    loaded = NetworkEmbedder(network, settings(), weights=tmp_path / "mine.weights.h5").embed(photos(2))
    drawn = NetworkEmbedder(network, settings(seed=9), weights=None).embed(photos(2))
    np.testing.assert_array_equal(loaded, drawn)

    (tmp_path / "text.h5").write_text("no HDF5")
    with h5py.File(tmp_path / "empty.h5", "w"):
        pass
    half = (tmp_path / "mine.weights.h5").read_bytes()
    (tmp_path / "half.weights.h5").write_bytes(half[: len(half) // 2])
    for name in ("text.h5", "empty.h5", "half.weights.h5"):
        with pytest.raises(InputError, match=rf"{name}: not the weights of MobileNet-0.25"):
            NetworkEmbedder(network, settings(), weights=tmp_path / name)
    with pytest.raises(InputError, match="not the weights of MobileNetV2"):
        NetworkEmbedder(find_network("MobileNetV2"), settings(), weights=tmp_path / "mine.weights.h5")


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_parameters_are_those_of_kerass_table_and_the_layer_is_there(name: str) -> None:
    network = find_network(name)
    whole = networks.build_network(network, size=network.input_size, seed=1, classifier=True)
    assert whole.count_params() == networks.published_networks().loc[name, "parameters"]
    assert isinstance(networks.published_networks(), pd.DataFrame)
    networks.feature_model(whole, network)
