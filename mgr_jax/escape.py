"""Names of others are data: they are made harmless where they are shown.

`printable` is for terminals, `spreadsheet_cell` for CSV files, `markdown` for Markdown pages and
`latex` for tables of a paper; HTML has `html.escape`.
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
# A bracket or an asterisk after the end of a row would be its argument; braces break ligatures.
_LATEX = {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': r"\char34{}",
    "[": "{[}", "]": "{]}", "*": "{*}", "\0": "{}", "\xa0": "~", **{c: f"\\{c}" for c in "{}$&#%_"},
}  # fmt: skip
_LIGATURE = re.compile(r"(?<=([-'`,<>]))(?=\1)|(?<=[?!])(?=`)")
# What pdfLaTeX shows without packages beside ASCII and Latin letters up to U+017E.
_LATEX_LETTERS = frozenset("ßæøœłÆØŒŁ\u2013\u2014\u2018\u2019\u201c\u201d\u2026")
_OGONEK = "\u0328"
# XeLaTeX and LuaLaTeX show a letter as it is, if their font has it; pdfLaTeX its substitute.
LATEX_OTHERTEXT = (
    r"\ifdefined\othertext\else\protected\def\othertext#1#2{\ifdefined\Umathcode#1\else#2\fi}\fi"
)


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


def latex(text: str) -> str:
    r"""Return `text` as LaTeX that shows it, in text, tables and captions, with any engine.

    Letters that pdfLaTeX lacks become `\othertext{<letter>}{<substitute>}`, see `LATEX_OTHERTEXT`.
    """
    text = unicodedata.normalize("NFC", printable(text))
    return "".join(map(_latex_character, _LIGATURE.sub("\0", text)))


def _latex_character(character: str) -> str:
    if character in _LATEX:
        return _LATEX[character]
    base, *marks = unicodedata.normalize("NFD", character)
    is_accented = base.isascii() and character <= "\u017e" and _OGONEK not in marks
    if character.isascii() or character in _LATEX_LETTERS or is_accented:
        return character
    plain = "".join(
        c for c in unicodedata.normalize("NFKD", character) if not unicodedata.combining(c)
    )
    if not plain.isascii():
        plain = f"U+{ord(character):04X}"
    return rf"\othertext{{{character}}}{{{''.join(_LATEX.get(c, c) for c in plain)}}}"
