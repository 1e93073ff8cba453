"""The pages of docs/: that they are what the docstrings say, are all there, and render."""

import importlib
import re
import shutil
import sys
from pathlib import Path

import pytest
from matplotlib.mathtext import MathTextParser

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "docs"))

import generate  # noqa: E402
from formulas import FormulaError, inline, latex  # noqa: E402

PAGES = sorted((ROOT / "docs").rglob("*.md"))
DOCUMENTS = [*PAGES, *ROOT.glob("*.md"), *ROOT.glob("examples/*.md"), *ROOT.glob("benchmarks/*.md")]
PUBLIC = [
    (section, name)
    for section in ("optimizers", "losses", "callbacks")
    for name in importlib.import_module(f"keras_optim_losses.{section}").__all__
]
RULES = [
    path
    for path in PAGES
    if path.parent.name in ("optimizers", "losses")
    and path.stem not in ("optimizer", "loss", "check", "recommend")
]


def without_code(text):
    return re.sub(r"```.*?```", "", text, flags=re.S)


def relative(path):
    return str(path.relative_to(ROOT))


# What is committed


def test_the_committed_pages_are_what_the_docstrings_say():
    assert generate.differences() == [], "run python docs/generate.py"


def test_a_page_that_is_changed_missing_or_left_over_is_seen(tmp_path, monkeypatch):
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    monkeypatch.setattr(generate, "DOCS", tmp_path / "docs")
    assert generate.differences() == []
    changed, missing = (tmp_path / "docs" / "losses" / f"{n}.md" for n in ("loss", "get"))
    changed.write_text(changed.read_text().replace("The base", "A base"))
    missing.write_text("left over")
    (tmp_path / "docs" / "optimizers" / "adam.md").unlink()
    assert generate.differences() == ["losses/get.md", "losses/loss.md", "optimizers/adam.md"]


@pytest.mark.parametrize("section, name", PUBLIC)
def test_every_public_class_and_function_has_its_page(section, name):
    if name == "get":
        assert f"### `{section}.get`" in (ROOT / "docs" / "README.md").read_text()
        return
    headings = rf"(?m)^(# {name}|## `{name}`)$"
    with_it = [path for path in PAGES if re.search(headings, path.read_text())]
    assert [path.parent.name for path in with_it] == [section]
    assert f"({section}/{with_it[0].name})" in (ROOT / "docs" / "README.md").read_text()


@pytest.mark.parametrize("path", RULES, ids=relative)
def test_a_page_has_all_that_a_reader_looks_for(path):
    text = path.read_text()
    assert re.search(r"(?m)^\$\$$|^- .*\$", text.partition("## ")[0]), "the formula"
    for heading in (
        "When to use it",
        "Arguments",
        "Example",
        "How Keras, torch and others differ",
        "Reference",
    ):
        assert f"\n## {heading}\n" in text
    for library in ("Keras", "torch", "optax"):
        assert library in text.partition("## How Keras, torch and others differ")[2]


@pytest.mark.parametrize("path", DOCUMENTS, ids=relative)
def test_every_link_leads_somewhere(path):
    found = re.findall(r"\]\(([^)\s]+)\)", without_code(path.read_text()))
    for target in found:
        if target.startswith("https://"):
            continue
        file, _, anchor = target.partition("#")
        there = path.parent / file if file else path
        assert there.exists(), target
        if anchor:
            titles = re.findall(r"(?m)^#+ (.*)$", without_code(there.read_text()))
            plain = [re.sub(r"[^\w\- ]", "", title).lower().replace(" ", "-") for title in titles]
            assert anchor in plain, target


@pytest.mark.parametrize("path", PAGES, ids=relative)
def test_every_formula_renders(path):
    """Matplotlib reads TeX too, and less of it than GitHub does."""
    parser = MathTextParser("path")
    text = without_code(path.read_text())
    formulas = re.findall(r"\$\$\n(.*)\n\$\$|\$([^$\n]+)\$", text)
    for display, within in formulas:
        formula = display or within
        parser.parse(f"${formula}$")
        # Markdown would take the backslash, and ends no formula before a letter.
        assert not re.search(r"\\[^A-Za-z]|\\operatorname", formula), formula
    assert text.count("$") == 4 * sum(bool(d) for d, _ in formulas) + 2 * sum(
        bool(w) for _, w in formulas
    )
    # What is a formula must not be left in Unicode, nor in a table of a wrong alphabet.
    assert not re.search(r"[√₀-₉‖̂]|[a-z][²ᵗ]", re.sub(r"`[^`]*`", "", text))


