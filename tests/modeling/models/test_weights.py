"""Pretrained weights: found, checked and loaded exactly, and never replaced silently by random ones."""

from __future__ import annotations

import os
from pathlib import Path

import huggingface_hub
import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from maskwright.errors import ConfigError, SetupError
from maskwright.modeling.models.build import ModelSpec, build_model
from maskwright.modeling.models.weights import Found, cached, download, encoder_info, load_encoder, resolve, widened

Tensors = dict[str, torch.Tensor]


def timm_weights(name: str, seed: int = 5) -> Tensors:
    """What a published file of this network holds: every tensor, the classifier's too."""
    torch.manual_seed(seed)
    model = timm.create_model(name)
    for value in model.state_dict().values():
        if value.is_floating_point():
            value.copy_(torch.rand_like(value) * 0.1 + 0.05)
    return {key: value.contiguous() for key, value in model.state_dict().items()}


def native_weights() -> Tensors:
    torch.manual_seed(6)
    encoder = build_model(ModelSpec("Unet", 2, "resnet18")).encoder
    tensors = {
        key: torch.rand_like(value) if value.is_floating_point() else value
        for key, value in encoder.state_dict().items()
    }  # type: ignore[union-attr,operator]
    return tensors | {"fc.weight": torch.zeros(1000, 512), "fc.bias": torch.zeros(1000)}


def store(folder: Path, tensors: Tensors) -> Path:
    path = folder / "weights.safetensors"
    save_file(tensors, path)
    return path


def given(encoder: str, path: Path) -> Found:
    found = resolve(encoder, str(path))
    assert found is not None
    return found


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of weights instead of the user's, and no network."""

    def refuse(*_: object, **__: object) -> None:
        raise ConnectionError("no network in tests")

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", refuse)
    return tmp_path / "cache"


def into_cache(cache: Path, repository: str, tensors: Tensors, revision: str | None) -> Path:
    """Puts a file where the client of the weights' library would."""
    base = cache / f"models--{repository.replace('/', '--')}"
    commit = revision or "0" * 40
    (base / "refs").mkdir(parents=True)
    (base / "refs" / "main").write_text(commit)
    path = base / "snapshots" / commit / "model.safetensors"
    path.parent.mkdir(parents=True)
    save_file(tensors, path)
    return path


# Containers are flattened in the first (`stages_0`), not in the others; the last is the library's own.
@pytest.mark.parametrize("encoder", ["tu-convnext_atto", "tu-resnet18", "tu-mobilenetv3_small_050", "resnet18"])
def test_every_tensor_of_the_encoder_comes_from_the_file(tmp_path: Path, encoder: str) -> None:
    tensors = native_weights() if encoder == "resnet18" else timm_weights(encoder.removeprefix("tu-"))
    torch.manual_seed(0)
    model = build_model(ModelSpec("Unet", 2, encoder), given(encoder, store(tmp_path, tensors)))
    by_name = {key.replace("_", "."): value for key, value in tensors.items()}
    state = model.encoder.state_dict()  # type: ignore[union-attr,operator]
    assert len(state) > 20
    for key, value in state.items():
        if not key.endswith("num_batches_tracked"):
            assert torch.equal(value, by_name[key.removeprefix("model.").replace("_", ".")]), key
    torch.manual_seed(0)
    plain = build_model(ModelSpec("Unet", 2, encoder))
    for key, value in model.state_dict().items():  # decoder and head as without weights
        if not key.startswith("encoder."):
            assert torch.equal(value, plain.state_dict()[key]), key


