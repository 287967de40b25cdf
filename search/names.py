"""Names: what a user calls a design or a study by, and what may have been meant by another word."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path

from mnist_arch.design import MAX_JSON_CHARACTERS, Design, DesignError
from mnist_arch.errors import UserError
from mnist_arch.references import REFERENCE_DESIGNS

LONGEST_NAME = 100


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`; did you mean X?` with the known word that is nearest, or nothing where none is near."""
    found = difflib.get_close_matches(word, list(known), 1, 0.6)
    return f"; did you mean {found[0]}?" if found else ""


def require_name(option: str, text: str) -> str:
    """Return a text that is safe as a folder's name; raises `UserError` for any other."""
    bad = not text or text in (".", "..") or any(c in text for c in "/\\") or not text.isprintable()
    if bad or len(text) > LONGEST_NAME:
        raise UserError(
            f"{option}: {text[:LONGEST_NAME]!r} given, must be a plain folder name of at most "
            f"{LONGEST_NAME} characters"
        )
    return text


def read_design(text: str) -> Design:
    """The design of that name, or the one in that JSON file; raises `UserError`."""
    if text in REFERENCE_DESIGNS:
        return REFERENCE_DESIGNS[text]
    path = Path(text)
    try:
        with path.open(encoding="utf-8") as file:
            content = file.read(MAX_JSON_CHARACTERS + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a text file in UTF-8"
        raise UserError(
            f"design {text!r} is neither a name ({', '.join(REFERENCE_DESIGNS)}) "
            f"nor a readable JSON file: {reason}{did_you_mean(text, REFERENCE_DESIGNS)}"
        ) from None
    try:
        return Design.from_json(content)
    except DesignError as error:
        raise UserError(f"{text}: {error}") from None
