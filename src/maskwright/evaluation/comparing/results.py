"""What a comparison holds: all that its text, its JSON and a page about it need."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from maskwright.base.display import Result, data_frame
from maskwright.core.findings import Finding
from maskwright.errors import ConfigError
from maskwright.evaluation.comparing.grid import NetworkLossGrid
from maskwright.evaluation.comparing.inference import Verdict
from maskwright.evaluation.comparing.members import Member
from maskwright.evaluation.comparing.text import comparison_text
from maskwright.evaluation.curves.curve import Summary
from maskwright.evaluation.metrics import Interval

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True)
class Costs:
    """What an entry costs, the mean of its runs; None where it is not known. `macs` (multiply-accumulates) are of one
    image; `step_seconds` is the measured step of one batch of `batch_size`; `images_per_second` of the training steps
    as they were, `waited` the share of their time that went into waiting for batches; `train_seconds` of a training
    with its evaluations."""

    parameters: float | None = None
    macs: float | None = None
    step_seconds: float | None = None
    batch_size: float | None = None
    images_per_second: float | None = None
    waited: float | None = None
    train_seconds: float | None = None

    @classmethod
    def of(cls, members: Sequence[Member]) -> Costs:
        """Those of the runs of an entry."""
        rows: list[dict[str, Any]] = []
        for member in members:
            size = member.scored.size or member.info.get("size", {})
            speed, finished = member.number.speed, member.run.finished or {}
            rows.append(
                {
                    **{key: size.get(key) for key in ("parameters", "macs", "step_seconds", "batch_size")},
                    "images_per_second": speed and speed.images_per_second,
                    "waited": speed and speed.waited,
                    "train_seconds": finished.get("seconds"),
                }
            )
        columns = {key: [row[key] for row in rows if row[key] is not None] for key in rows[0]}
        return cls(**{key: sum(values) / len(values) for key, values in columns.items() if values})


@dataclass(frozen=True)
class LeaderboardEntry:
    """A recipe with the runs of its seeds. `score` is the mean over them with its 95 % interval, `seed_scores` those of
    each; `scores`, `class_iou` (K,) and `image_scores` (N,) are means over them too; of a class tree, `scores` has the
    mIoU of each level. `varied` are keys of the config, beside the seed, that differ between its runs because they
    were measured. `against_best` says what it is called beside the best one (which has None), `val_mIoU` is the best of
    the training logs."""

    name: str
    runs: list[Path]
    evaluations: list[Path]
    seeds: list[Any]
    score: Interval
    seed_scores: list[float]
    scores: dict[str, float]
    class_iou: list[float]
    image_scores: list[float]
    costs: Costs
    val_mIoU: float | None
    varied: list[str]
    model: str
    loss: str
    against_best: Verdict | None = None

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self) | {"score": self.score.to_dict()}


@dataclass(frozen=True)
class Pair:
    """Two entries by name, the better score first: `difference` with its 95 % interval, the p-value that it is nothing,
    alone and corrected for all pairs, the verdict on `first`, and on how many images it scores higher and lower."""

    first: str
    second: str
    difference: Interval
    p: float
    p_corrected: float
    verdict: Verdict
    images_higher: int
    images_lower: int

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self) | {"difference": self.difference.to_dict()}


@dataclass(frozen=True)
class ModelChoice:
    """Which entry to take: `best` by score, `proposed` (the same, or one that needs less compute and is not
    distinguishable from it), chosen on the split `on`, and the reason in a sentence."""

    best: str
    proposed: str
    on: str
    reason: str


@dataclass(frozen=True, repr=False)
class Comparison(Result):
    """Entries from the best score down, all `pairs` of them, and what is to be known about both. `seed_sd` is the
    standard deviation of a score between trainings of one recipe, pooled, beyond what the images explain; None where
    nothing was trained twice. `config` maps each key that differs to its values, in the order of the entries. `apart`
    are entries' names that were scored on other images and are not compared; `missing` are runs that are not evaluated,
    with the command to do so. `others` are trainings of other tools, by their own logs."""

    split: str
    score: str
    samples: list[str]
    classes: list[str]
    entries: list[LeaderboardEntry]
    pairs: list[Pair]
    seed_sd: float | None
    seed_freedom: int
    resamples: int
    config: dict[str, list[Any]]
    matrix: NetworkLossGrid | None
    choice: ModelChoice | None
    notes: list[str]
    findings: list[Finding]
    apart: list[str]
    missing: dict[str, str]
    others: list[Summary]

    def pair(self, one: str, other: str) -> Pair:
        """The pair of two entries, whichever is first."""
        return next(pair for pair in self.pairs if {pair.first, pair.second} == {one, other})

    def facts(self) -> Mapping[str, object]:
        """For `repr` and notebooks."""
        choice = self.choice.proposed if self.choice else None
        best = self.entries[0]
        return {
            "split": self.split,
            "images": len(self.samples),
            "entries": len(self.entries),
            "best": best.name,
            self.score: best.score.value,
            "choice": choice,
            "findings": len(self.findings),
        }

    def human(self) -> str:
        """The leaderboard, classes, grid, differences of the configs, the choice, and what to keep in mind."""
        return comparison_text(self)

    def to_pandas(self, table: Literal["entries", "pairs"] = "entries") -> pandas.DataFrame:
        """The leaderboard as a table, a row for each entry from the best score down: `rank`, `name`, `model`, `loss`,
        the score by its name with `low` and `high` (95 % interval), `against_best`, `p_against_best` (corrected), the
        number of `seeds`, all scores, `IoU.CLASS` for each class, and the costs. With `pairs`, the pairs of entries:
        the better one `first`, `difference` with `low` and `high`, `p`, `p_corrected`, `verdict`, and on how many
        images `first` scores higher and lower.

        SetupError without pandas, ConfigError for another `table`."""
        if table == "entries":
            return data_frame(map(self._row, range(len(self.entries))))
        if table != "pairs":
            raise ConfigError(f"table = {table!r}: expected 'entries' or 'pairs'")
        return data_frame(
            {
                "first": pair.first,
                "second": pair.second,
                "difference": pair.difference.value,
                "low": pair.difference.low,
                "high": pair.difference.high,
                "p": pair.p,
                "p_corrected": pair.p_corrected,
                "verdict": pair.verdict,
                "images_higher": pair.images_higher,
                "images_lower": pair.images_lower,
            }
            for pair in self.pairs
        )

    def _row(self, place: int) -> dict[str, object]:
        entry = self.entries[place]
        best = self.entries[0].name
        return {
            "rank": place + 1,
            "name": entry.name,
            "model": entry.model,
            "loss": entry.loss,
            self.score: entry.score.value,
            "low": entry.score.low,
            "high": entry.score.high,
            "against_best": entry.against_best or "best",
            "p_against_best": self.pair(best, entry.name).p_corrected if place else None,
            "seeds": len(entry.runs),
            **{name: value for name, value in entry.scores.items() if name != self.score},
            **{f"IoU.{name}": value for name, value in zip(self.classes, entry.class_iou, strict=True)},
            **asdict(entry.costs),
            "val_mIoU": entry.val_mIoU,
        }

    def to_dict(self) -> dict[str, Any]:
        """The JSON of `compare`."""
        return {
            "split": self.split,
            "images": len(self.samples),
            "score": self.score,
            "method": {
                "intervals": "95 % bootstrap over images, widened for their number, and seeds",
                "test": "permutation of the two models image by image, with the seeds' variance",
                "correction": "Holm over all pairs",
                "resamples": self.resamples,
                "seed_sd": self.seed_sd,
                "seed_freedom": self.seed_freedom,
            },
            "entries": [{"rank": rank, **entry.to_dict()} for rank, entry in enumerate(self.entries, 1)],
            "pairs": [pair.to_dict() for pair in self.pairs],
            "choice": asdict(self.choice) if self.choice else None,
            "matrix": asdict(self.matrix) if self.matrix else None,
            "config": self.config,
            "notes": self.notes,
            "findings": [finding.to_dict() for finding in self.findings],
            "apart": self.apart,
            "missing": self.missing,
            "others": [one.to_dict() for one in self.others],
            "classes": self.classes,
            "samples": self.samples,
        }
