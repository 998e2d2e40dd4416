"""Which files are images and which masks: by what the user says, by their content, else by their names."""

from __future__ import annotations

from collections.abc import Mapping

from maskwright.core.patterns import nfc
from maskwright.data.layouts.files import IMAGE_WORDS, MASK_WORDS, File, Tree, is_array
from maskwright.errors import ConfigError, argument


def images_and_masks(tree: Tree, wanted: Mapping[str, str | None]) -> tuple[list[File], list[File]]:
    """The images and the masks of a tree; `wanted` is what the user has named as `images` and `masks`."""
    images, masks = [], []
    own = {role: chosen_files(tree, role, text) for role, text in wanted.items()}
    same = wanted["images"] == wanted["masks"]
    for file in tree.files:
        role = file.role
        if role == "unreadable":
            role = "mask" if file.words & MASK_WORDS else "image"
        if role == "unsure":
            role = "mask" if file.words & MASK_WORDS and not _stem_words(file) & IMAGE_WORDS else "image"
        in_images = own["images"] is None or file.path in own["images"]
        in_masks = own["masks"] is None or file.path in own["masks"]
        if own["masks"] is not None and in_masks and not same and not (own["images"] is not None and in_images):
            role = "mask"
        if own["images"] is not None and in_images and not same and not (own["masks"] is not None and in_masks):
            role = "image"
        if role == "image" and in_images and not is_array(file):
            images.append(file)
        elif role == "mask" and in_masks:
            masks.append(file)
    if not images:  # drawings, as even as masks: their names have to do
        images = [
            file for file in masks if file.words & IMAGE_WORDS and not file.words & MASK_WORDS and not is_array(file)
        ]
        called = {file.path for file in images}
        masks = [file for file in masks if file.path not in called]
    return images, masks


def is_called_mask(file: File) -> bool:
    """Whether the folders of a file, or its own name, speak of masks and not of images."""
    folders = {word.value for word in file.tokens[: len(file.tokens) - len(file.stem)] if word.is_word}
    stem = _stem_words(file)
    return bool((folders & MASK_WORDS and not folders & IMAGE_WORDS) or (stem & MASK_WORDS and not stem & IMAGE_WORDS))


def _stem_words(file: File) -> set[str]:
    return {token.value for token in file.stem if token.is_word}


def chosen_files(tree: Tree, role: str, wanted: str | None) -> set[str] | None:
    """The files that an option names: those in a folder, or whose path holds the words of it in their order."""
    if wanted is None:
        return None
    text = nfc(wanted).strip("/") or "."
    if (tree.root / text).is_dir() or text == ".":
        found = {
            file.path for file in tree.files if text == "." or nfc(file.path).startswith(text.removeprefix("./") + "/")
        }
    else:
        found = {file.path for file in tree.files if text.lower() in nfc(file.path).lower()}
        if not found:
            folders = ", ".join(sorted({file.path.split("/")[0] for file in tree.files if "/" in file.path})) or "none"
            raise ConfigError(
                f"{argument(role)} {wanted}: no such folder in {tree.root}, and no path holds it; it holds {folders}"
            )
    return found
