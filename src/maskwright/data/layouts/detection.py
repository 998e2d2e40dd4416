"""Detects how a folder of images and masks is laid out and what its mask values mean, with the reasons."""

from __future__ import annotations

import itertools
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from maskwright.base.texts import plural
from maskwright.core.classes import IGNORE_ID
from maskwright.core.description import ClassSpec, DatasetFile, ImagesSpec, MasksSpec
from maskwright.core.mask_files import array_names
from maskwright.core.palette import colour_of, to_hex
from maskwright.core.pattern_listing import Sorted, pair_files, sort_files
from maskwright.core.patterns import Pattern, literal, nfc
from maskwright.core.sample import read_header
from maskwright.data.layouts.csv_tables import by_any_table, by_table
from maskwright.data.layouts.encodings import meaning_of
from maskwright.data.layouts.files import MASK_WORDS, Tree, kinds, links_of, look
from maskwright.data.layouts.found import NOTHING_SAID, TABLE, Answers, Detection
from maskwright.data.layouts.fragments import fragments
from maskwright.data.layouts.lists import lists_of
from maskwright.data.layouts.pairing import Pairing, plain_patterns
from maskwright.data.layouts.relations import MaskSet, SetFacts, class_channels
from maskwright.data.layouts.roles import chosen_files, images_and_masks, is_called_mask
from maskwright.data.layouts.sets import choose, mask_sets, several
from maskwright.data.layouts.tables import class_tables
from maskwright.data.layouts.usual import folders_of, other_files, same_pairs, two_folders
from maskwright.data.layouts.values import Meaning
from maskwright.data.layouts.words import tokens
from maskwright.errors import ConfigError, DataError, argument

_ROTATED = 1000  # images whose orientation is looked at


def detect(
    root: Path, images: str | None = None, masks: str | None = None, answers: Answers = NOTHING_SAID
) -> Detection:
    """Detects layout, splits, mask encoding and classes of the folder `root`.

    `images` and `masks` name folders or words of paths, where more than one set of files would do; `answers` says what
    values mean. Raises DataError when no images are found, ConfigError when a choice has to be
    made by the user.
    """
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; give the folder that holds the images and masks")
    for role, wanted in (("images", images), ("masks", masks)):
        if wanted is not None and not any(True for _ in root.iterdir()):
            raise ConfigError(f"{argument(role)} {wanted}: {root} is empty")
    tree = look(root)
    if (root / TABLE).is_file() and (found := by_table(tree, TABLE, {}, images, masks, answers)):
        return found
    return _Detector(tree, images, masks, answers).run()


def pairs_of(root: Path) -> list[tuple[str, str, str]]:
    """A row (image, mask, split) for each image in `root`, as paths inside it; empty where nothing is known."""
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; give the folder that holds the images and masks")
    detector = _Detector(look(root), None, None, NOTHING_SAID)
    if not detector.images:
        detector._refuse()
    rules = Pairing(detector.tree, detector.images, detector.masks).rules()
    masks = {image: found[0] for rule in reversed(rules) for image, found in rule.by_image().items()}
    splits = {file.path: next((token.split for token in file.tokens if token.split), None) for file in detector.images}
    return [(file.path, masks.get(file.path, ""), splits[file.path] or "") for file in detector.images]


