"""Optimizer: what every optimizer shares. A subclass adds only its formula."""

from __future__ import annotations

import functools
import re
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Union

import keras
import numpy as np
from keras import ops

from keras_optim_losses import arguments, backend
from keras_optim_losses.optimizers import checks, clipping
from keras_optim_losses.optimizers.identity import Identity
from keras_optim_losses.optimizers.norms import Norms
from keras_optim_losses.optimizers.recipe import (
    Recipe,
    accumulated,
    has_copy,
    in_place,
    recipes,
    state_of,
    updated,
)
from keras_optim_losses.optimizers.rounding import mixed
from keras_optim_losses.optimizers.step import Step
from keras_optim_losses.optimizers.weight import Weight, at_least_float32
from keras_optim_losses.registry import register

#: Where the count of calls ends: a 32-bit counter, as JAX and PyTorch have, holds one more, and an
#: update looks one ahead.
LAST_CALL = 2**31 - 2

LearningRate = Union[float, Callable[[], Any], "keras.optimizers.schedules.LearningRateSchedule"]


_dtype, _path = checks.dtype, checks.path


@register
class Optimizer(keras.optimizers.Optimizer):
    """The base of all optimizers: a subclass states its slots and its rule.

        class SignSGD(Optimizer):
            def rule(self, step, weight, gradient):
                # w ← w − η sign(g)
                return weight - step.learning_rate * ops.sign(gradient)

    One update runs in this order: unscale the gradient (`loss_scale_factor`), accumulate, clip,
    decay the weight (w ← w − ηλw), apply the rule, average (EMA), apply the weight's constraint.
    State and arithmetic are float32, or float64 for float64 weights, also where weights are float16
    or bfloat16; such a weight has a float32 copy among the state, so that small updates add up.

    Under a `tf.distribute` strategy gradients are summed over the replicas before all this; with
    `keras.distribution` on JAX state lies where its weight lies; on PyTorch give `apply` the
    gradients that DistributedDataParallel leaves. MultiWorkerMirroredStrategy takes a loop of your
    own, as in `examples/distributed.py`, for `fit` fails under it in Keras 3.15 itself.

    A constructor argument of a subclass is kept as an attribute of the same name; then it is part
    of the configuration and comes back from a file.

    Args:
        learning_rate: η ≥ 0, a number; or a `keras.optimizers.schedules.LearningRateSchedule`; or a
            function without arguments.
        weight_decay: λ ≥ 0, decoupled: each update takes ηλw off the weight. None for no decay.
        clipnorm: clips each weight's gradient to this L2 norm.
        clipvalue: clips each entry of the gradient to ± this.
        global_clipnorm: clips all gradients together to this L2 norm. One of the three at most.
        use_ema: whether to keep an exponential moving average of the weights, which takes their
            place at the end of `fit`.
        ema_momentum: the share in [0, 1] of the average that an update keeps.
        ema_overwrite_frequency: the weights are set to their average every that many updates.
        loss_scale_factor: the loss is multiplied by it and the gradient divided by it.
        gradient_accumulation_steps: the number of calls whose mean gradient makes one update. Calls
            that do not fill such a cycle wait for the next, or for `flush_accumulated_gradients()`.
            Schedules count calls, as in Keras; `ema_overwrite_frequency`, the average and the
            bias corrections count updates.
        lazy: where the gradient of an embedding names the rows that a batch has used, whether all
            other rows and their state stay as they are, and then a step costs what the batch
            does. False is exactly the dense result; rules whose rows rest without a gradient
            anyway (`SGD`, `Adagrad`) are as fast with it. Only TensorFlow makes such gradients of
            an `Embedding`; PyTorch's sparse tensors are some too, and JAX has none.
        skip_nonfinite: whether an update whose gradients hold an inf or a NaN is left out, for all
            weights, state and t. `skipped_updates` counts them. An accumulation cycle with such a
            gradient is left out as a whole. False lets it through, as Keras does.
        stochastic_rounding: whether a float16 or bfloat16 weight is rounded at random, up or down
            as is right on the average, and has no float32 copy: a step smaller than half the
            spacing of its numbers then moves it now and then, where rounding to the nearest would
            never. A step that is run again is rounded as before.
        name: the optimizer's name.

    Raises:
        ValueError: an argument is outside its range, or unknown.

    Where others differ: Keras computes in the weight's own type, averages with every call also
    while it accumulates, and forgets `exclude_from_weight_decay` when saved. torch has no common
    base with arguments; what is an argument here is a transformation of gradients in optax.
    """

    #: Promises that entry i of what `rule` returns depends on entry i of what it is given only.
    elementwise: bool = True

    #: Whether an entry, or its state, can change where its gradient is zero and nothing decays.
    moves_without_gradient: bool = True

    def __init__(
        self,
        learning_rate: LearningRate = 0.001,
        *,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        ema_overwrite_frequency: int | None = None,
        loss_scale_factor: float | None = None,
        gradient_accumulation_steps: int | None = None,
        lazy: bool = False,
        skip_nonfinite: bool = False,
        stochastic_rounding: bool = False,
        name: str | None = None,
        **unknown: Any,
    ) -> None:
        if unknown:
            known = [*arguments.constructor_names(type(self), Optimizer), *self._shared_names()]
            arguments.unknown(type(self), unknown, known)
        learning_rate = arguments.rate("learning_rate", learning_rate)
        exact_rate = None if callable(learning_rate) else learning_rate
        clips = {
            "clipnorm": arguments.optional_number("clipnorm", clipnorm, "(0, inf)"),
            "clipvalue": arguments.optional_number("clipvalue", clipvalue, "(0, inf)"),
            "global_clipnorm": arguments.optional_number(
                "global_clipnorm", global_clipnorm, "(0, inf)"
            ),
        }
        if len([limit for limit in clips.values() if limit is not None]) > 1:
            received = ", ".join(f"{name}={limit}" for name, limit in clips.items())
            raise ValueError(
                f"Of the limits that clip a gradient only one can be set. Received: {received}"
            )
        steps = arguments.optional_whole_number(
            "gradient_accumulation_steps", gradient_accumulation_steps, at_least=1
        )
        if lazy and steps is not None and steps > 1:
            raise ValueError(
                "`lazy` needs the rows of each batch, which `gradient_accumulation_steps` adds up. "
                f"Received: lazy={lazy}, gradient_accumulation_steps={steps}. Give one of the two."
            )
        floatx = keras.config.floatx()
        # Keras makes the learning rate a variable of this type, which must not be a half one.
        keras.config.set_floatx(at_least_float32(floatx))
        try:
            super().__init__(
                learning_rate=learning_rate,
                weight_decay=arguments.optional_number("weight_decay", weight_decay, "[0, inf)"),
                **clips,
                use_ema=arguments.flag("use_ema", use_ema),
                ema_momentum=arguments.number("ema_momentum", ema_momentum, "[0, 1]"),
                ema_overwrite_frequency=arguments.optional_whole_number(
                    "ema_overwrite_frequency", ema_overwrite_frequency, at_least=1
                ),
                loss_scale_factor=arguments.optional_number(
                    "loss_scale_factor", loss_scale_factor, "(0, inf)"
                ),
                gradient_accumulation_steps=None if steps == 1 else steps,
                name=arguments.optional_name("name", name),
            )
        finally:
            keras.config.set_floatx(floatx)
        self._exact_rate = exact_rate
        self.lazy = arguments.flag("lazy", lazy)
        self.skip_nonfinite = arguments.flag("skip_nonfinite", skip_nonfinite)
        self.stochastic_rounding = arguments.flag("stochastic_rounding", stochastic_rounding)
        self._skipped: Any = None
        if skip_nonfinite:
            self._skipped = self.add_variable(
                shape=(),
                dtype=_dtype(self._calls),
                aggregation="only_first_replica",
                name="skipped_updates",
            )
        self._no_decay: dict[str, list[str]] = {"paths": [], "patterns": []}
        # Book-keeping that neither Keras nor TensorFlow should track: it holds no state of its own.
        object.__setattr__(self, "_weights", {})
        object.__setattr__(self, "_restored", {})
        object.__setattr__(self, "_passed", {})  # shapes of weights that have been looked at
        object.__setattr__(self, "_promised", None)
        object.__setattr__(self, "_updates", {})
        object.__setattr__(self, "_norms", None)
        self._record = backend.Record(self._identity_text, self._check_identity)

    def __setattr__(self, name: str, value: Any) -> None:
        # An update that has been compiled holds the hyperparameters as constants.
        if not name.startswith("_") and name != "learning_rate":
            vars(self).get("_updates", {}).clear()
        super().__setattr__(name, value)

    # What a subclass provides

    @property
    def slots(self) -> Sequence[str] | Mapping[str, float]:
        """Names of the state kept for each weight, in the order in which `rule` takes it.

        They start at zero; a mapping of names to numbers gives other initial values. A subclass
        gives a tuple, or a property where it depends on the arguments.
        """
        return ()

    def scalars(self, step: Step) -> dict[str, Any]:
        """What the rule needs beside η and t that is the same for all weights, computed once.

        Args:
            step: the `Step`, with `learning_rate`, `t` and `bias_correction(β)`.

        Returns:
            Scalar tensors by name; `rule` finds them as `step["name"]`.
        """
        return {}

    def rule(self, step: Step, weight: Any, gradient: Any, *slots: Any) -> Any:
        """The formula: one weight after one update, and its slots. A pure function.

        On TensorFlow it is compiled by XLA, with the values that hyperparameters have then.

        Args:
            step: the `Step`, with `learning_rate`, `t`, `bias_correction(β)` and what `scalars`
                has computed.
            weight: a tensor of any shape, float32 or float64.
            gradient: a tensor like `weight`.
            *slots: tensors like `weight`, one for each name in `slots`.

        Returns:
            The new weight; with slots, a tuple of the new weight and the new slots.
        """
        raise NotImplementedError(
            f"{type(self).__name__} has no formula. Define rule(self, step, weight, gradient, "
            f"*slots), which returns the new weight followed by the new slots."
        )

    def in_place(self, step: Step) -> list[backend.InPlace] | None:
        """The rule as steps in place, where it comes down to some; None where it does not.

        PyTorch carries them out for all weights at once, and TensorFlow where one of its kernels is
        just these steps. They must say what `rule` says; those of a base class are left alone where
        a subclass has a `rule`, `scalars` or `slots` of its own.

        Returns:
            Steps in their order, of `keras_optim_losses.backend`: `Sum(target, a, source, b)`,
            which is `target ← a·target + b·source`; `Squares`, the step of AdaGrad and RMSProp;
            `Moments`, Adam's. Tensors are named as in `slots`, or `"weight"` and `"gradient"`.
        """
        return None

    # State

    def build(self, variables: Iterable[Any]) -> None:
        """Make the state for these weights. Again with the same weights, it changes nothing.

        Raises:
            ValueError: the optimizer belongs to other weights already, these are none that can be
                trained, or state that was loaded before does not fit them.
        """
        variables = arguments.listed("variables", variables, "weights")
        keys = [backend.key(variable) for variable in variables]
        if not self.built:
            checks.trainable(variables)
            checks.once(variables, keys)
        else:
            if set(keys) != set(self._weights):
                raise ValueError(
                    f"This {type(self).__name__} was built for {len(self._weights)} other weights, "
                    f"and cannot be built again for these {len(keys)}. {checks.ANOTHER}"
                )
            return
        checks.slots(self)
        self._weights.clear()
        paths = [_path(variable) for variable in variables]
        for key, variable in zip(keys, variables):
            dtype = at_least_float32(_dtype(variable))
            decays = bool(self.weight_decay) and not self._excluded(variable, paths)
            self._weights[key] = Weight(variable, dtype, decays)
        if self._promised is not None:
            self._promised.check(self._identity())
        super().build(variables)
        # The averages and accumulators have just been made by Keras, through the method below.
        for weight in self._weights.values():
            if weight.overwritten:
                continue
            for slot in self.slots:
                self.add_variable_from_reference(weight.variable, slot)
            if has_copy(self, weight):
                self.add_variable_from_reference(weight.variable, "float32_copy")
        self._restored.clear()
        self.measure(self._norms)

    def add_variable_from_reference(
        self, reference_variable: Any, name: str | None = None, initializer: Any = "zeros"
    ) -> Any:
        """Make state like a weight, but float32 or better, and under the weight's name.

        Args:
            reference_variable: one of the weights that `build` was given.
            name: the slot's name.
            initializer: overridden by the value that `slots` gives, or that a file held.

        Returns:
            A `keras.Variable`.
        """
        name = name or "var"
        index = list(self._weights).index(backend.key(reference_variable))
        weight = self._weights[backend.key(reference_variable)]
        restored = self._restored.get(f"{index}.{name}")
        # Values are given by initializers: an assignment here would be lost inside a `tf.function`.
        if restored is not None:
            initializer = lambda shape, dtype: ops.convert_to_tensor(restored, dtype=dtype)  # noqa: E731
        elif isinstance(self.slots, Mapping) and name in self.slots:
            value = self.slots[name]
            # Not `keras.initializers.Constant`, whose 0.1 is the float32 one also in float64.
            initializer = lambda shape, dtype: ops.convert_to_tensor(np.full(shape, value, dtype))  # noqa: E731
        with backend.placement(reference_variable) as layout:
            weight.state[name] = self.add_variable(
                shape=reference_variable.shape,
                initializer=initializer,
                dtype=weight.dtype,
                layout=layout,
                name=f"{_path(reference_variable).replace('/', '_').replace(':', '_')}_{name}",
            )
        return weight.state[name]

    def measure(self, norms: Norms | None) -> None:
        """Measure gradients and updates from now on; with None, no more.

        A training step that is compiled already has to be compiled again.

        Args:
            norms: takes the sums. It is no part of what is saved.
        """
        object.__setattr__(self, "_norms", norms)
        if norms is not None and self.built:
            norms.build([w for w in self._weights.values() if not w.overwritten])

    @property
    def norms(self) -> Norms | None:
        """What `measure` was given last."""
        return self._norms

    @property
    def variables(self) -> list[Any]:
        """All state, and what `measure` fills: a compiled step on JAX must return it too."""
        sums = None if self._norms is None else self._norms.variable
        return super().variables + ([] if sums is None else [sums])

    @property
    def _calls(self) -> Any:
        # Keras counts calls of `apply` here and nowhere else; its public `iterations` are updates.
        return self._iterations

    def _named_variables(self) -> dict[str, Any]:
        """All state by a name that does not depend on the names of layers."""
        named = {"iteration": self._calls}
        if self._exact_rate is not None:
            named["learning_rate"] = self._learning_rate
        for i, weight in enumerate(self._weights.values()):
            named |= {f"{i}.{slot}": variable for slot, variable in weight.state.items()}
        known = {id(variable) for variable in named.values()}
        others = [variable for variable in super().variables if id(variable) not in known]
        return named | {f"variable.{i}": variable for i, variable in enumerate(others)}

    def _identity(self) -> Identity:
        """What tells this state from that of others, known before any of it is made."""
        shared = {"learning_rate": self._exact_rate, "skipped_updates": self._skipped}
        entries: dict[str, list[int]] = {}
        for i, weight in enumerate(self._weights.values()):
            names = ["gradient_accumulator"] if self.gradient_accumulation_steps else []
            if not weight.overwritten:
                names += [*self.slots, *(["average"] if self.use_ema else [])]
                names += ["float32_copy"] if has_copy(self, weight) else []
            entries |= {f"{i}.{name}": list(weight.variable.shape) for name in names}
        return Identity(
            keras.saving.get_registered_name(type(self)),
            [name for name, made in shared.items() if made is not None],
            [list(weight.variable.shape) for weight in self._weights.values()],
            entries,
        )

    def _identity_text(self) -> str:
        return self._identity().text()

    def _check_identity(self, saved: Identity | str) -> None:
        """Raise where saved state is not that of this optimizer, or let `build` do it."""
        saved = Identity.of_text(saved) if isinstance(saved, str) else saved
        own = self._identity()
        if not self.built:
            object.__setattr__(self, "_promised", saved if saved.weights else None)
            own = own._replace(weights=saved.weights, entries=saved.entries)
        # Before its first step an optimizer has no state, and may take the place of none.
        if saved.weights or int(np.asarray(self._calls)) > 0:
            saved.check(own)

    def save_own_variables(self, store: Any) -> None:
        """Put all state into `store`, an h5 group or the like, by name."""
        store["identity"] = np.frombuffer(self._identity_text().encode(), "uint8")
        for name, variable in self._named_variables().items():
            store[name] = np.asarray(variable)

    def load_own_variables(self, store: Any) -> None:
        """Take all state from `store`; before `build`, keep it until then.

        Raises:
            ValueError: the state is damaged, or that of another optimizer or other weights. Nothing
                is changed.
        """
        names = set(store.keys())
        if not names:
            warnings.warn(
                f"The file holds no optimizer state; this {type(self).__name__} keeps its own.",
                stacklevel=2,
            )
            return
        if "identity" not in names:
            raise ValueError(
                "The saved state was not written by an optimizer of keras_optim_losses and cannot "
                "be checked. Compile after loading the weights to start with fresh state."
            )
        saved = {name: np.asarray(store[name]) for name in names}
        identity = Identity.of_text(saved.pop("identity").tobytes())
        checks.saved(saved)
        # By name, shared state is found also where there is more or less of it.
        entries = {name: list(saved[name].shape) for name in saved if name[0].isdigit()}
        self._check_identity(identity._replace(shared=self._identity().shared, entries=entries))
        if not self.built:
            self._restored.update(saved)
        for name, variable in self._named_variables().items():
            if name in saved:
                variable.assign(saved[name])

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Set all state from arrays in the order of `variables`.

        Raises:
            ValueError: the optimizer is not built, or number or shapes differ. Nothing is changed.
        """
        if not self.built:
            raise ValueError(
                "`set_weights` needs the optimizer's state: call build(model.trainable_variables)."
            )
        weights = arguments.listed("weights", weights, "arrays, one for each of `variables`")
        shapes = [tuple(variable.shape) for variable in self.variables]
        given = [tuple(np.shape(weight)) for weight in weights]
        if shapes != given:
            raise ValueError(
                f"`weights` must be {len(shapes)} arrays, one for each of `variables`, of shapes "
                f"{shapes}. Received {len(given)} of shapes {given}."
            )
        for variable, weight in zip(self.variables, weights):
            variable.assign(weight)

    # Learning rate and decay

    @property
    def learning_rate(self) -> Any:
        """η of the next update: a variable, or what the schedule or function gives."""
        return keras.optimizers.Optimizer.learning_rate.fget(self)

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        exact_rate = None
        if not ops.is_tensor(value):
            value = arguments.rate("learning_rate", value)
        elif tuple(value.shape) != ():
            raise ValueError(
                f"`learning_rate` must be a scalar. Received: a tensor of shape "
                f"{tuple(value.shape)}"
            )
        if not callable(value):
            if not isinstance(self._learning_rate, keras.Variable):
                raise ValueError(
                    "`learning_rate` cannot be set to a number where a schedule or a function "
                    f"gives it. Received: learning_rate={value!r}. Set it to another schedule or "
                    "function, or make an optimizer with a number."
                )
            # Later, what is compiled and what is saved know the number of the variable alone.
            exact_rate = value if isinstance(value, float) and not self.built else self._exact_rate
        keras.optimizers.Optimizer.learning_rate.fset(self, value)
        self._exact_rate = exact_rate

    def _rate(self, dtype: str) -> Any:
        if isinstance(self._learning_rate, keras.Variable) and self._learning_rate.dtype == dtype:
            return backend.number(self._learning_rate)
        rate = arguments.tensor("What `learning_rate` gives", self.learning_rate)
        if tuple(rate.shape) != ():
            raise ValueError(
                f"What `learning_rate` gives must be a scalar. Received: shape {tuple(rate.shape)}"
            )
        rate_dtype = keras.backend.standardize_dtype(rate.dtype)
        cast = ops.cast(rate, dtype)
        if rate_dtype == dtype or self._exact_rate is None:
            return backend.number(cast)
        # The variable holds a rounded number; as long as it is the one that was given, use that.
        rounded = ops.convert_to_tensor(np.asarray(self._exact_rate, rate_dtype))
        exact = ops.convert_to_tensor(np.asarray(self._exact_rate, dtype))
        return backend.number(ops.where(ops.equal(rate, rounded), exact, cast))

    def exclude_from_weight_decay(
        self, var_list: Sequence[Any] | None = None, var_names: Sequence[str] | None = None
    ) -> None:
        """Leave some weights out of the weight decay. It is saved with the configuration.

        Args:
            var_list: weights to leave out.
            var_names: regular expressions; weights whose path (`"model/dense/bias"`) has a match
                are left out, on every backend.

        Raises:
            ValueError: the optimizer is built already, or these are no weights or no expressions.
        """
        if self.built:
            raise ValueError(
                "`exclude_from_weight_decay` must be called before the optimizer is built, that is "
                "before the first training step."
            )
        given = [] if var_list is None else arguments.listed("var_list", var_list, "weights")
        names = [] if var_names is None else arguments.listed("var_names", var_names, "expressions")
        checks.trainable(given)
        for pattern in names:
            try:
                re.compile(pattern)
            except (TypeError, re.error) as error:
                raise ValueError(
                    f"`var_names` must hold regular expressions. Received: {pattern!r} ({error})"
                ) from error
        self._no_decay = {"paths": [_path(variable) for variable in given], "patterns": names}

    def _excluded(self, variable: Any, paths: list[str]) -> bool:
        """Whether a weight does not decay; `paths` are those of all weights."""
        path = _path(variable)
        named = self._no_decay["paths"]
        # The weights of a loaded Sequential model have lost the first part of their path.
        shorter = [name.partition("/")[2] for name in named if name not in paths]
        return (
            path in named
            or path in shorter
            or any(re.search(pattern, path) for pattern in self._no_decay["patterns"])
        )

    # One update

    def apply_gradients(self, grads_and_vars: Iterable[tuple[Any, Any]]) -> Any:
        """`apply` for pairs of a gradient and its weight, as in `tf.keras`.

        Returns:
            The count of calls.
        """
        pairs = arguments.listed("grads_and_vars", grads_and_vars, "pairs (gradient, weight)")
        wrong = [pair for pair in pairs if not isinstance(pair, (tuple, list)) or len(pair) != 2]
        if wrong:
            raise ValueError(
                f"`grads_and_vars` must hold pairs (gradient, weight), as zip(grads, weights) "
                f"makes. Received: {type(wrong[0]).__name__} among them"
            )
        self.apply([gradient for gradient, _ in pairs], [weight for _, weight in pairs])
        return self._calls

    def apply(self, grads: Iterable[Any], trainable_variables: Iterable[Any] | None = None) -> None:
        """Update the weights by their gradients.

        Args:
            grads: gradients, tensors of the weights' shapes. None leaves a weight as it is.
            trainable_variables: the weights, one for each gradient. By default those that the
                optimizer was built with.

        Raises:
            ValueError: gradients and weights do not match in number or shape, or a weight is
                unknown. Nothing is changed.
        """
        grads = arguments.listed("grads", grads, "gradients, one for each weight")
        if not grads:
            return
        if trainable_variables is None and not self.built:
            raise ValueError(
                "`apply` needs the weights with the first gradients: call "
                "apply(grads, trainable_variables), or build(trainable_variables) before."
            )
        if trainable_variables is None:
            variables = [weight.variable for weight in self._weights.values()]
        else:
            variables = arguments.listed("trainable_variables", trainable_variables, "weights")
        given = self._checked(grads, variables)
        with keras.name_scope(self.name):
            if not self.built:
                self.build(variables)
            pairs = []
            for key, gradient in given.items():
                weight = self._weights[key]
                if weight.overwritten:
                    self._overwrite(gradient, weight)
                else:
                    pairs.append((gradient, weight))
            if pairs:
                self._accumulate_and_update(pairs)
        self._count(1)

    def _count(self, calls: Any) -> None:
        """Count calls of `apply`, up to `LAST_CALL`.

        There the count steps back by whole cycles, so that accumulation and overwriting, which go
        by its remainders, stay in time, and by some 65,536, so that random rounding, which goes by
        the count, stays random. All else has long converged: 1 − βᵗ is 1.
        """
        cycle = self.gradient_accumulation_steps or 1
        updates = self.ema_overwrite_frequency or 1
        if cycle * updates <= LAST_CALL:  # otherwise the weights are never overwritten
            cycle *= updates
        back = cycle * max(1, 2**16 // cycle)
        count = backend.number(self._calls)
        full = count // (LAST_CALL + 1 - calls)  # 1 where the limit is passed, and else 0
        backend.set_number(self._calls, count + (calls - back * full))

    def _checked(self, grads: list[Any], variables: list[Any]) -> dict[Any, Any]:
        """Gradients by the keys of their weights, where there is a gradient."""
        keys = tuple(map(backend.key, variables))
        # For hundreds of small weights all that follows would take longer than the update.
        if keys in self._passed and backend.are_plain(grads, self._passed[keys]):
            return dict(zip(keys, grads))
        if len(grads) != len(variables):
            raise ValueError(
                f"`grads` must hold one gradient for each weight. Received {len(grads)} gradients "
                f"for {len(variables)} weights."
            )
        if not self.built:
            checks.trainable(variables)
        elif not self._weights.keys() >= set(keys):
            for variable in variables:
                self._weight_of(variable)
        checks.once(variables, keys)
        missing = [_path(v) for gradient, v in zip(grads, variables) if gradient is None]
        if len(missing) == len(grads):
            raise ValueError(
                "`grads` holds no gradient for any weight. Does the loss depend on the weights?"
            )
        if missing:
            warnings.warn(
                f"There is no gradient for {missing}; these weights stay as they are. Does the "
                f"loss depend on them?",
                stacklevel=3,
            )
        if self.built:
            self._passed[keys] = [tuple(variable.shape) for variable in variables]
        return {
            key: checks.gradient(gradient, variable)
            for key, gradient, variable in zip(keys, grads, variables)
            if gradient is not None
        }

    def _weight_of(self, variable: Any) -> Weight:
        weight = self._weights.get(backend.key(variable))
        if weight is None:
            checks.trainable([variable])
            raise ValueError(
                f"Unknown weight {_path(variable)}: this {type(self).__name__} was built for "
                f"{len(self._weights)} others. {checks.ANOTHER}"
            )
        return weight

    def _overwrite(self, gradient: Any, weight: Weight) -> None:
        """The weight's new value is its gradient (float8 training keeps its scales so)."""
        gradient = backend.dense(gradient, weight.variable)
        if self.gradient_accumulation_steps:
            accumulator = weight.state["gradient_accumulator"]
            complete = self._completes_cycle()
            largest = ops.maximum(ops.cast(gradient, weight.dtype), accumulator)
            gradient = ops.where(complete, largest, ops.cast(weight.variable, weight.dtype))
            accumulator.assign(ops.where(complete, ops.zeros_like(largest), largest))
        weight.variable.assign(ops.cast(gradient, _dtype(weight.variable)))

    def _completes_cycle(self) -> Any:
        return ops.equal((self._calls + 1) % self.gradient_accumulation_steps, 0)

    def _accumulate_and_update(self, pairs: list[tuple[Any, Weight]]) -> None:
        weights = [weight for _, weight in pairs]
        gradients = backend.reduced(
            [gradient for gradient, _ in pairs], [weight.dtype for weight in weights]
        )
        if self.gradient_accumulation_steps:
            entries = [
                ((w.state["gradient_accumulator"],), (g,)) for w, g in zip(weights, gradients)
            ]
            if "accumulate" not in self._updates:
                self._updates["accumulate"] = backend.Update(
                    functools.partial(accumulated, self), by_rows=True
                )
            self._updates["accumulate"]({}, entries)
            # No `ops.cond`: under a distribution strategy an update cannot run inside one.
            self._update(weights, None, self._completes_cycle(), self.gradient_accumulation_steps)
        else:
            self._update(weights, gradients)

    def flush_accumulated_gradients(self) -> None:
        """Make an update from the gradients that wait for their accumulation cycle to fill.

        The batches of a `fit` rarely fill the last cycle. Called after it, this applies the mean of
        those that wait, and the next cycle starts afresh; with none waiting it does nothing. The
        count of calls, by which schedules go, moves on to the end of the cycle.
        """
        steps = self.gradient_accumulation_steps
        if not steps or not self.built:
            return
        waiting = self._calls % steps
        complete = ops.greater(waiting, 0)
        weights = [weight for weight in self._weights.values() if not weight.overwritten]
        self._update(weights, None, complete, ops.maximum(waiting, 1))
        self._count(ops.where(complete, steps - waiting, ops.zeros_like(waiting)))

    @property
    def skipped_updates(self) -> Any:
        """How many updates `skip_nonfinite` has left out: a variable, or 0 without it."""
        return 0 if self._skipped is None else self._skipped

    def _step_scalars(self, dtype: str, complete: Any, count: Any) -> dict[str, Any]:
        """What all weights of a type share in this update, computed once."""
        t = backend.number(self.iterations) + 1
        if self.skip_nonfinite:
            t = t - self._skipped
        values = {"learning_rate": self._rate(dtype), "t": backend.number(t, dtype)}
        if type(self).scalars is not Optimizer.scalars:
            values |= self.scalars(Step(**backend.as_tensors(values, dtype)))
        if self.weight_decay:
            values["decay"] = values["learning_rate"] * self.weight_decay
        if self.use_ema:
            # a ← μa + (1 − μ)w, and a ← w at the first update
            first = ops.cast(ops.equal(t, 1), dtype)
            values["average_kept"] = self.ema_momentum * (1 - first)
            values["average_new"] = (1 - self.ema_momentum) * (1 - first) + first
            if self.ema_overwrite_frequency:
                # By the integer: as a float32, t is even from 2²⁴ on.
                values["overwrite"] = ops.equal(t % self.ema_overwrite_frequency, 0)
        if count is not None:
            values |= {"complete": complete, "count": ops.cast(count, dtype)}
        if self.stochastic_rounding:
            values["salt"] = mixed(ops.cast(self._calls, "int32"))
        return values

    def _update(
        self,
        weights: list[Weight],
        gradients: list[Any] | None,
        complete: Any = True,
        count: Any = None,
    ) -> None:
        """Make one update.

        Args:
            weights: those that have a gradient.
            gradients: theirs; None for the accumulated ones.
            complete: whether the accumulation cycle is; if not, nothing changes.
            count: of the calls whose gradients have been accumulated.
        """
        dtypes = dict.fromkeys(weight.dtype for weight in self._weights.values())
        scalars = {dtype: self._step_scalars(dtype, complete, count) for dtype in dtypes}
        if gradients is None:
            accumulated = [weight.state["gradient_accumulator"] for weight in weights]
            given = [ops.convert_to_tensor(accumulator) for accumulator in accumulated]
        else:
            given = gradients
        pairs = [(gradient, weight.dtype) for gradient, weight in zip(given, weights)]
        factors = clipping.factors(self, pairs, count)
        made = complete
        if self.skip_nonfinite:
            finite = functools.reduce(ops.logical_and, map(backend.all_finite, given))
            for values in scalars.values():
                values["finite"] = finite
            left_out = ops.logical_and(complete, ops.logical_not(finite))
            self._skipped.assign_add(ops.cast(left_out, self._skipped.dtype))
            made = ops.logical_and(complete, finite)
        before = None
        if self._norms is not None:
            divisor = count if count is not None else self.loss_scale_factor or 1.0
            before = self._norms.before(dict(zip(map(id, weights), given)), divisor)
        for recipe, update, members in self._plan(weights, gradients, scalars):
            whole = not self.elementwise or recipe.constraint is not None
            entries: list[tuple[list[Any], list[Any]]] = []
            for variables, i in members:
                if i is None:
                    entries.append((variables, []))
                    continue
                inputs = [] if gradients is None else [gradients[i]]
                if whole and inputs:
                    inputs = [backend.dense(inputs[0], variables[0])]
                entries.append((variables, inputs + factors[i : i + 1]))
            update(scalars[recipe.dtype], entries)
        if before is not None:
            self._norms.after(before, made)

    def _plan(
        self,
        weights: list[Weight],
        gradients: list[Any] | None,
        scalars: dict[str, dict[str, Any]],
    ) -> list[tuple[Recipe, Any, list[tuple[list[Any], int | None]]]]:
        """Which weights are updated together and how, in the order in which it must be done.

        It is the same in every step, and made once: for hundreds of small weights, making it costs
        more than the update does.

        Returns:
            Recipes, each with its `backend.Update` and its members: a weight with its state, and
            the number of its gradient, if it has one.
        """
        by_rows = [isinstance(gradient, backend.Rows) for gradient in gradients or ()]
        constraints = [id(weight.variable.constraint) for weight in weights]
        key = (*map(id, weights), *by_rows, *constraints, gradients is None)
        if key in self._updates:
            return self._updates[key]
        numbers = {id(weight): i for i, weight in enumerate(weights)}
        groups: dict[Recipe, list[tuple[list[Any], int | None]]] = {}
        for weight in self._weights.values():
            i = numbers.get(id(weight))
            sparse = i is not None and gradients is not None and by_rows[i]
            for recipe in recipes(self, weight, i is not None, sparse):
                variables = [weight.variable, *state_of(self, weight, recipe)]
                member = (variables, i if recipe.has_gradient else None)
                groups.setdefault(recipe, []).append(member)
        plan = []
        for recipe in sorted(groups, key=lambda recipe: not recipe.has_gradient):
            update = backend.Update(
                functools.partial(updated, self, recipe),
                elementwise=self.elementwise and recipe.constraint is None,
                by_rows=recipe.by_rows,
                compiled=recipe.constraint is None,
                in_place=in_place(self, recipe, scalars[recipe.dtype]),
            )
            plan.append((recipe, update, groups[recipe]))
        self._updates[key] = plan
        return plan

    def stateless_apply(
        self,
        optimizer_variables: Sequence[Any],
        grads: Sequence[Any],
        trainable_variables: Sequence[Any],
    ) -> tuple[list[Any], list[Any]]:
        """`apply` as a pure function (JAX, PyTorch): new weights and new optimizer variables.

        Args:
            optimizer_variables: tensors for `variables`.
            grads: gradients, one for each weight.
            trainable_variables: tensors for the weights.

        Raises:
            ValueError: the optimizer is not built, or number or shapes of what is given are not
                those of its weights and state.
        """
        if not self.built:
            raise ValueError(
                "`stateless_apply` needs the optimizer's state: call "
                "build(model.trainable_variables) first."
            )
        weights = [weight.variable for weight in self._weights.values()]
        checks.like("trainable_variables", trainable_variables, weights)
        checks.like("optimizer_variables", optimizer_variables, self.variables)
        return super().stateless_apply(
            backend.owned(optimizer_variables), grads, backend.owned(trainable_variables)
        )

    def finalize_variable_values(self, var_list: Iterable[Any]) -> None:
        """With `use_ema`, set the weights to their average. `fit` calls it at its end.

        Raises:
            ValueError: none of these weights is the optimizer's: on JAX, whose compiled step sees
                no more than arrays, it comes to light here that a model has trained with the
                optimizer of another.
        """
        variables = list(var_list)
        known = [v for v in variables if backend.key(v) in self._weights]
        if self.built and variables and not known:
            self._weight_of(variables[0])
        if not self.use_ema:
            return
        entries = [
            ((variable, self._weight_of(variable).state["average"]), ())
            for variable in known
            if "average" in self._weight_of(variable).state
        ]

        def averaged(scalars: Any, old: list[Any], inputs: Sequence[Any]) -> list[Any]:
            # A copy: on JAX a buffer that two variables share is lost with the next training step.
            return [ops.cast(ops.copy(old[1]), _dtype(old[0]))]

        if "finalize" not in self._updates:
            self._updates["finalize"] = backend.Update(averaged)
        if entries:
            self._updates["finalize"]({}, entries)

    # Configuration

    @staticmethod
    def _shared_names() -> list[str]:
        return arguments.constructor_names(Optimizer, keras.optimizers.Optimizer)

    def get_config(self) -> dict[str, Any]:
        """Everything that was configured, as plain Python values."""
        config = super().get_config()
        if self._exact_rate is not None:
            variable = float(np.asarray(self.learning_rate))
            rounded = float(np.asarray(self._exact_rate, _dtype(self.learning_rate)))
            # The number that was given, and not its nearest float32, unless it has changed since.
            config["learning_rate"] = self._exact_rate if variable == rounded else variable
        own = ["lazy", "skip_nonfinite", "stochastic_rounding"]
        own += arguments.constructor_names(type(self), Optimizer)
        config |= arguments.kept(self, [name for name in own if name not in config])
        if any(self._no_decay.values()):
            config["exclude_from_weight_decay"] = {k: list(v) for k, v in self._no_decay.items()}
        return config

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None
    ) -> Optimizer:
        """Make an optimizer from `get_config()`."""
        config = arguments.configuration(cls.__name__, config)
        excluded = config.pop("exclude_from_weight_decay", None) or {}
        if not isinstance(excluded, Mapping) or not set(excluded) <= {"paths", "patterns"}:
            raise ValueError(
                f"`exclude_from_weight_decay` in a configuration must be a dictionary of `paths` "
                f"and `patterns`. Received: {excluded!r}"
            )
        optimizer = super().from_config(config, custom_objects=custom_objects)
        optimizer._no_decay |= {name: list(values) for name, values in excluded.items()}
        return optimizer
