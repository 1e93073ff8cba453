"""Write the pages of docs/ from the docstrings, so that nothing is said twice.

    python docs/generate.py            writes them
    python docs/generate.py --check    says whether those that are there are the same

A page for each module that exports a class or a function. What a page says is its docstring; the
pictures are those of examples/pictures that exist, with the text that examples/README.md has.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import re
import sys
import textwrap
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
sys.path.insert(0, str(DOCS))

from formulas import inline, latex  # noqa: E402

PACKAGE = "keras_optim_losses"
SECTIONS = ("optimizers", "losses", "callbacks")
NOTICE = "<!-- Written by docs/generate.py from the docstrings. Edit those, and run it. -->"

INTRODUCTION = """\
# Documents

A page for each optimizer, loss and callback: the idea, the formula, when to use it, and how Keras,
torch and optax differ. What is the same for all of a kind is told once, on the page of its base:
[`Optimizer`](optimizers/optimizer.md) and [`Loss`](losses/loss.md).

Symbols: $w$ a weight, $g$ its gradient, $\\eta$ the learning rate, $t$ the number of the update,
from 1; $y$ a label, $z$ a logit, $p$ a probability; $x \\leftarrow y$ puts $y$ in the place of $x$.
"""

# Which pictures of examples/pictures stand on which page; `index` is the list of all.
LINEAGE = ("gradient_descent", "sgd", "momentum", "adagrad", "rmsprop", "adam")
LOSSES = (
    "binary_crossentropy",
    "categorical_crossentropy",
    "sparse_categorical_crossentropy",
    "mean_squared_error",
)
PICTURES = {
    "family_tree": ("index",),
    "lineage": LINEAGE,
    "trajectories_ravine": LINEAGE[1:],
    "trajectories_ravine_rotated": ("adagrad",),
    "trajectories_saddle": ("rmsprop", "adam"),
    "loss_and_gradient": LOSSES,
    **{name: (name,) for name in LOSSES},
    **{name: (name,) for name in ("learning_rate_finder", "update_monitor")},
}

# Headings of a docstring, and what they are called on a page.
HEADINGS = {
    "When to use it": "When to use it",
    "Args": "Arguments",
    "Attributes": "Attributes",
    "Returns": "Returns",
    "Shapes": "Shapes",
    "Raises": "Errors",
    "Example": "Example",
    "Where others differ": "How Keras, torch and others differ",
    "Source": "Reference",
}


@dataclass
class Page:
    """What is on one page: the objects that a module exports, the class first."""

    section: str
    stem: str
    names: list[str] = field(default_factory=list)
    objects: list[Any] = field(default_factory=list)

    @property
    def path(self) -> str:
        return f"{self.section}/{self.stem}.md"


def public_pages() -> list[Page]:
    """The pages, in the order in which the packages export their names."""
    pages: dict[tuple[str, str], Page] = {}
    for section in SECTIONS:
        package = importlib.import_module(f"{PACKAGE}.{section}")
        for name in package.__all__:
            thing = getattr(package, name)
            stem = thing.__module__.rpartition(".")[2]
            if stem == section:  # `get`, which belongs to all of a kind
                continue
            page = pages.setdefault((section, stem), Page(section, stem))
            page.names.append(name)
            page.objects.append(thing)
    return list(pages.values())


# Docstrings


def blocks(docstring: str) -> list[str]:
    """Its paragraphs, and what is indented under a heading or between them."""
    parts = re.split(r"\n\s*\n", inspect.cleandoc(docstring))
    joined: list[str] = []
    for part in parts:
        # A blank line within what is indented under a heading does not end it.
        if joined and part.startswith("    ") and re.match(r"[A-Z]\w*:\n", joined[-1]):
            joined[-1] += "\n\n" + part
        else:
            joined.append(part)
    return joined


def sections_of(docstring: str) -> dict[str, list[str]]:
    """Blocks by heading; those under none have the heading `""`."""
    found: dict[str, list[str]] = {"": []}
    for block in blocks(docstring):
        heading, colon, rest = block.partition(":")
        if colon and heading in HEADINGS:
            rest = textwrap.dedent(rest.removeprefix("\n")).strip("\n")
            found.setdefault(heading, []).append(rest.removeprefix(" "))
        else:
            found[""].append(block)
    return found


def running(text: str) -> str:
    """A paragraph on one line, with formulas and links, beginning with a capital letter."""
    text = " ".join(line.strip() for line in text.splitlines())
    text = re.sub(r"arXiv:(\d{4}\.\d{4,5})", r"[arXiv:\1](https://arxiv.org/abs/\1)", text)
    return inline(text)


def sentence(text: str) -> str:
    """A paragraph that was the rest of a line, with a capital letter again."""
    return running(text[0].upper() + text[1:])


def summary(thing: Any) -> str:
    """The first paragraph of a docstring, without the name that it may begin with."""
    first = blocks(inspect.getdoc(thing) or "")[0]
    return sentence(re.sub(r"^\w+( descent)?: ", "", first))


def formulas(block: str) -> str:
    """An indented block: a formula a line, with a remark after three spaces or more."""
    written: list[str] = []
    for line in textwrap.dedent(block).splitlines():
        formula, _, remark = re.sub(r" {3,}", "\t", line.rstrip()).partition("\t")
        parts = [latex(part) for part in re.split(r";\s+", formula)]
        if remark:
            joined = ", ".join(f"${part}$" for part in parts)
            written.append(f"- {inline(remark)}: {joined}")
        else:
            written += [f"$$\n{part}\n$$" for part in parts]
    # Items of a list stand close together, displays apart.
    return re.sub(r"(?m)^(- .*)\n\n(?=- )", r"\1\n", "\n\n".join(written))


def prose(block: str) -> str:
    if not block.startswith("    "):
        return running(block)
    code = textwrap.dedent(block)
    return f"```python\n{code}\n```" if re.search(r"\bdef |\bclass ", code) else formulas(block)


def items(text: str) -> str:
    """`name: text` with what hangs under it, as a list."""
    entries: list[list[str]] = []
    for line in text.splitlines():
        if line.startswith(" ") and entries:
            entries[-1].append(line)
        else:
            entries.append([line])
    written = []
    for entry in entries:
        name, colon, rest = "\n".join(entry).partition(": ")
        written.append(f"- `{name}`: {running(rest)}" if colon else f"- {running(name)}")
    return "\n".join(written)


def code(text: str) -> str:
    """A doctest as a script, what it prints as comments."""
    lines: list[str] = []
    for line in text.splitlines():
        prompt = re.match(r"(>>>|\.\.\.) ?", line)
        line = line[prompt.end() :] if prompt else f"# {line}"
        if lines and "import " in lines[-1] and "import " not in line:
            lines.append("")
        lines.append(line)
    return "```python\n" + "\n".join(lines) + "\n```"


def signature(name: str, thing: Any) -> str:
    """The call with its defaults, without types, on lines of at most 88 signs."""
    parts = []
    star = False
    for parameter in inspect.signature(thing).parameters.values():
        if parameter.name in ("self", "cls"):
            continue
        if parameter.kind is parameter.KEYWORD_ONLY and not star:
            parts.append("*")
        star = star or parameter.kind in (parameter.KEYWORD_ONLY, parameter.VAR_POSITIONAL)
        default = parameter.default
        plain = str(parameter.replace(annotation=parameter.empty, default=parameter.empty))
        if default is not parameter.empty:
            plain += "=" + (f'"{default}"' if isinstance(default, str) else repr(default))
        parts.append(plain)
    line = f"{name}({', '.join(parts)})"
    if len(line) > 88:
        line = f"{name}(\n" + "".join(f"    {part},\n" for part in parts) + ")"
    return f"```python\n{line}\n```"


def body(docstring: str, level: str) -> list[str]:
    """All parts of a docstring but the first, headings at that level."""
    found = sections_of(docstring)
    parts = [prose(block) for block in found.pop("")[1:]]
    for heading, title in HEADINGS.items():
        for text in found.get(heading, []):
            write = {"Args": items, "Attributes": items, "Raises": items, "Example": code}
            parts += [f"{level} {title}", write.get(heading, sentence)(text)]
    return parts


# Pages


def gallery() -> dict[str, tuple[str, str]]:
    """Alternative text and explanation of each picture, as examples/README.md has them."""
    file = ROOT / "examples" / "README.md"
    parts = file.read_text(encoding="utf-8").split("\n\n") if file.exists() else []
    found = {}
    for i, part in enumerate(parts):
        if picture := re.match(r"!\[(.*)\]\(pictures/([\w.]+)\)$", part.strip()):
            after = parts[i + 1].strip() if i + 1 < len(parts) else ""
            explanation = "" if after.startswith(("#", "!", "<!--")) else " ".join(after.split())
            found[picture.group(2)] = (picture.group(1), explanation)
    return found


def pictures(stem: str, up: str) -> list[str]:
    shown = gallery()
    parts = []
    for name, stems in PICTURES.items():
        if stem in stems and (ROOT / "examples" / "pictures" / f"{name}.png").exists():
            text, explanation = shown.get(f"{name}.png", (name.replace("_", " "), ""))
            parts.append(f"![{text}]({up}examples/pictures/{name}.png)")
            if explanation:  # whose links start from another folder
                parts.append(re.sub(r"\]\((?!https:)", f"]({up}examples/", explanation))
    return parts


def methods(cls: type) -> list[str]:
    """What a class offers beside its constructor, where it is its own."""
    parts = []
    for name, member in vars(cls).items():
        function = member.fget if isinstance(member, property) else member
        function = getattr(function, "__func__", function)
        text = inspect.getdoc(function) if inspect.isfunction(function) else None
        if name.startswith("_") or not text or text.startswith("See `"):
            continue
        parts.append(f"### `{name}`")
        if not isinstance(member, property):
            parts.append(signature(name, function))
        parts += [running(blocks(text)[0]), *body(text, "####")]
    return ["## Methods", *parts] if parts else []


def written(page: Page) -> str:
    first = page.objects[0]
    up = "../../"
    docstring = inspect.getdoc(first) or ""
    parts = [
        f"[Documents](../README.md) · {page.section}",
        f"# {page.names[0]}",
        summary(first),
        f"```python\nfrom {PACKAGE}.{page.section} import {', '.join(page.names)}\n```",
        signature(page.names[0], first),
    ]
    main = body(docstring, "##")
    # Pictures stand before the first heading, after the formula and what it says.
    headings = [i for i, part in enumerate(main) if part.startswith("#")]
    at = headings[0] if headings else len(main)
    parts += [*main[:at], *pictures(page.stem, up), *main[at:]]
    if inspect.isclass(first):
        parts += methods(first)
    for name, thing in zip(page.names[1:], page.objects[1:]):
        text = inspect.getdoc(thing) or ""
        parts += [f"## `{name}`", signature(name, thing)]
        parts += [summary(thing), *body(text, "###")]
    source = Path(inspect.getfile(first)).relative_to(ROOT)
    parts.append(f"Code: [{source}]({up}{source})")
    return "\n\n".join([NOTICE, *parts]) + "\n"


def index(pages: list[Page]) -> str:
    parts = [NOTICE, INTRODUCTION.rstrip()]
    for section in SECTIONS:
        package = importlib.import_module(f"{PACKAGE}.{section}")
        parts += [f"## {section.capitalize()}", running(blocks(inspect.getdoc(package))[0])]
        if section == "optimizers":
            parts += pictures("index", "../")
        lines = []
        for page in pages:
            if page.section == section:
                lines.append(f"- [`{page.names[0]}`]({page.path}): {summary(page.objects[0])}")
        parts.append("\n".join(lines))
        if get := getattr(package, "get", None):
            text = inspect.getdoc(get)
            parts += [f"### `{section}.get`", signature("get", get), running(blocks(text)[0])]
            parts += body(text, "####")
    return "\n\n".join(parts) + "\n"


def linked(text: str, own: str, pages: list[Page]) -> str:
    """Names of the package's classes and functions in running text lead to their pages."""
    paths = {name: page.path for page in pages for name in page.names}
    up = "../" * own.count("/")

    def link(match: re.Match[str]) -> str:
        path = paths.get(match.group(1))
        return f"[{match.group()}]({up}{path})" if path and path != own else match.group()

    # Not in code, in headings, in links, or where it is the thing of another library.
    pieces = re.split(r"(```.*?```|(?m:^#[^\n]*$)|\[[^\]]*\]\([^)]*\))", text, flags=re.S)
    for i in range(0, len(pieces), 2):
        pieces[i] = re.sub(r"(?<!Keras' )(?<!torch's )(?<!optax's )`(\w+)`", link, pieces[i])
    return "".join(pieces)


def generated() -> dict[str, str]:
    """The text of every page by its path under docs/."""
    pages = public_pages()
    texts = {"README.md": index(pages)} | {page.path: written(page) for page in pages}
    return {path: linked(text, path, pages) for path, text in texts.items()}


def differences() -> list[str]:
    """Pages that are not what would be written, are missing, or should not be there."""
    texts = generated()
    there = {str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md")}
    return sorted(
        path
        for path in there | set(texts)
        if path not in texts
        or path not in there
        or (DOCS / path).read_text(encoding="utf-8") != texts[path]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing")
    if parser.parse_args().check:
        if wrong := differences():
            sys.exit(f"Not up to date: {', '.join(wrong)}. Run python docs/generate.py")
        return
    texts = generated()
    for path in DOCS.rglob("*.md"):
        if str(path.relative_to(DOCS)) not in texts:
            path.unlink()
    for path, text in texts.items():
        (DOCS / path).parent.mkdir(exist_ok=True)
        (DOCS / path).write_text(text, encoding="utf-8")
    print(f"{len(texts)} pages under {DOCS}")


if __name__ == "__main__":
    main()
