r"""Formulas as docstrings have them, in Unicode, written in LaTeX: alone, or within a sentence.

    ηm̂ / (√v̂ + ε)    becomes    \frac{\eta \hat{m}}{\sqrt{\hat{v}} + \epsilon}

What it does not know is an error, and no wrong formula. GitHub's Markdown comes before its
mathematics and takes a backslash before punctuation for its own, so there is none: only
backslashes before letters.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from itertools import accumulate

SYMBOLS = {
    "←": r"\leftarrow",
    "→": r"\to",
    "−": "-",
    "·": r"\cdot",
    "≥": r"\geq",
    "≤": r"\leq",
    "≈": r"\approx",
    "±": r"\pm",
    "∞": r"\infty",
    "∈": r"\in",
    "∇": r"\nabla",
    "⊙": r"\odot",
    "…": r"\dots",
    "ℓ": r"\ell",
    "Σ": r"\sum",
    "Δ": r"\Delta",
}
GREEK = dict(
    zip(
        "αβγδεζηθκλμνξπρστφχψω",
        "alpha beta gamma delta epsilon zeta eta theta kappa lambda mu nu xi pi rho sigma tau "
        "varphi chi psi omega".split(),
    )
)
RAISED = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ᵏⁿᵗᵀ", "0123456789+-kntT"))
LOWERED = dict(zip("₀₁₂₃₄₅₆₇₈₉₊₋ₖₙₜᵢⱼ", "0123456789+-kntij"))
ACCENTS = {"\u0302": r"\hat", "\u0303": r"\tilde", "\u0304": r"\bar"}
FUNCTIONS = ("log", "exp", "max", "min", "tanh", "cosh", "sinh")
OPERATORS = ("mean", "sign", "softmax", "clip", "sigmoid", "RMS")
BRACKETS = {"(": ")", "[": "]", "|": "|", "‖": "‖"}
WRITTEN = {"|": r"\vert", "‖": r"\Vert"}
# What ends the product that stands over a fraction's line.
BETWEEN = set("+-=,;<>") | {r"\leftarrow", r"\to", r"\cdot", r"\geq", r"\leq", r"\approx", r"\pm"}


class FormulaError(ValueError):
    """A formula that cannot be read; the message says where."""


@dataclass
class _Item:
    """A symbol, or a group in brackets that can lose them."""

    text: str
    inside: str | None = None

    @property
    def bare(self) -> str:
        return self.text if self.inside is None else self.inside


def latex(formula: str) -> str:
    """One formula in LaTeX, without dollars.

    Raises:
        FormulaError: a sign or a word in it is not known, or a bracket is not closed.
    """
    reader = _Reader(unicodedata.normalize("NFD", formula))
    result = reader.read("")
    if reader.rest:
        raise FormulaError(f"{reader.rest!r} is left over in the formula {formula!r}")
    return result


# Within a sentence: what a word of a formula is made of, what tells a formula from other words, and
# what joins two words of one.
_NAMES = "|".join([*FUNCTIONS, *OPERATORS])
_SIGNS = re.escape("".join([*SYMBOLS, *GREEK, *RAISED, *LOWERED, *ACCENTS, *"√‖|()[]+=<>/^_.,;:"]))
WORD = re.compile(
    rf"(?:[{_SIGNS}\d]|\b[A-Za-z]\b|(?<![A-Za-z])(?:{_NAMES}|[A-Za-z])(?![A-Za-z])|(?<=_)[a-z]+)+$"
)
LETTER = re.compile(r"\b[b-zB-HJ-Z]\b")  # no word of English
CERTAIN = set([*GREEK, *RAISED, *LOWERED, *ACCENTS, *"√‖ℓΣΔ∇←−"])
JOIN = re.compile(rf"([←=+−·/<>≤≥≈±]|.*Σ\S?|.*(?<![A-Za-z])(?:{'|'.join(FUNCTIONS)}))$")


def inline(text: str) -> str:
    """A paragraph with its formulas between dollars. What is not surely one stays as it is."""
    pieces = re.split(r"(`[^`]*`|\[[^\]]*\]\([^)]*\))", unicodedata.normalize("NFD", text))
    pieces[::2] = [_with_dollars(piece) for piece in pieces[::2]]
    return unicodedata.normalize("NFC", "".join(pieces))


def _with_dollars(text: str) -> str:
    words = re.split("( )", text)  # words and what is between them
    written = []
    i = 0
    while i < len(words):
        end = i
        if WORD.match(words[i]):
            while (
                end + 2 < len(words)
                and WORD.match(words[end + 2])
                and (JOIN.match(words[end]) or JOIN.match(words[end + 2]) or "Σ" in words[end + 2])
            ):
                end += 2
        written.append(_in_dollars("".join(words[i : end + 1])))
        i = end + 1
    return "".join(written)


def _in_dollars(words: str) -> str:
    """Words that may be a formula, without the brackets and points that are the sentence's."""
    before, formula, after = "", words, ""
    while formula:
        missing = formula.count("(") - formula.count(")")
        if formula[-1] in ".,;:" or (missing < 0 and formula[-1] == ")"):
            formula, after = formula[:-1], formula[-1] + after
        elif formula[0] == "(" and (missing > 0 or _is_enclosed(formula)):
            before, formula = before + "(", formula[1:]
        else:
            break
    certain = CERTAIN & set(formula) or LETTER.search(formula)
    if not certain or JOIN.match(formula):
        return words
    try:
        return f"{before}${latex(formula)}${after}"
    except FormulaError:
        return words


