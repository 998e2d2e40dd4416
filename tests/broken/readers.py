"""Formats that are only read: tables of run lengths and others, broken."""

from __future__ import annotations

from pathlib import Path

from broken.table import Break, Row, link_out, put, several

# -- Kaggle's tables ------------------------------------------------------------------------------------------------------

TABLE_FILE = "masks.csv"


def row(text: str) -> Break:
    """One row more."""

    def breaks(folder: Path) -> None:
        with (folder / TABLE_FILE).open("a") as stream:
            stream.write(text + "\n")

    return breaks


KAGGLE_ROWS = [
    *several(
        "annotation",
        "kaggle_rle",
        "refused",
        "no CSV file with a column of images and one of run lengths",
        {
            "empty table": put(TABLE_FILE, ""),
            "only a head": put(TABLE_FILE, "ImageId,EncodedPixels\n"),
            "no run lengths": put(TABLE_FILE, "ImageId,EncodedPixels\n000.png,a\n001.png,b\n"),
            "zeros": put(TABLE_FILE, b"\0" * 100),
        },
    ),
    *several(
        "annotation",
        "kaggle_rle",
        "refused",
        "cannot be read as a UTF-8 table",
        {
            "binary table": put(TABLE_FILE, b"\x89PNG\r\n\x1a\n\xff"),
            "quote that is not closed": row('000.png,1,"1 2'),
            "text behind a quote": row('000.png,1,"1 2"x'),
        },
    ),
    *(
        Row("annotation", "kaggle_rle", kind, link_out(name), "refused", "symbolic link")
        for kind, name in [
            ("table that is a link out of the folder", TABLE_FILE),
            ("image that is a link out of the folder", "train/000.png"),
        ]
    ),
    *(
        Row("annotation", "kaggle_rle", f"run lengths {kind}", row(f"000.png,1,{cell}"), "warning", says)
        for kind, cell, says in [
            (kind, cell, "1 row holds no run lengths")
            for kind, cell in [
                ("of an odd count", "1 2 3"),
                ("that are letters", "a b"),
                ("that are negative", "-5 2"),
                ("that begin at 0", "0 5"),
                ("of length 0", "5 0"),
                ("that lie on each other", "1 5 3 9"),
                ("that are not ascending", "90 5 3 9"),
                ("of 400 digits", "9" * 400 + " 1"),
                ("of more pixels than any image", "4000000000 1"),
                ("in other digits", "١ ٢"),
            ]
        ]
    ),
    Row(
        "annotation",
        "kaggle_rle",
        "run lengths that reach behind the image",
        row("000.png,1,3070 9"),
        "error",
        "run lengths reach pixel 3078, but the image of 64x48 has 3072",
    ),
    *(
        Row("annotation", "kaggle_rle", kind, row(text), "warning", says)
        for kind, text, says in [
            ("image that is not there", "x.png,1,1 2", "1 image of a table is not in the folder"),
            ("image above the folder", "../../etc/passwd,1,1 2", "1 image of a table is not in the folder"),
            ("image of an absolute path", "/etc/passwd,1,1 2", "1 image of a table is not in the folder"),
            ("image with an escape sequence", "\x1b[31m.png,1,1 2", "1 image of a table is not in the folder"),
            ("row without an image", ",1,1 2", "1 row has no image"),
            ("row without a class", "000.png,,1 2", "1 row has no image, no class"),
            ("row of too few cells", "000.png", "1 row has no image"),
            ("row of too many cells", "000.png,1,1 2,3", "1 row has no image"),
        ]
    ),
    Row(
        "annotation",
        "kaggle_rle",
        "class that is not in dataset.yaml",
        row("000.png,unicorn,1 2"),
        "warning",
        "'unicorn'",
    ),
]