def test_pictures_come_with_the_words_of_the_gallery(tmp_path, monkeypatch):
    (tmp_path / "examples" / "pictures").mkdir(parents=True)
    for name in ("family_tree", "trajectories_ravine", "trajectories_saddle"):
        (tmp_path / "examples" / "pictures" / f"{name}.png").touch()
    (tmp_path / "examples" / "README.md").write_text(
        "### [walks.py](walks.py)\n\n![Paths](pictures/trajectories_ravine.png)\n\nA ravine:\n"
        "see [walks.py](walks.py).\n\n![Other paths](pictures/trajectories_saddle.png)\n\n## End\n"
    )
    monkeypatch.setattr(generate, "ROOT", tmp_path)
    assert generate.pictures("adam", "../../") == [
        "![Paths](../../examples/pictures/trajectories_ravine.png)",
        "A ravine: see [walks.py](../../examples/walks.py).",
        "![Other paths](../../examples/pictures/trajectories_saddle.png)",
    ]
    # Without words of its own a picture has its name, and without a picture there is none.
    assert generate.pictures("index", "") == ["![family tree](examples/pictures/family_tree.png)"]
    assert generate.pictures("loss", "") == []


# Formulas


@pytest.mark.parametrize(
    "formula, expected",
    [
        ("w ← w − ηg", r"w \leftarrow w - \eta g"),
        ("m̂ = m / (1 − β₁ᵗ)", r"\hat{m} = \frac{m}{1 - \beta_{1}^{t}}"),
        ("w − ηm̂ / (√v̂ + ε)", r"w - \frac{\eta \hat{m}}{\sqrt{\hat{v}} + \epsilon}"),
        ("d = √(h − ḡ² + ε)", r"d = \sqrt{h - \bar{g}^{2} + \epsilon}"),
        ("a + b·c / d", r"a + b \cdot \frac{c}{d}"),
        ("ℓ = −Σₖ cₖ log pₖ", r"\ell = - \sum_{k} c_{k} \log p_{k}"),
        ("c_y + η_max^(k / 2)", r"c_{y} + \eta_{\mathrm{max}}^{\frac{k}{2}}"),
        ("‖Δw‖ / |w|", r"\frac{\left\Vert \Delta w \right\Vert}{\left\vert w \right\vert}"),
        ("mean (y − ŷ)²", r"\mathrm{mean} (y - \hat{y})^{2}"),
        ("2(a / b)", r"2 \left( \frac{a}{b} \right)"),
    ],
)
def test_unicode_becomes_latex(formula, expected):
    assert latex(formula) == expected


@pytest.mark.parametrize(
    "formula, reason",
    [
        ("w ← w ∘ g", "'∘' .* is not known"),
        ("w ← foo(w)", "'foo' .* is no known function"),
        ("w ← (w", "'\\(' is not closed"),
        ("w) ← w", "'\\)' .* is not known"),
        ("/ w", "fraction is missing"),
        ("w /", "fraction is missing"),
    ],
)
def test_what_cannot_be_read_is_an_error(formula, reason):
    with pytest.raises(FormulaError, match=reason):
        latex(formula)


@pytest.mark.parametrize(
    "text, expected",
    [
        ("As m̂₁ = g and ε ≥ 0, so.", r"As $\hat{m}_{1} = g$ and $\epsilon \geq 0$, so."),
        ("at first (m₁ = (1 − β)g₁); it", r"at first ($m_{1} = (1 - \beta) g_{1}$); it"),
        ("up to 1/(1 − α) times", r"up to $\frac{1}{1 - \alpha}$ times"),
        ("from 0 to K − 1, a name", "from 0 to $K - 1$, a name"),
        ("β in [0, 1): the m of Adam", r"$\beta$ in [0, 1): the $m$ of Adam"),
        ("`w ← w` and [η](x.md) stay", "`w ← w` and [η](x.md) stay"),
        ("no formula, 70,000 and 1e-7, (batch, …) – Å", None),
        ("A label or I of 8 bits = 1 byte", None),
    ],
)
def test_formulas_within_a_sentence(text, expected):
    assert inline(text) == (text if expected is None else expected)
