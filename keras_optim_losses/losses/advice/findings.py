"""What a check found, and how it is shown in a terminal and in a notebook."""

from __future__ import annotations

import dataclasses
import html
import textwrap

WIDTH = 88


@dataclasses.dataclass(frozen=True)
class Finding:
    """One mismatch.

    Attributes:
        severity: `"error"`, the training would fail or learn the wrong thing; or `"warning"`.
        rule: the stable short name of the rule, such as `"label-out-of-range"`.
        message: what was seen, why it is wrong, and the line to change.
        output: the name of the output, where the model has several.
    """

    severity: str
    rule: str
    message: str
    output: str = ""

    def __str__(self) -> str:
        where = f" (output {self.output!r})" if self.output else ""
        return f"{self.severity.upper()} {self.rule}{where}\n{indented(self.message)}"


class Findings(list[Finding]):
    """A list of `Finding`, empty where nothing was found, that prints well."""

    @property
    def errors(self) -> Findings:
        """Those that are errors."""
        return Findings(finding for finding in self if finding.severity == "error")

    @property
    def warnings(self) -> Findings:
        """Those that are warnings."""
        return Findings(finding for finding in self if finding.severity == "warning")

    def __repr__(self) -> str:
        return "\n".join(map(str, self)) or "Labels, output and loss fit: nothing was found."

    def _repr_html_(self) -> str:
        if not self:
            return html.escape(repr(self))
        names = ["severity", "rule", "message"]
        if any(finding.output for finding in self):
            names.insert(1, "output")
        return table([[getattr(finding, name) for name in names] for finding in self], names)


def indented(text: str, head: str = "  ") -> str:
    """A paragraph in lines that fit a terminal, behind a head and as far in as that is wide."""
    lines = textwrap.TextWrapper(
        width=WIDTH,
        initial_indent=head,
        subsequent_indent=" " * len(head),
        break_long_words=False,
        break_on_hyphens=False,
    )
    return lines.fill(text)


def table(rows: list[list[str]], heads: list[str] | None = None) -> str:
    """Rows of text as a table in HTML; what stands between backticks is set as code."""

    def cells(row: list[str], tag: str) -> str:
        style = "text-align: left; vertical-align: top"
        return "".join(f'<{tag} style="{style}">{_with_code(text)}</{tag}>' for text in row)

    lines = [cells(row, "td") for row in rows]
    if heads:
        lines.insert(0, cells(heads, "th"))
    return "<table>" + "".join(f"<tr>{line}</tr>" for line in lines) + "</table>"


def _with_code(text: str) -> str:
    parts = html.escape(text).split("`")
    return "".join(f"<code>{part}</code>" if i % 2 else part for i, part in enumerate(parts))