class _Detector:
    def __init__(self, tree: Tree, images: str | None, masks: str | None, answers: Answers) -> None:
        self.tree, self.root = tree, tree.root
        self.wanted = {"images": images, "masks": masks}
        self.reasons: dict[str, str] = {}
        self.left_out: list[str] = []
        self.images, self.masks = images_and_masks(tree, self.wanted)
        self.answers = answers if answers.variable else replace(answers, variable=self._variable())

    def run(self) -> Detection:
        if not self.images and not self.masks:
            self._refuse()
        pairing = Pairing(self.tree, self.images, self.masks)
        sets = mask_sets(pairing.rules(), pairing.splits) if self.images else []
        if not sets:
            return self._without_masks()
        choice, facts = choose(self.root, sets, self.answers.variable)
        for name, why in choice.dropped.items():
            self.left_out.append(f"{name}: {why}")
        if len(choice.sets) > 1:
            raise several(self.root, choice.sets, facts)
        found = self._described(choice.sets[0], facts[choice.sets[0].name], choice.dropped, pairing)
        if found.pairs < min(len(self.images), len(self.masks)) and not any(self.wanted.values()):
            # A table that pairs more files says what belongs together; names may be alike by chance.
            table = by_any_table(self.tree, self.answers)
            if table is not None and table.pairs > found.pairs:
                return table
        return found

    def _variable(self) -> str | None:
        """The array of `.mat` masks: the only one, or the only one called after masks."""
        file = next((file for file in self.masks if file.ending.lower() == ".mat"), None)
        if file is None:
            return None
        names = array_names(self.root / file.path)
        called = [n for n in names if {t.value for t in tokens(n.rpartition(".")[2], self.tree.words)} & MASK_WORDS]
        for found in (names, called):
            if len(found) == 1:
                return found[0] if len(names) > 1 else None
        raise ConfigError(
            f"{file.path}: holds the arrays {', '.join(names) or 'none'}; name the one with the masks with "
            f"{argument('variable')}"
        )

    # --- the file ---

    def _described(self, chosen: MaskSet, facts: SetFacts, dropped: Iterable[str], pairing: Pairing) -> Detection:
        rules = [plain_patterns(rule, self.images, pairing.splits) for rule in chosen.rules]
        image_patterns = list(dict.fromkeys(image for image, _ in rules))
        mask_patterns = list(dict.fromkeys(mask for _, mask in rules))
        others = [text for name in dropped for text in name.split(", ")]
        splits = pairing.splits if any("{split}" in text for text in image_patterns) else {}
        left_out = self._left_out(image_patterns, mask_patterns, others, splits)
        splits = {split: words for split, words in splits.items() if self._occurs(split, image_patterns, splits)}
        sorted_files = self._sorted(image_patterns, mask_patterns, left_out, splits)
        pairs = pair_files(sorted_files)
        labelled = {image for image, masks in pairs.masks.items() if masks}
        if not labelled:  # the rule holds for some files by chance, and takes their images for masks
            raise self._unpaired()
        if twice := next((masks for masks in pairs.masks.values() if len(masks) > 1 and not chosen.slot), None):
            raise ConfigError(
                f"{self.root}: {twice[0][0]} and {twice[1][0]} are both masks of one image; move one of them away, or "
                f"name the masks with {argument('masks')}"
            )
        lists: dict[str, str] = {}
        if not splits:
            lists, why = lists_of(
                self.root, [(path, [*match.slots.values()]) for path, match in sorted_files.images.items()]
            )
            if why:
                self.reasons["lists"] = why
        meaning = self._meaning(chosen, facts)
        parts: dict[str, int] = {}
        if chosen.slot == "class":
            parts, meaning = self._parts(chosen, facts, meaning, rules)
        pages = self._has_pages(sorted_files)
        count = len(sorted_files.images)
        self.reasons["images"] = f"{plural(count, 'image')}, recognised by their content"
        self.reasons["masks"] = (
            f"{len(labelled)} of {count} images have a mask"
            + ({"class": ", one file a class", "object": ", one file an object"}.get(chosen.slot or "", ""))
            + (f"; {plural(len(pairs.orphans), 'mask')} of no image" if pairs.orphans else "")
        )
        if splits:
            self.reasons["splits"] = "from the paths"
        file = DatasetFile(
            layout="patterns",
            images=ImagesSpec(files=image_patterns, exif=self._exif(pairs.masks), pages=pages),
            masks=meaning.masks.model_copy(update={"files": mask_patterns, "parts": parts}),
            splits=splits,
            lists=lists,
            left_out=left_out,
            classes=meaning.classes,
            ignore=meaning.ignore,
            links=links_of(self.root, self.reasons),
        )
        self.reasons |= meaning.reasons
        self.reasons["layout"] = f"images and masks paired by their names ({plural(len(rules), 'rule')})"
        if chosen.slot != "class":
            masks = [found[0][0] for found in pairs.masks.values() if found]
            meaning.unsure += fragments(self.root, masks, file)
        file = self._usual(file, pairs.masks)
        self._say_strange(sorted_files.strange)
        return Detection(
            file,
            self.reasons,
            count,
            len(labelled),
            tuple(self.left_out),
            tuple(meaning.unsure),
            meaning.exact,
            {} if chosen.slot else meaning.shares,  # of single files, not of masks
        )

    def _left_out(
        self, images: Sequence[str], masks: Sequence[str], others: Sequence[str], splits: dict[str, str]
    ) -> list[str]:
        """Patterns of what would be taken for an image and is none."""
        of_images = [Pattern(text, splits) for text in images]
        of_masks = [Pattern(text, splits) for text in masks]
        dropped = [Pattern(text, splits) for text in others]
        is_image = {file.path for file in self.images}
        found: dict[str, None] = {}
        for file in self.tree.files:
            form = nfc(file.path)
            if (
                file.path in is_image
                or not any(p.match(form) for p in of_images)
                or any(p.match(form) for p in of_masks)
            ):
                continue
            pattern = next((p.text for p in dropped if p.match(form)), None)
            found[pattern or literal(form)] = None
        found = dict.fromkeys(others) | found
        # A pattern of masks that were dropped holds for files that come later; it must not hold for images.
        return [text for text in found if not any(Pattern(text, splits).match(nfc(path)) for path in is_image)][:200]

    def _sorted(
        self, images: Sequence[str], masks: Sequence[str], left_out: Sequence[str], splits: dict[str, str]
    ) -> Sorted:
        groups = [[Pattern(text, splits) for text in texts] for texts in (images, masks, left_out)]
        return sort_files((file.path for file in self.tree.files), *groups)

    def _occurs(self, split: str, patterns: Sequence[str], splits: dict[str, str]) -> bool:
        compiled = [Pattern(text, splits) for text in patterns]
        return any(
            (match := pattern.match(nfc(file.path))) and match.split == split
            for file in self.images
            for pattern in compiled
        )

    def _has_pages(self, found: Sorted) -> bool:
        pages = {file.path: file.pages for file in self.tree.files}
        return any(pages[path] > 1 for path in found.images) and any(pages[path] > 1 for path in found.masks)

    def _exif(self, pairs: dict[str, list[tuple[str, Pattern, Any]]]) -> Any:
        """Whether masks were drawn on the upright image, decided by the sizes of rotated images and their masks."""
        votes: Counter[str] = Counter()
        sizes = {file.path: file.size for file in self.tree.files}
        step = max(1, len(pairs) // _ROTATED)
        for image, masks in itertools.islice(pairs.items(), 0, None, step):
            if not masks or PurePosixPath(image).suffix.lower() not in (".jpg", ".jpeg", ".png", ".webp", ".jfif"):
                continue
            try:
                header = read_header(self.root / image, 0)
            except DataError:
                continue  # the audit names it; detection goes on
            size = sizes.get(masks[0][0])
            if header.orientation >= 5 and size is not None and header.size[0] != header.size[1]:
                votes["ignore" if size == header.size else "apply"] += 1
        decided = votes.most_common(1)[0][0] if votes else "apply"
        if votes:
            self.reasons["exif"] = f"the masks of {votes[decided]} of {votes.total()} rotated images fit this"
        return decided

    def _usual(self, file: DatasetFile, pairs: dict[str, list[tuple[str, Pattern, Any]]]) -> DatasetFile:
        """The layout as two folders with the same names, where that describes the same pairs."""
        found = two_folders(file)
        if found is None:
            return file
        folder, masks, splits = found
        usual = file.model_copy(
            update={
                "layout": "split_folders" if splits else "flat",
                "images": file.images.model_copy(update={"folder": folder, "files": []}),
                "masks": file.masks.model_copy(update={"folder": masks, "files": []}),
                "splits": splits,
            }
        )
        if not same_pairs(self.root, usual, pairs):
            return file
        self.reasons["layout"] = (
            f"{folder}/ holds a folder for each split: {', '.join(splits.values())}"
            if splits
            else f"images directly in {'this folder' if folder == '.' else folder + '/'}"
        )
        self.reasons.pop("splits", None)
        return usual

    # --- masks ---

    def _meaning(self, chosen: MaskSet, facts: SetFacts) -> Meaning:
        groups: dict[tuple[Any, ...], list[str]] = defaultdict(list)
        endings = {file.path: (file.folder, file.ending.lower(), file.bands) for file in self.tree.files}
        for masks in chosen.pairs.values():
            for mask in masks:
                groups[endings[mask]].append(mask)
        if facts.instances is None and self.answers.encoding is None:
            raise ConfigError(
                f"{self.root}: the values in {chosen.name} may be classes or numbers of objects; choose with "
                f"{argument('encoding')} index or {argument('encoding')} objects"
            )
        return meaning_of(
            self.root,
            list(groups.values()),
            class_tables(self.root),
            instances=bool(facts.instances),
            channels=class_channels(self.root, facts) if not facts.instances else "rgb",
            answers=self.answers,
        )

    def _parts(
        self, chosen: MaskSet, facts: SetFacts, meaning: Meaning, rules: Sequence[tuple[str, str]]
    ) -> tuple[dict[str, int], Meaning]:
        """Classes by the words that tell their files."""
        full = all((sum((v != 0).astype(int) for v in arrays) > 0).all() for arrays in facts.values.values())
        names = [text.strip(" _-.") or text for text in chosen.texts]
        first = 0 if full else 1
        parts = {text: i + first for i, text in enumerate(chosen.texts)}
        if chosen.patterns:
            plain = {rule.mask: mask for rule, (_, mask) in zip(chosen.rules, rules, strict=True)}
            parts = {plain[p]: i + first for i, patterns in enumerate(chosen.patterns) for p in patterns}
        specs = [] if full else [ClassSpec(id=0, name="background", colour=to_hex(colour_of(0)))]
        specs += [
            ClassSpec(
                id=i + first,
                name=name if re.search(r"[^\W\d]", name) else f"class_{name}",
                colour=to_hex(colour_of(i + first)),
            )
            for i, name in enumerate(names)
        ]
        reasons = meaning.reasons | {"classes": "one class per file, named after it"}
        masks = meaning.masks
        if masks.encoding not in ("levels", "index"):
            raise ConfigError(
                f"{self.root}: {chosen.name} are no masks of two values each; save them as black and white"
            )
        if masks.encoding == "levels":  # 1 stands for what a file marks, whatever class that is
            masks = masks.model_copy(update={"levels": {k: min(v, 1) for k, v in masks.levels.items()}})
        return parts, Meaning(masks, specs, IGNORE_ID, reasons, meaning.exact, {}, meaning.unsure)

    # --- nothing to pair, or too much ---

    def _refuse(self) -> None:
        for role, wanted in self.wanted.items():
            if wanted is not None and not chosen_files(self.tree, role, wanted):
                raise ConfigError(f"{argument(role)} {wanted}: no image file there")
        raise DataError(
            f"{self.root}: no images found among its files ({other_files(self.root)}); give the folder that holds them"
        )

    def _without_masks(self) -> Detection:
        """Images that no mask belongs to."""
        if not self.images and self.masks:
            raise DataError(
                f"{self.root}: {kinds(self.masks)} look like masks, and there are no images of them; give the folder "
                f"that holds both, or name the images with {argument('images')}"
            )
        if found := by_any_table(self.tree, self.answers):
            return found
        if self.masks and (self.wanted["masks"] or len(self.masks) >= 3):
            raise self._unpaired()
        called = [file for file in self.images if is_called_mask(file)]
        if self.wanted["masks"] is not None or (
            len(called) >= max(2, 0.2 * len(self.images)) and len(called) < len(self.images)
        ):
            raise DataError(
                f"{self.root}: {kinds(called or self.images)} are called masks, but hold photographs, overlays, "
                f"or masks that were resized with interpolation; give the one of the masks with {argument('masks')}, "
                "or move these away"
            )
        files = self.images
        splits, folder = folders_of(files)
        self.reasons["layout"] = (
            f"{folder}/ holds a folder for each split: {', '.join(splits.values())}"
            if splits
            else f"images directly in {'this folder' if folder == '.' else folder + '/'}"
        )
        self.reasons["images"] = f"{kinds(files)}"
        self.reasons["masks"] = "no file that looks like a mask belongs to an image, so there are no masks yet"
        if others := [text for text in other_files(self.root).split(", ") if re.search(r"\.(json|xml|txt|csv)$", text)]:
            self.reasons["masks"] += f"; {', '.join(others)} may be annotations in another format"
        meaning = meaning_of(self.root, [], class_tables(self.root))
        self.reasons |= meaning.reasons
        file = DatasetFile(
            layout="split_folders" if splits else "flat",
            images=ImagesSpec(folder=folder),
            masks=MasksSpec(),
            splits=splits,
            classes=meaning.classes,
            ignore=meaning.ignore,
            links=links_of(self.root, self.reasons),
        )
        return Detection(file, self.reasons, len(files), 0, (), tuple(meaning.unsure))

    def _unpaired(self) -> ConfigError:
        first = ", ".join(PurePosixPath(file.path).as_posix() for file in self.images[:3])
        second = ", ".join(PurePosixPath(file.path).as_posix() for file in self.masks[:3])
        return ConfigError(
            f"{self.root}: {plural(len(self.images), 'image')} ({first}) and {plural(len(self.masks), 'mask')} "
            f"({second}) do not pair by their names; write {TABLE} with the columns image, mask and split "
            f"({argument('table')} makes one to fill in), or name folders with {argument('images')} and "
            f"{argument('masks')}"
        )

    def _say_strange(self, strange: Sequence[str]) -> None:
        if strange:
            by_path = {file.path: file for file in self.tree.files}
            self.left_out.append(f"{kinds(by_path[path] for path in strange)}: match no pattern")
