"""Thirty mistakes that people make, seeded into set-ups that are otherwise right.

Each gives a compiled model, what goes to `check` after it, and the rule that should see it; None
where nothing in one batch tells, so that the catch rate is an honest one.
"""

import keras
import numpy as np
from keras import layers, ops

from keras_optim_losses import losses
from tests.losses.advice.right import (
    classes,
    compiled,
    dense,
    fully_convolutional,
    images,
    rng,
    vectors,
)

MISTAKES = {}


def mistake(rule):
    def add(function):
        MISTAKES[function.__name__] = (function, rule)
        return function

    return add


# The end of the model


@mistake("activation-twice")
def softmax_and_from_logits():
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    return compiled(dense(10, activation="softmax"), loss), vectors(), classes(10, 64)


@mistake("activation-twice")
def sigmoid_and_from_logits():
    loss = losses.BinaryCrossentropy(from_logits=True)
    return compiled(dense(1, activation="sigmoid"), loss), vectors(), classes(2, 64)


@mistake("from-logits-missing")
def logits_as_probabilities_of_classes():
    return compiled(dense(10), "sparse_categorical_crossentropy"), vectors(), classes(10, 64)


@mistake("from-logits-missing")
def logits_as_a_probability():
    model = compiled(dense(1), keras.losses.BinaryCrossentropy())
    return model, vectors(), classes(2, 64)


@mistake("from-logits-missing")
def logits_of_a_subclass():
    class Classifier(keras.Model):
        def __init__(self):
            super().__init__()
            self.last = layers.Dense(5)

        def call(self, x):
            return self.last(x)

    loss = losses.CategoricalCrossentropy()
    return compiled(Classifier(), loss), vectors(), np.eye(5)[classes(5, 64)]


@mistake("one-unit")
def softmax_over_one_unit():
    model = compiled(dense(1, activation="softmax"), "binary_crossentropy")
    return model, vectors(), classes(2, 64)


@mistake("softmax-with-binary")
def classes_by_binary_crossentropy():
    model = compiled(dense(5, activation="softmax"), "binary_crossentropy")
    return model, vectors(), np.eye(5)[classes(5, 64)]


@mistake("sigmoid-with-categorical")
def classes_by_sigmoid():
    model = compiled(dense(5, activation="sigmoid"), "sparse_categorical_crossentropy")
    return model, vectors(), classes(5, 64)


@mistake("squared-error-of-classes")
def classes_by_squared_error():
    return compiled(dense(5, activation="softmax"), "mse"), vectors(), np.eye(5)[classes(5, 64)]


@mistake("targets-out-of-reach")
def pictures_of_8_bits_behind_tanh():
    return compiled(fully_convolutional(1, "tanh"), "mse"), images(), 255 * images()


@mistake("targets-out-of-reach")
def temperatures_behind_relu():
    y = rng().normal(size=(64, 1))
    return compiled(dense(1, activation="relu"), keras.losses.MeanAbsoluteError()), vectors(), y


# Labels


@mistake("label-out-of-range")
def classes_counted_from_1():
    model = compiled(dense(10, activation="softmax"), "sparse_categorical_crossentropy")
    return model, vectors(), 1 + classes(10, 64)


@mistake("label-out-of-range")
def padding_of_minus_100():
    model = keras.Sequential(
        [keras.Input((6,), dtype="int32"), layers.Embedding(20, 4), layers.Dense(5)]
    )
    y = classes(5, 32, 6)
    y[:, 4:] = -100
    loss = losses.SparseCategoricalCrossentropy(from_logits=True)
    return compiled(model, loss), classes(20, 32, 6), y


@mistake("label-out-of-range")
def a_class_too_many_in_the_last_samples():
    y = classes(10, 6400)
    y[-3] = 10
    model = compiled(dense(10), losses.SparseCategoricalCrossentropy(from_logits=True))
    return model, vectors(6400), y


