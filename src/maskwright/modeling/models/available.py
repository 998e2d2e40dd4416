"""The verb `weights`: which pretrained weights are on this machine, which could be, and how."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from maskwright.base.display import Result
from maskwright.base.extras import require_train
from maskwright.base.texts import table
from maskwright.errors import SetupError
from maskwright.modeling.models.packaged import PACKAGED, Packaged
from maskwright.modeling.models.weights import ENCODER, cached, encoder_info, hub_encoders


@dataclass(frozen=True)
class WeightsRow:
    """ImageNet weights of one encoder from one source, a package or the hub: how many numbers the encoder has
    (`parameters`, without the classifier), the bytes of the file (None where that is not known), licence and origin.
    `state` is `installed`, `damaged` or `not installed`; `command` brings what is not usable, else it is empty."""

    encoder: str
    parameters: int
    source: str
    licence: str
    origin: str
    size: int | None
    state: str
    command: str


@dataclass(frozen=True, repr=False)
class WeightsTable(Result):
    """The rows: packages in the order in which `plan` takes them, then the cache of the hub."""

    rows: list[WeightsRow]

    def to_dict(self) -> dict[str, Any]:
        """The JSON of `weights`."""
        return {"weights": [asdict(row) for row in self.rows]}

    def facts(self) -> dict[str, object]:
        """For the short forms."""
        here = [row.encoder for row in self.rows if row.state == "installed"]
        return {"installed": ", ".join(here) or "none", "rows": len(self.rows)}

    def human(self) -> str:
        """As text for a terminal."""
        rows = [
            (
                row.encoder,
                f"{row.parameters / 1e6:.1f} M",
                "" if row.size is None else f"{row.size / 1e6:.0f} MB",
                row.licence,
                row.source,
                f"{row.state}: {row.command}" if row.command else row.state,
            )
            for row in self.rows
        ]
        lines = table([("encoder", "parameters", "size", "licence", "source", "state"), *rows], left={0, 3, 4, 5})
        others = "Other encoders: `maskwright plan DIR --encoder NAME --download`, or a .safetensors file of your own"
        own = "An own run: its folder in `model.weights`, or `maskwright plan DIR --weights RUN`, for any model"
        return "\n".join([*lines, "", others, own])


def weights() -> WeightsTable:
    """Which ImageNet weights of encoders are on this machine, in packages and in the cache of the hub, and how to get
    others. Files are checked; nothing is fetched or written. SetupError without the extra `train`."""
    require_train("weights")
    return WeightsTable([*map(_package_row, PACKAGED), *_hub_rows()])


def _package_row(row: Packaged) -> WeightsRow:
    state, command = "not installed", row.command
    try:
        if path := row.path():
            row.check(path)
            state, command = "installed", ""
    except SetupError:
        state, command = "damaged", row.repair
    return WeightsRow(
        row.encoder,
        _parameters(row.encoder),
        f"package {row.package}",
        row.licence,
        row.origin,
        row.size,
        state,
        command,
    )


def _hub_rows() -> Iterator[WeightsRow]:
    for name in dict.fromkeys([ENCODER, *hub_encoders()]):
        info = encoder_info(name)
        found = cached(info)
        if found or name == ENCODER:
            yield WeightsRow(
                name,
                _parameters(name),
                f"hub {info.repository}",
                info.licence,
                "published by the encoder's library",
                found.path.stat().st_size if found else None,
                "installed" if found else "not installed",
                "" if found else f"maskwright plan DIR --encoder {name} --download",
            )


def _parameters(encoder: str) -> int:
    """Counted on a network without memory."""
    import torch
    from segmentation_models_pytorch.encoders import get_encoder

    with torch.device("meta"):
        return sum(value.numel() for value in get_encoder(encoder, weights=None).parameters())
