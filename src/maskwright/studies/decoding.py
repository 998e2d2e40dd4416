"""The images that the runs of a study or a search share, decoded once for all of them."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from maskwright.base.progress import say
from maskwright.base.storage import STAGING_PREFIX
from maskwright.config import RunConfig
from maskwright.core.dataset import Dataset
from maskwright.errors import DataError
from maskwright.studies.folder import RunsFolder


def decode(
    folder: RunsFolder, configs: Sequence[RunConfig], datasets: Mapping[str, Dataset], versions: Mapping[str, str]
) -> None:
    """Decodes once what several runs will read. Files that cannot be read are left to these runs to report."""
    from maskwright.training.image_cache import decoded_folder, write_decoded
    from maskwright.training.prepare import geometry_of

    for half_made in folder.decoded.glob(f"{STAGING_PREFIX}*"):
        shutil.rmtree(half_made, ignore_errors=True)
    groups: dict[Path, list[RunConfig]] = {}
    for config in configs:
        place = decoded_folder(folder.decoded, versions[config.data.root], geometry_of(config))
        groups.setdefault(place, []).append(config)
    for place, group in groups.items():
        config = group[0]
        dataset = datasets[config.data.root]
        samples = [
            sample for split in ("train", "val", "") for sample in dataset.splits.get(split, []) if sample.labelled
        ]
        if len(group) == 1 or place.exists():
            continue
        try:
            write_decoded(place, dataset, samples, geometry_of(config))
        except DataError as error:
            say(f"{error}")