@mistake("sparse-labels")
def integers_for_one_hot_rows():
    model = compiled(dense(3, activation="softmax"), "categorical_crossentropy")
    return model, vectors(), classes(3, 64)


@mistake("one-hot-labels")
def one_hot_rows_for_integers():
    loss = losses.SparseCategoricalCrossentropy(from_logits=True)
    return compiled(dense(3), loss), vectors(), np.eye(3)[classes(3, 64)]


@mistake("fractional-labels")
def half_stars_as_classes():
    model = compiled(dense(6, activation="softmax"), "sparse_categorical_crossentropy")
    return model, vectors(), classes(11, 64) / 2


@mistake("labels-outside-0-1")
def a_mask_of_0_and_255():
    model = compiled(fully_convolutional(1, "sigmoid"), "binary_crossentropy")
    return model, images(), 255 * (images() > 0.7)


@mistake("labels-outside-0-1")
def signs_for_binary_crossentropy():
    loss = losses.BinaryCrossentropy(from_logits=True)
    return compiled(dense(1), loss), vectors(), 2 * classes(2, 64) - 1


@mistake("labels-outside-0-1")
def standardized_pictures_by_binary_crossentropy():
    model = compiled(fully_convolutional(1, "sigmoid"), "binary_crossentropy")
    return model, images(), rng().normal(size=(8, 8, 8, 1))


@mistake("multi-label-rows")
def several_tags_by_softmax():
    y = (rng().random((64, 6)) < 0.4).astype("float32")
    return compiled(dense(6, activation="softmax"), "categorical_crossentropy"), vectors(), y


@mistake("labels-not-finite")
def missing_prices():
    y = rng().uniform(1, 9, 640)
    y[500] = np.nan
    return compiled(dense(1), "mse"), vectors(640), y


# Shapes


@mistake("shapes-differ")
def a_squared_error_that_broadcasts():
    return compiled(dense(3), "mse"), vectors(), rng().normal(size=(64, 1))


@mistake("shapes-differ")
def a_value_for_each_step():
    model = keras.Sequential(
        [keras.Input((6, 2)), layers.LSTM(3, return_sequences=True), layers.Dense(1)]
    )
    return compiled(model, "mse"), np.ones((32, 6, 2)), rng().normal(size=(32,))


@mistake("fractional-labels")
def labels_of_two_outputs_swapped():
    inputs = keras.Input((4,))
    outputs = [layers.Dense(1, name="age")(inputs), layers.Dense(2, name="gender")(inputs)]
    loss = ["mae", keras.losses.SparseCategoricalCrossentropy(from_logits=True)]
    y = [classes(2, 64), rng().uniform(0, 1, 64)]
    return compiled(keras.Model(inputs, outputs), loss), vectors(), y


# What goes with the loss


@mistake("class-weight-of-many")
def class_weight_for_several_tags():
    y = (rng().random((64, 6)) < 0.4).astype("float32")
    model = compiled(dense(6, activation="sigmoid"), "binary_crossentropy")
    return model, vectors(), y, {"class_weight": {i: 1.0 + i for i in range(6)}}


@mistake("threshold-of-logits")
def accuracy_of_logits():
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    return compiled(dense(1), loss, metrics=["accuracy"]), vectors(), classes(2, 64)


# What one batch does not tell


@mistake(None)
def a_sigmoid_hidden_in_a_subclass():
    class Classifier(keras.Model):
        def __init__(self):
            super().__init__()
            self.last = layers.Dense(1)

        def call(self, x):
            return ops.sigmoid(self.last(x))

    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    return compiled(Classifier(), loss), vectors(), classes(2, 64)


@mistake(None)
def labels_shuffled_apart_from_the_inputs():
    model = compiled(dense(3, activation="softmax"), "sparse_categorical_crossentropy")
    return model, vectors(), rng().permutation(classes(3, 64))


@mistake(None)
def prices_that_should_be_scaled():
    return compiled(dense(1), "mse"), vectors(), rng().uniform(1e5, 9e5, 64)
