"""What a model was compiled with, output by output: losses, metrics, and the labels they meet."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import keras
import numpy as np

#: What the losses of Keras and of this package compare, by class. Functions and names in lower case
#: are found by it too; a loss that is not here is only checked for shapes and numbers that fail.
FAMILIES = {
    "BinaryCrossentropy": "binary",
    "BinaryFocalCrossentropy": "binary",
    "CategoricalCrossentropy": "categorical",
    "CategoricalFocalCrossentropy": "categorical",
    "SparseCategoricalCrossentropy": "sparse",
    "MeanSquaredError": "error",
    "MeanAbsoluteError": "error",
    "MeanAbsolutePercentageError": "error",
    "MeanSquaredLogarithmicError": "error",
    "Huber": "error",
    "LogCosh": "error",
    "Hinge": "elementwise",
    "SquaredHinge": "elementwise",
    "CategoricalHinge": "elementwise",
    "KLDivergence": "elementwise",
    "Poisson": "elementwise",
    "CosineSimilarity": "elementwise",
}
#: Arguments that a line of code shows where they are not the default.
_WRITTEN: dict[str, Any] = {
    "from_logits": False,
    "ignore_class": None,
    "axis": -1,
    "label_smoothing": 0.0,
    "class_weight": None,
    "pos_weight": None,
    "gamma": 2.0,
    "alpha": 0.25,
    "apply_class_balancing": False,
}
_PLAIN = {name.lower(): name for name in FAMILIES}


@dataclasses.dataclass(frozen=True)
class LossUse:
    """A loss as it was compiled.

    Attributes:
        given: what the user gave: an instance, a function or a name.
        name: its class, such as `"BinaryCrossentropy"`; `""` where it is not known.
        family: what it compares: `"binary"`, `"categorical"`, `"sparse"`, `"error"` (a difference),
            `"elementwise"` (something else, entry by entry), or `""`.
        module: `"losses"` for a loss of this package, else `"keras.losses"`.
        arguments: those it was made with.
    """

    given: Any
    name: str
    family: str
    module: str
    arguments: dict[str, Any]

    @property
    def from_logits(self) -> bool:
        return bool(self.arguments.get("from_logits", False))

    @property
    def ignore_class(self) -> int | None:
        return self.arguments.get("ignore_class")

    @property
    def axis(self) -> int:
        return self.arguments.get("axis", -1)

    @property
    def weighs_classes(self) -> bool:
        names = ("class_weight", "pos_weight", "alpha", "gamma")
        return any(self.arguments.get(name) is not None for name in names)

    @property
    def leaves_out(self) -> bool:
        """Whether what is masked or has weight 0 is left out, where Keras multiplies it by 0."""
        return self.module == "losses"

    def line(self, name: str = "", **changes: Any) -> str:
        """How this loss with some arguments changed, or another one, is written in `compile`."""
        own = self.arguments if name in ("", self.name) else {}
        kept = {argument: own.get(argument, default) for argument, default in _WRITTEN.items()}
        written = ", ".join(
            f"{argument}={value!r}"
            for argument, value in (kept | changes).items()
            if not np.array_equal(value, _WRITTEN[argument])  # some are arrays
        )
        return f"`loss={self.module}.{name or self.name}({written})`"


def loss_use(given: Any, labels: Any, predictions: Any) -> LossUse:
    """Look at a loss.

    Args:
        given: what was compiled for one output.
        labels, predictions: arrays; by their shapes Keras finds what `"crossentropy"` is.
    """
    loss: Any = given
    if isinstance(loss, str):
        if loss.lower() in ("crossentropy", "ce"):
            loss = _crossentropy(labels.shape, predictions.shape)
        loss = keras.losses.get(loss)
    arguments = {}
    if isinstance(loss, functools.partial):
        loss, arguments = loss.func, loss.keywords
    kind = type(loss) if isinstance(loss, keras.losses.Loss) else loss
    package = (getattr(kind, "__module__", None) or "").split(".")[0]
    name = _PLAIN.get(getattr(kind, "__name__", "").replace("_", "").lower(), "")
    if package not in ("keras", "keras_optim_losses") or not name:
        return LossUse(given, "", "", "keras.losses", {})
    if isinstance(loss, keras.losses.Loss):
        # Keras leaves `axis` of the sparse loss out of its configuration.
        arguments = getattr(loss, "_fn_kwargs", {}) | loss.get_config()
    module = "losses" if package == "keras_optim_losses" else "keras.losses"
    return LossUse(given, name, FAMILIES[name], module, arguments)


def _crossentropy(labels: tuple[int, ...], predictions: tuple[int, ...]) -> str:
    """What Keras takes `"crossentropy"` for."""
    if predictions[-1] == 1:
        return "binary_crossentropy"
    sparse = len(labels) < len(predictions) or labels[-1] == 1
    return "sparse_categorical_crossentropy" if sparse else "categorical_crossentropy"


@dataclasses.dataclass(frozen=True)
class Place:
    """Where an output stands in the structure that a model gives.

    Attributes:
        path: keys and indices from the whole structure to it.
        position: its number among the outputs, in the order of `keras.tree`.
        count: how many outputs there are.
        layer: the name of the output in a functional model, or None.
    """

    path: tuple[Any, ...]
    position: int
    count: int
    layer: str | None

    @property
    def name(self) -> str:
        """The name to show; empty where there is one output."""
        if self.count == 1:
            return ""
        own = "/".join(map(str, self.path))
        return self.layer if self.layer and own.isdigit() else own

    def of(self, structure: Any) -> Any:
        """The entry that belongs to this output; None where there is none.

        Args:
            structure: one entry for all outputs, or a list or dictionary of them, as `compile` and
                `fit` take: by the names of the outputs, or nested as the outputs are.
        """
        if not keras.tree.is_nested(structure):
            return structure
        if self.count == 1 and len(structure) == 1:
            return self.of(next(iter(keras.tree.flatten(structure))))
        if isinstance(structure, dict):
            for name in (self.name, self.layer):
                if name in structure:
                    return structure[name]
        elif len(structure) == self.count:
            return structure[self.position]
        entry = structure
        for step in self.path:
            try:
                entry = entry[step]
            except (KeyError, IndexError, TypeError):
                return None
        return entry if self.path else None


def places(model: Any, y_pred: Any) -> list[tuple[Place, Any]]:
    """Each output of a model, with where it stands."""
    leaves = keras.tree.flatten_with_path(y_pred)
    names = getattr(model, "output_names", None) or []
    if len(names) != len(leaves):
        names = [None] * len(leaves)
    return [
        (Place(tuple(path), position, len(leaves), name), tensor)
        for position, ((path, tensor), name) in enumerate(zip(leaves, names))
    ]


def losses_of(model: Any, place: Place) -> list[Any]:
    """The losses of one output, as they were given: one, several in a list, or none."""
    if place.count == 1:
        given = keras.tree.flatten(model.loss)
    else:
        given = keras.tree.flatten(place.of(model.loss))
    return [loss for loss in given if loss is not None]


def metrics_of(model: Any, place: Place) -> list[Any]:
    """The metrics of one output, as they were given."""
    # Keras builds metrics from the first batch, and until then keeps what was given here only.
    config = getattr(model, "_compile_config", None)
    given: list[Any] = []
    for kind in ("metrics", "weighted_metrics"):
        structure = config.config.get(kind) if config is not None else None
        own = structure if place.count == 1 else place.of(structure)
        given += [metric for metric in keras.tree.flatten(own) if metric is not None]
    return given
