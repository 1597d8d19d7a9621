"""Names of others are data: they are made harmless where they are shown.

`printable` is for terminals, `spreadsheet_cell` for CSV files, `markdown` for Markdown pages; HTML
has `html.escape`.
"""

import re
import unicodedata

# Control characters, invisible marks (some reorder the text around them), halves of surrogate
# pairs, which stand for invalid bytes, and line breaks.
_UNPRINTABLE = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
# Joiners, which emoji and some scripts need.
JOINERS = "\u200c\u200d"
# A spreadsheet takes such a cell for a formula; the wide signs count in some languages. Apostrophes
# before the sign count too, so that `restore_cell` can take one away.
_FORMULA = re.compile(r"[\s']*[=+\-@\t\r\uff1d\uff0b\uff0d\uff20]")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?|[+-]?inf|[+-]?nan", re.IGNORECASE)
# Marks within words, as in `my_song`, are no emphasis, and brackets of intervals are no link.
_MARKUP = re.compile(r"[\\`*|~$]|\](?=[(\[:])|(?<![^\W_])_|_(?![^\W_])")
_ENTITY = re.compile(r"&(?=#?\w+;)")


def printable(text: str) -> str:
    r"""Return `text` as one line that cannot control a terminal: `\x1b` in place of an escape."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_escaped(c) if _is_unprintable(c) else c for c in text)


def _is_unprintable(character: str) -> bool:
    return unicodedata.category(character) in _UNPRINTABLE and character not in JOINERS


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()


def spreadsheet_cell(value: object) -> object:
    """Return `value`, with an apostrophe before a text that a spreadsheet takes for a formula."""
    if isinstance(value, str) and _FORMULA.match(value) and not _NUMBER.fullmatch(value):
        return f"'{value}"
    return value


def restore_cell(text: str) -> str:
    """Return the text that `spreadsheet_cell` was given."""
    return text[1:] if text.startswith("'") and _FORMULA.match(text) else text


def markdown(text: str) -> str:
    """Return `text` as Markdown that shows it, on one line and without markup or HTML."""
    text = _ENTITY.sub("&amp;", printable(text)).replace("<", "&lt;").replace(">", "&gt;")
    return _MARKUP.sub(r"\\\g<0>", text)