@pytest.mark.parametrize("name", ["resnet18", "convnext_atto"])
def test_the_encoder_computes_what_the_network_does(tmp_path: Path, name: str) -> None:
    torch.manual_seed(2)
    network = timm.create_model(name).eval()
    file = given(f"tu-{name}", store(tmp_path, network.state_dict()))
    model = build_model(ModelSpec("Unet", 2, f"tu-{name}"), file).eval().double()
    network, images = network.double(), torch.randn(1, 3, 64, 64).double()
    with torch.inference_mode():
        torch.testing.assert_close(model.encoder(images)[-1], network.forward_features(images))  # type: ignore[operator]


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ("of another network", "are missing, such as"),
        ("one missing", "1 are missing, such as layer4"),
        ("one shape", "layer4.1.conv2.weight has another shape"),
        ("empty", "are missing"),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_is_loaded(tmp_path: Path, change: str, what: str) -> None:
    tensors = timm_weights("resnet18")
    key = "layer4.1.conv2.weight"
    if change == "of another network":
        tensors = timm_weights("mobilenetv3_small_050")
    elif change == "one missing":
        del tensors[key]
    elif change == "one shape":
        tensors[key] = tensors[key][:, :-1].contiguous()
    else:
        tensors = {}
    path = store(tmp_path, tensors)
    model = build_model(ModelSpec("FPN", 2, "tu-resnet18"))
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(SetupError, match=what) as raised:
        load_encoder(model.encoder, given("tu-resnet18", path))
    assert raised.value.exit_code == 4
    assert str(raised.value).startswith(f"{path}: these are not weights of tu-resnet18")
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    with pytest.raises(SetupError):
        build_model(ModelSpec("FPN", 2, "tu-resnet18"), given("tu-resnet18", path))


class TestResolve:
    def test_none_and_a_file(self, tmp_path: Path) -> None:
        path = store(tmp_path, {"a": torch.zeros(1)})
        assert resolve("resnet18", "none") is None
        assert given("resnet18", path).path == path and "not stated" not in str(given("tu-resnet18", path))

    @pytest.mark.parametrize("name", ["w.pth", "w.pt", "w.bin", "w.ckpt", "imagenett", ""])
    def test_files_that_can_run_code_are_refused(self, tmp_path: Path, name: str) -> None:
        (tmp_path / (name or "x")).write_bytes(b"\x80\x04.")
        with pytest.raises(ConfigError, match=r"not imagenet, none, a \.safetensors file or the folder of a run"):
            resolve("resnet18", str(tmp_path / name))

    def test_a_file_that_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(SetupError, match=r"gone\.safetensors: no such file"):
            resolve("resnet18", str(tmp_path / "gone.safetensors"))

    @pytest.mark.parametrize("content", [b"", b"hello", b"\xff" * 100])
    def test_a_damaged_file(self, tmp_path: Path, content: bytes) -> None:
        path = tmp_path / "w.safetensors"
        path.write_bytes(content)
        with pytest.raises(SetupError, match="not a readable safetensors file") as raised:
            build_model(ModelSpec("Unet", 2, "resnet18"), given("resnet18", path))
        assert "\n" not in str(raised.value)

    @pytest.mark.parametrize("encoder", ["resnet18", "tu-resnet18", "tu-convnext_atto"])
    def test_imagenet_without_a_cache_never_means_random(self, cache: Path, encoder: str) -> None:
        with pytest.raises(SetupError, match=f"ImageNet weights of {encoder} are not on this machine") as raised:
            resolve(encoder, "imagenet")
        assert raised.value.exit_code == 4 and "weights: none" in str(raised.value)

    @pytest.mark.parametrize("encoder", ["resnet18", "tu-resnet18", "tu-convnext_atto"])
    def test_imagenet_from_the_cache(self, cache: Path, encoder: str) -> None:
        info = encoder_info(encoder)
        assert info.repository
        tensors = native_weights() if encoder == "resnet18" else timm_weights(encoder.removeprefix("tu-"))
        path = into_cache(cache, info.repository, tensors, info.revision)
        found = cached(info)
        assert found is not None and found == resolve(encoder, "imagenet")
        assert found.path == path and (found.info, found.kind) == (info, "hub cache") and info.repository in str(found)
        state = build_model(ModelSpec("FPN", 2, encoder), found).encoder.state_dict()  # type: ignore[union-attr,operator]
        first = next(key for key in state if key.endswith("weight"))
        assert torch.equal(state[first], next(value for key, value in tensors.items() if key.endswith("weight")))

    def test_another_revision_is_not_taken(self, cache: Path) -> None:
        info = encoder_info("resnet18")
        assert info.repository and info.revision
        into_cache(cache, info.repository, {"a": torch.zeros(1)}, "1" * 40)
        assert cached(info) is None

    def test_fetching_without_a_network(self, cache: Path) -> None:
        with pytest.raises(SetupError, match=r"could not be fetched \(ConnectionError\)"):
            download(encoder_info("tu-resnet18"))