def _is_enclosed(formula: str) -> bool:
    """Whether the bracket that it begins with is closed at its very end."""
    depths = list(accumulate((sign == "(") - (sign == ")") for sign in formula))
    return 0 not in depths[:-1] and depths[-1] == 0


class _Reader:
    def __init__(self, formula: str) -> None:
        self.formula = formula
        self.rest = formula.strip()

    def _taken(self, pattern: str) -> str:
        match = re.match(pattern, self.rest)
        if match is None:
            return ""
        self.rest = self.rest[match.end() :]
        return match.group()

    def read(self, end: str) -> str:
        """Everything up to a closing bracket, or to the end."""
        items: list[_Item] = []
        while True:
            self._taken(r"\s+")
            if not self.rest or (end and self.rest.startswith(end)):
                return " ".join(item.text for item in items)
            if self._taken("/"):
                items = self._fraction(items)
            else:
                items.append(self._item())

    def _fraction(self, items: list[_Item]) -> list[_Item]:
        start = len(items)
        while start and items[start - 1].text not in BETWEEN:
            start -= 1
        over, self.rest = items[start:], self.rest.lstrip()
        if not over or not self.rest:
            raise FormulaError(f"a part of a fraction is missing in the formula {self.formula!r}")
        top = over[0].bare if len(over) == 1 else " ".join(item.text for item in over)
        return [*items[:start], _Item(rf"\frac{{{top}}}{{{self._item().bare}}}")]

    def _item(self) -> _Item:
        """A number, a letter with its marks, a function, a root, a sign or a bracketed group."""
        if number := self._taken(r"\d+(\.\d+)?"):
            return _Item(number + self._marks())
        if self._taken("√"):
            return _Item(rf"\sqrt{{{self._item().bare}}}")
        if word := self._taken(r"[A-Za-z]{2,}"):
            if word in FUNCTIONS:
                return _Item(rf"\{word}" + self._marks())
            if word in OPERATORS:
                return _Item(rf"\mathrm{{{word}}}" + self._marks())  # GitHub bars \operatorname
            raise FormulaError(
                f"{word!r} in the formula {self.formula!r} is no known function; put a space "
                f"between the letters of a product"
            )
        if letter := self._taken(r"[A-Za-zα-ω]"):
            written = rf"\{GREEK[letter]}" if letter in GREEK else letter
            if accent := self._taken("[" + "".join(ACCENTS) + "]"):
                written = f"{ACCENTS[accent]}{{{written}}}"
            return _Item(written + self._marks())
        sign = self._taken(".")
        if sign in BRACKETS:
            inside = self.read(BRACKETS[sign])
            if not self._taken(re.escape(BRACKETS[sign])):
                raise FormulaError(f"{sign!r} is not closed in the formula {self.formula!r}")
            left, right = (WRITTEN.get(s, s) for s in (sign, BRACKETS[sign]))
            group = rf"\left{left} {inside} \right{right}"
            if sign in "([" and r"\frac" not in inside and r"\sum" not in inside:
                group = f"{left}{inside}{right}"
            marks = self._marks()
            return _Item(group + marks, inside if sign in "([" and not marks else None)
        if sign in SYMBOLS:
            return _Item(SYMBOLS[sign] + self._marks())
        if sign in "+=,;<>!:":
            return _Item(sign)
        raise FormulaError(f"{sign!r} in the formula {self.formula!r} is not known")

    def _marks(self) -> str:
        """Subscripts and superscripts: small signs, or `_y`, `_max`, `^k` and `^(k − 1)`."""
        marks = ""
        while self.rest:
            if low := self._taken("[" + "".join(LOWERED) + "]+"):
                marks += "_{" + "".join(LOWERED[sign] for sign in low) + "}"
            elif high := self._taken("[" + "".join(RAISED) + "]+"):
                marks += "^{" + "".join(RAISED[sign] for sign in high) + "}"
            elif self._taken("_(?=[a-z])"):
                name = self._taken("[a-z]+")
                marks += f"_{{{name}}}" if len(name) == 1 else rf"_{{\mathrm{{{name}}}}}"
            elif self._taken(r"\^"):
                marks += f"^{{{self._item().bare}}}"
            else:
                break
        return marks
