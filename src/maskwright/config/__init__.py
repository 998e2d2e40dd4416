"""The config of a run, `run.yaml`: what it may hold, and how it is read, with all problems at once."""

from maskwright.config.checking import check_document
from maskwright.config.data_section import TrustConfig
from maskwright.config.editor_schema import json_schema
from maskwright.config.loading import EXCLUSIVE, load_config, rebase, with_pipelines
from maskwright.config.schema import (
    LENGTHS,
    AugmentTerm,
    BestConfig,
    LossTerm,
    ModelConfig,
    ProgressiveConfig,
    RefitConfig,
    RunConfig,
    ThreadsConfig,
    TrackerTerm,
    seconds_argument,
    seconds_of,
)
from maskwright.config.synonyms import SYNONYMS

__all__ = [
    "EXCLUSIVE",
    "LENGTHS",
    "SYNONYMS",
    "AugmentTerm",
    "BestConfig",
    "LossTerm",
    "ModelConfig",
    "ProgressiveConfig",
    "RefitConfig",
    "RunConfig",
    "ThreadsConfig",
    "TrackerTerm",
    "TrustConfig",
    "check_document",
    "json_schema",
    "load_config",
    "rebase",
    "seconds_argument",
    "seconds_of",
    "with_pipelines",
]
