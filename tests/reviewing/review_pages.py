"""A review page for tests: a dataset with proposals, its server, and a client that has opened it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from fastapi.testclient import TestClient

from helpers import make_dataset, write
from maskwright.base.storage import atomic_write_json
from maskwright.core.masks import grey_png, mask_png
from maskwright.data.opening import load_dataset
from maskwright.reviewing.security import Access, Guard
from maskwright.reviewing.server import Server, build_app
from suspected import suspected

PORT = 8123
HOST = f"127.0.0.1:{PORT}"
ORIGIN = f"http://{HOST}"


def make_reviewed(folder: Path, images: int = 4, size: tuple[int, int] = (12, 16), classes: int = 3) -> Path:
    """A described dataset of which the first two samples have a proposal each: class 2 in the box (1, 2, 4, 3)."""
    data = make_dataset(folder, images=images, size=size, classes=classes, describe=True)
    dataset, out = load_dataset(data), data / ".maskwright" / "suspects-001"
    names = [sample.name for sample in dataset][:2]
    result = suspected(names, classes=dataset.classes, root=data, folder=out)
    result = replace(result, suspects=[replace(one, region=(1, 2, 4, 3), error_pixels=12) for one in result.suspects])
    atomic_write_json(out / "suspects.json", result.to_dict())
    for name in names:
        mask, changes = dataset.read_mask(dataset[name]).copy(), np.zeros(size, np.uint8)
        changes[2:5, 1:5] = 1
        mask[changes == 1] = 2
        for part, content in (("proposals", mask_png(mask, dataset.classes)), ("changes", grey_png(changes))):
            file = out / part / f"{name}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
    for sample in dataset:
        mask = dataset.read_mask(sample)
        levels = np.concatenate([255 * (mask == index) for index in range(classes)]).astype(np.uint8)
        write(out / "probabilities" / f"{sample.name}.png", levels)
    return data


def client_of(server: Server, *, opened: bool = True, host: str = "127.0.0.1") -> TestClient:
    """A client of the guarded routes, with the cookie when it is `opened`."""
    access = Access(host, PORT, None)
    client = TestClient(Guard(build_app(server), access), base_url=ORIGIN, headers={"origin": ORIGIN})
    if opened:
        assert client.get("/", params={"token": access.token}).status_code == 200
    client.access = access
    return client


def runs_of(mask: np.ndarray) -> list[int]:
    """A mask as the page sends it."""
    flat = mask.reshape(-1)
    ends = np.flatnonzero(np.append(flat[1:] != flat[:-1], True)) + 1
    return np.stack([flat[ends - 1].astype(int), np.diff(ends, prepend=0)], 1).reshape(-1).tolist()
