"""The family tree says what the classes say, about all of them, and legibly."""

import inspect

import numpy as np
import pytest
import style
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.patches import FancyBboxPatch

from examples import family_tree as example
from keras_optim_losses import optimizers

NAMES = [name for name in optimizers.__all__ if name not in ("Optimizer", "get")]


@pytest.fixture(scope="module")
def figure():
    style.use()
    figure = example.draw([example.person(cls) for cls in example.public()], example.EDGES)
    FigureCanvasAgg(figure).draw()
    return figure


def test_every_public_optimizer_is_in_the_tree():
    assert [cls.__name__ for cls in example.public()] == NAMES
    assert set(example.DEFAULT_LINES) == set(NAMES)
    named = {name for edge in example.EDGES for name in (edge.parent, edge.child)}
    assert named == set(NAMES)
    # One has no parent, and all descend from it: parents come before their children.
    orphans = set(NAMES) - {edge.child for edge in example.EDGES}
    assert orphans == {NAMES[0]}
    for edge in example.EDGES:
        assert NAMES.index(edge.parent) < NAMES.index(edge.child)


def test_both_sides_of_every_arrow_are_formulas_of_the_classes():
    example.check(example.EDGES)
    for edge in example.EDGES:
        assert edge.before in inspect.getdoc(getattr(optimizers, edge.parent))
        assert edge.after in inspect.getdoc(getattr(optimizers, edge.child))
        assert edge.before != edge.after


def test_formulas_in_the_boxes_are_whole():
    for cls in example.public():
        *others, last = example.person(cls).formula
        assert "w ← w" in last and not any("w ←" in line for line in others), cls


@pytest.mark.parametrize("side", ["before", "after"])
def test_an_arrow_that_the_classes_do_not_bear_out_is_an_error(side):
    lines = {"before": "h ← h + g²", "after": "h ← ρh + (1 − ρ)g²", side: "h ← h + g³"}
    edge = example.Edge("Adagrad", "RMSprop", lines["before"], lines["after"], "")
    with pytest.raises(ValueError, match="has no 'h ← h [+] g³', which the arrow from Adagrad to"):
        example.check((edge,))


def test_an_optimizer_without_a_place_is_an_error():
    class Stranger(optimizers.SGD):
        """Stranger: new here."""

    with pytest.raises(ValueError, match="Stranger has no place in the tree: add it to DEFAULT"):
        example.person(Stranger)


def test_what_is_read_from_a_class():
    adam = example.person(optimizers.Adam)
    assert adam.year == "2015"
    assert adam.formula == [
        "m ← β₁m + (1 − β₁)g",
        "v ← β₂v + (1 − β₂)g²",
        "m̂ = m / (1 − β₁ᵗ)",
        "v̂ = v / (1 − β₂ᵗ)",
        "w ← w − ηm̂ / (√v̂ + ε)",
    ]
    assert adam.facts[0] == "remembers: momentum, velocity"
    facts = " ".join(adam.facts).replace("\N{NO-BREAK SPACE}", " ")
    assert "learning_rate 0.001, beta_1 0.9, beta_2 0.999, epsilon 1e-07" in facts
    assert "amsgrad" not in facts
    assert " ".join(adam.idea).startswith("the momentum of gradients, divided by")
    assert example.person(optimizers.SGD).facts[0] == "remembers: nothing"
    assert [example.person(cls).year for cls in example.public()] == sorted(
        example.person(cls).year for cls in example.public()
    )
    shared = example.shared_arguments()
    assert "weight_decay" in shared and "lazy" in shared and " name" not in shared


def test_each_stands_below_its_parents():
    depth = example.generations(NAMES, example.EDGES)
    assert depth["GradientDescent"] == 0
    for edge in example.EDGES:
        assert depth[edge.parent] < depth[edge.child]
    across = example.across(NAMES, example.EDGES)
    places = {(across[name], depth[name]) for name in NAMES}
    assert len(places) == len(NAMES)
    assert across["Adam"] == np.mean([across["Momentum"], across["RMSprop"]])


def test_everything_is_drawn_inside_its_box_and_boxes_apart(figure):
    (axis,) = figure.axes
    boxes = [
        patch.get_window_extent() for patch in axis.patches if isinstance(patch, FancyBboxPatch)
    ]
    assert len(boxes) == len(NAMES)
    for i, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[i + 1 :])
    texts = {text.get_text(): text.get_window_extent() for text in axis.texts}
    for extent in texts.values():
        assert figure.bbox.x0 <= extent.x0 and extent.x1 <= figure.bbox.x1
        touched = [box for box in boxes if box.overlaps(extent)]
        assert len(touched) <= 1
        for box in touched:
            assert box.x0 < extent.x0 and extent.x1 < box.x1
            assert box.y0 < extent.y0 and extent.y1 < box.y1
    for name in NAMES:
        assert sum(box.overlaps(texts[name]) for box in boxes) == 1
    for edge in example.EDGES:
        assert edge.after in texts and f"instead of  {edge.before}" in texts
