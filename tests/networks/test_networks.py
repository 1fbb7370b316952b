"""The twelve CNNs: names, Keras's own facts about them, input scaling, features."""

import importlib
import inspect
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

from solesearch.core.errors import InputError
from solesearch.core.published import published
from solesearch.networks import networks
from solesearch.networks.networks import NetworkEmbedder, NetworkSettings, Variant, find_network

NAMES = networks.published_networks().index.tolist()
MODULES = {"resnet50": "resnet", "resnet101": "resnet", "resnet152": "resnet"}


def settings(**changes: object) -> NetworkSettings:
    values = {
        "names": ["MobileNet-0.25"],
        "whole_catalogue": [],
        "photos": 0,
        "untrained_photos": 0,
        "weights_folder": "weights",
        "download": False,
        "layers": {},
        "pooling": "average",
        "preprocess": "native",
        "shared_scaling": "tf",
        "other_scalings": [],
        "input_size": 96,
        "untrained_input_size": 96,
        "seed": 1,
        "batch": 4,
    }
    return NetworkSettings(**{**values, **changes})


def embedder(name: str, chosen: NetworkSettings, **options) -> NetworkEmbedder:
    return NetworkEmbedder(Variant(name), chosen, **{"weights": None, **options})


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
        {"untrained_input_size": 74},
        {"batch": 0},
        {"names": []},
        {"whole_catalogue": ["VGG16"]},
        {"photos": 5},
        {"untrained_photos": -1},
        {"weights_folder": ""},
        {"download": "maybe"},
        {"shared_scaling": "rgb"},
        {"other_scalings": ["bgr"]},
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
    network = embedder("MobileNet-0.25", settings())
    features = network.embed(photos(5))
    assert features.shape == (5, 256) and features.dtype == np.float32
    np.testing.assert_allclose(features[:1], network.embed(photos(5)[:1]), rtol=1e-4, atol=1e-5)

    import keras

    whole = networks.build_network(find_network("MobileNet-0.25"), size=96, seed=1)
    plain = keras.Model(whole.input, whole.get_layer("conv_pw_13_relu").output)
    maps = plain(networks.scale(photos(5), scaling="tf"), training=False).numpy()
    np.testing.assert_allclose(features, maps.mean(axis=(1, 2)), rtol=1e-3, atol=1e-5)


def test_layer_and_pooling_can_be_chosen() -> None:
    chosen = settings(layers={"MobileNet-0.25": "conv_pw_6_relu"}, pooling="max")
    assert embedder("MobileNet-0.25", chosen).embed(photos(1)).shape == (1, 128)
    wrong = settings(layers={"MobileNet-0.25": "nowhere"})
    with pytest.raises(InputError, match=r"MobileNet-0.25 has no layer 'nowhere'"):
        embedder("MobileNet-0.25", wrong)


def test_shared_scaling_changes_what_a_caffe_network_sees() -> None:
    native, shared = (
        embedder("ResNet50", settings(names=["ResNet50"], preprocess=how)).embed(photos(1))
        for how in ("native", "shared")
    )
    assert np.abs(native - shared).max() > 1e-3


def test_a_variant_is_another_scaling_of_the_same_network() -> None:
    names = [Variant("VGG16"), Variant("VGG16", head="classes"), Variant("VGG16", scaling="tf")]
    assert [one.name for one in names] == ["VGG16", "VGG16+classes", "VGG16@tf"]
    chosen = settings()
    assert [chosen.scaling_of(one) for one in names] == ["caffe", "caffe", "tf"]
    assert settings(preprocess="shared", shared_scaling="torch").scaling_of(names[0]) == "torch"
    plain = embedder("MobileNet-0.25", chosen).embed(photos(1))
    other = NetworkEmbedder(Variant("MobileNet-0.25", scaling="none"), chosen, weights=None).embed(photos(1))
    assert np.abs(plain - other).max() > 0.1 * np.abs(plain).max()


def test_input_size_depends_on_the_weights() -> None:
    chosen, network = settings(input_size=0, untrained_input_size=75), find_network("InceptionV3")
    assert chosen.size_of(network, trained=True) == 299
    assert chosen.size_of(network, trained=False) == 75
    assert chosen.at_published_size().size_of(network, trained=False) == 299


def test_saved_weights_come_back_and_foreign_ones_are_refused(tmp_path) -> None:
    whole = networks.build_network(find_network("MobileNet-0.25"), size=96, seed=9)
    mine = tmp_path / "mine.weights.h5"
    whole.save_weights(mine)
    loaded = embedder("MobileNet-0.25", settings(), weights=mine).embed(photos(2))
    drawn = embedder("MobileNet-0.25", settings(seed=9)).embed(photos(2))
    np.testing.assert_array_equal(loaded, drawn)
    renamed = shutil.copy(mine, tmp_path / "MobileNet-0.25.h5")  # Keras 3 inside, the ending of Keras 2
    loaded = embedder("MobileNet-0.25", settings(), weights=Path(renamed)).embed(photos(2))
    np.testing.assert_array_equal(loaded, drawn)

    (tmp_path / "text.h5").write_text("no HDF5")
    with h5py.File(tmp_path / "empty.h5", "w"):
        pass
    (tmp_path / "half.weights.h5").write_bytes(mine.read_bytes()[: mine.stat().st_size // 2])
    for name, words in (
        ("text.h5", "not a whole HDF5 file"),
        ("half.weights.h5", "not a whole HDF5 file"),
        ("empty.h5", "it holds 0 values, wanted are 218,544"),
    ):
        with pytest.raises(InputError, match=rf"{name}: .*{words}"):
            networks.check_weight_file(tmp_path / name, find_network("MobileNet-0.25"))
    with pytest.raises(
        InputError, match="not the weights of MobileNetV2 without classifier: it holds 218,544"
    ):
        embedder("MobileNetV2", settings(names=["MobileNetV2"]), weights=mine)


def test_a_file_of_the_right_count_and_wrong_shapes_is_refused(tmp_path) -> None:
    with h5py.File(tmp_path / "flat.h5", "w") as file:
        file["values"] = np.zeros(218544, np.float32)
    with pytest.raises(InputError, match=r"flat\.h5: not the weights of MobileNet-0\.25"):
        embedder("MobileNet-0.25", settings(), weights=tmp_path / "flat.h5")


@pytest.mark.parametrize("builder", sorted(networks.ALPHAS))
def test_the_number_of_values_is_that_of_the_network(builder: str) -> None:
    for alpha in (min(networks.ALPHAS[builder]), 0.75, 1.0):
        name = builder if alpha == 1 else f"{builder}-{alpha}"
        built = networks.build_network(find_network(name), size=96, seed=1)
        assert built.count_params() == find_network(name).values, name


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_parameters_are_those_of_kerass_table_and_the_layer_is_there(name: str) -> None:
    network = find_network(name)
    whole = networks.build_network(network, size=network.input_size, seed=1, classifier=True)
    assert whole.count_params() == networks.published_networks().loc[name, "parameters"]
    bare = networks.build_network(network, size=network.input_size, seed=1)
    assert bare.count_params() == network.values
    assert networks.feature_model(bare, network).count_params() == network.values
