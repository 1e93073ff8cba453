"""One name for every class: how Keras finds it in a file, and how `get` finds it for a user."""

from __future__ import annotations

from typing import Any

import keras

from keras_optim_losses import arguments

PACKAGE = "keras_optim_losses"

register = keras.saving.register_keras_serializable(package=PACKAGE)


def _plain(name: str) -> str:
    """`"keras_optim_losses>RMSprop"`, `"rmsprop"` and `"RMS_prop"` are one name."""
    return name.removeprefix(f"{PACKAGE}>").replace("_", "").lower()


def get(identifier: Any, kind: str, known: list[Any], base: type) -> Any:
    """Turn a name, a config dictionary or an instance into an instance.

    Args:
        identifier: what the user gave.
        kind: `"optimizer"` or `"loss"`, for the error.
        known: the classes that can be named.
        base: the Keras class that an instance must have.

    Raises:
        ValueError: nothing is known by that name, or it is none of the three.
    """
    if isinstance(identifier, base):
        return identifier
    name: Any = identifier
    config: dict[str, Any] = {}
    if isinstance(identifier, dict) and "class_name" in identifier:
        name = identifier.get("registered_name") or identifier["class_name"]
        config = arguments.configuration(identifier["class_name"], identifier.get("config") or {})
    if isinstance(name, str):
        for cls in known:
            if _plain(cls.__name__) == _plain(name):
                return cls.from_config(dict(config))
        if keras.saving.get_registered_object(name) is not None:
            return keras.saving.deserialize_keras_object(
                {"module": None, "class_name": name, "config": config, "registered_name": name}
            )
    names = ", ".join(cls.__name__ for cls in known)
    raise ValueError(
        f"Unknown {kind}: {identifier!r}. Give an instance, a config dictionary "
        f"(`keras.saving.serialize_keras_object(…)`), or one of these names in any case: {names}."
    )
