"""The JSON Schema of `run.yaml`, with which editors complete and check it."""

from __future__ import annotations

from typing import Any

from maskwright.config.schema import RunConfig
from maskwright.modeling import augment, losses, models, optim
from maskwright.training.tracking import trackers


def json_schema() -> dict[str, Any]:
    """JSON Schema of `run.yaml` for editors, with the names of all tables."""
    schema = RunConfig.model_json_schema()
    definitions = schema["$defs"]
    for definition, table, section in (
        ("LossTerm", losses.LOSSES, "loss"),
        ("AugmentTerm", augment.AUGMENTATIONS, "augment"),
        ("TrackerTerm", trackers.TRACKERS, "trackers"),
    ):
        names = sorted([*table, augment.PASS_THROUGH] if section == "augment" else table)
        definitions[definition]["properties"]["name"]["enum"] = names
        item = {"anyOf": [{"enum": names}, {"$ref": f"#/$defs/{definition}"}]}
        listed = schema["properties"][section] | {"items": item}
        schema["properties"][section] = {"anyOf": [item, listed]}
    for section, definition, names in (
        ("model", "ModelConfig", sorted(models.MODELS)),
        ("optimizer", "OptimizerConfig", sorted(optim.OPTIMIZERS)),
        ("schedule", "ScheduleConfig", sorted(optim.SCHEDULES)),
    ):
        definitions[definition]["properties"]["name"]["enum"] = names
        schema["properties"][section] = {"anyOf": [{"enum": names}, {"$ref": f"#/$defs/{definition}"}]}
    definitions["TrainConfig"]["properties"]["best"]["anyOf"].append(definitions["BestConfig"]["properties"]["score"])
    definitions["DataConfig"]["properties"]["trust"]["anyOf"].append({"type": "string"})
    return schema | {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Maskwright run.yaml"}