def test_what_the_libraries_say() -> None:
    info = encoder_info("tu-mobilenetv2_100")
    assert (len(info.mean), len(info.std)) == (3, 3) and info.licence == "apache-2.0"
    assert encoder_info("resnet34").mean == (0.485, 0.456, 0.406)
    assert encoder_info("tu-resnet18.a1_in1k").repository == "timm/resnet18.a1_in1k"


def test_real_weights() -> None:
    data = os.environ.get("MASKWRIGHT_REAL_DATA")
    if not data:
        pytest.skip("MASKWRIGHT_REAL_DATA is not set: the real weights beside it were not read")
    path = Path(data).parent / "weights" / "mobilenetv2_100.safetensors"
    model = build_model(ModelSpec("Unet", 2, "tu-mobilenetv2_100"), given("tu-mobilenetv2_100", path))
    tensors = load_file(path)
    assert torch.equal(model.encoder.model.conv_stem.weight, tensors["conv_stem.weight"])  # type: ignore[union-attr]
    with pytest.raises(SetupError):
        build_model(ModelSpec("Unet", 2, "resnet18"), given("resnet18", path))


@pytest.mark.parametrize("channels", [1, 2, 4, 5, 7])
def test_a_first_layer_is_widened_as_timm_and_the_decoders_library_do(channels: int) -> None:
    """Their rules differ in nothing but the order of the same products and sums."""
    from segmentation_models_pytorch.encoders._utils import patch_first_conv
    from timm.models._manipulate import adapt_input_conv

    weight = torch.randn(8, 3, 3, 3)
    ours = widened(weight, channels)
    torch.testing.assert_close(ours, adapt_input_conv(channels, weight.clone()))
    layer = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3))
    layer[0].weight.data = weight.clone()
    patch_first_conv(layer, channels, pretrained=True)
    torch.testing.assert_close(ours, layer[0].weight.data)


@pytest.mark.parametrize("channels", [1, 4, 6])
@pytest.mark.parametrize("name", ["resnet18", "convnext_atto"])
def test_pretrained_weights_serve_other_channels_as_in_timm(tmp_path: Path, name: str, channels: int) -> None:
    torch.manual_seed(2)
    network = timm.create_model(name)
    file = given(f"tu-{name}", store(tmp_path, network.state_dict()))
    model = build_model(ModelSpec("Unet", 2, f"tu-{name}", in_channels=channels), file).eval().double()
    grey = torch.randn(1, 1, 64, 64).double()
    with torch.inference_mode():
        found = model.encoder(grey.expand(1, channels, -1, -1))[-1]  # type: ignore[operator]
        wanted = network.eval().double().forward_features(grey.expand(1, 3, -1, -1))
    if channels != 4:  # where red counts twice
        torch.testing.assert_close(found, wanted)


def test_weights_of_another_network_are_refused_for_other_channels_too(tmp_path: Path) -> None:
    path = store(tmp_path, timm_weights("resnet18"))
    with pytest.raises(SetupError, match="these are not weights of"):
        build_model(ModelSpec("Unet", 2, "tu-resnet26", in_channels=4), given("tu-resnet26", path))
