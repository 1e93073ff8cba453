"""Names, configurations and instances, as a user may give them."""

import keras
import pytest

from keras_optim_losses import losses, optimizers

KINDS = [(optimizers, optimizers.RMSprop), (losses, losses.MeanSquaredError)]


@pytest.mark.parametrize("module, cls", KINDS)
def test_every_way_to_say_it(module, cls):
    name = cls.__name__
    for way in (name, name.lower(), name.upper(), f"keras_optim_losses>{name}"):
        assert type(module.get(way)) is cls
    snake = "mean_squared_error" if cls is losses.MeanSquaredError else "rms_prop"
    assert type(module.get(snake)) is cls
    instance = cls(name="mine")
    assert module.get(instance) is instance
    assert module.get(keras.saving.serialize_keras_object(instance)).name == "mine"


@pytest.mark.parametrize("module, cls", KINDS)
@pytest.mark.parametrize("what", ["nonsense", "keras>Adam", 3, None, {"no": "class"}])
def test_what_is_unknown_lists_what_is_known(module, cls, what):
    with pytest.raises(ValueError, match=cls.__name__):
        module.get(what)


@keras.saving.register_keras_serializable("mine")
class Still(optimizers.Optimizer):
    def rule(self, step, weight, gradient):
        return weight


def test_a_class_of_ones_own():
    assert type(optimizers.get("mine>Still")) is Still
    assert type(optimizers.get(keras.saving.serialize_keras_object(Still()))) is Still


@pytest.mark.parametrize("module, cls", KINDS)
def test_every_exported_class_is_registered(module, cls):
    for name in module.__all__:
        if name not in ("get", "recommend", "check"):  # which no file holds
            registered = keras.saving.get_registered_name(getattr(module, name))
            assert registered == f"keras_optim_losses>{name}"
