"""Right set-ups in the manner of public Keras tutorials and examples: a check must be silent.

Each gives a compiled model and what goes to `check` after it. Models are as small as can be, with
the ends, losses, labels and metrics of the originals.
"""

import functools

import keras
import numpy as np
from keras import layers, ops

from keras_optim_losses import losses

SETUPS = {}


def setup(function):
    SETUPS[function.__name__] = function
    return function


def rng():
    return np.random.default_rng(7)


def compiled(model, loss, **arguments):
    model.compile(loss=loss, **arguments)
    return model


def dense(*units, activation=None, inputs=4):
    """A Sequential of Dense layers; the activation is that of the last."""
    *hidden, last = units
    middle = [layers.Dense(n, activation="relu") for n in hidden]
    end = layers.Dense(last, activation=activation)
    return keras.Sequential([keras.Input((inputs,)), *middle, end])


def vectors(samples=64, size=4):
    return rng().normal(size=(samples, size)).astype("float32")


def classes(count, *shape):
    """Every class occurs."""
    return rng().permutation(np.arange(int(np.prod(shape))) % count).reshape(shape)


def images(samples=8, size=8, channels=1):
    return rng().random((samples, size, size, channels)).astype("float32")


# Classification


@setup
def mnist_convnet():
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(2, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dropout(0.5),
            layers.Dense(10, activation="softmax"),
        ]
    )
    y = keras.utils.to_categorical(classes(10, 40), 10)
    return compiled(model, "categorical_crossentropy", metrics=["accuracy"]), images(40), y


@setup
def fashion_mnist_from_logits():
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model = compiled(dense(10), loss, metrics=["accuracy"])
    return model, vectors(), classes(10, 64).astype("uint8")


@setup
def cifar_labels_with_an_axis_of_one():
    model = compiled(dense(10, activation="softmax"), "sparse_categorical_crossentropy")
    return model, vectors(), classes(10, 64, 1)


@setup
def imdb_sigmoid():
    model = dense(1, activation="sigmoid")
    compiled(model, "binary_crossentropy", metrics=["accuracy"])
    return model, vectors(), classes(2, 64)


@setup
def text_classification_from_logits():
    model = keras.Sequential(
        [
            keras.Input((6,), dtype="int32"),
            layers.Embedding(20, 4, mask_zero=True),
            layers.Bidirectional(layers.LSTM(3)),
            layers.Dense(1),
        ]
    )
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    metrics = [
        keras.metrics.BinaryAccuracy(threshold=0.0, name="accuracy"),
        keras.metrics.AUC(from_logits=True),
    ]
    return compiled(model, loss, metrics=metrics), classes(20, 32, 6), classes(2, 32)


@setup
def cats_and_dogs_transfer_learning():
    base = keras.Sequential(
        [keras.Input((8, 8, 3)), layers.Conv2D(2, 3), layers.BatchNormalization()], name="base"
    )
    base.trainable = False
    inputs = keras.Input((8, 8, 3))
    x = base(layers.Rescaling(1 / 127.5, offset=-1)(inputs), training=False)
    x = layers.Dropout(0.2)(layers.GlobalAveragePooling2D()(x))
    model = keras.Model(inputs, layers.Dense(1)(x))
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    compiled(model, loss, metrics=[keras.metrics.BinaryAccuracy(threshold=0)])
    return model, 255 * images(8, channels=3), classes(2, 8)


@setup
def a_softmax_appended_for_predictions():
    model = keras.Sequential([dense(5), layers.Softmax()])
    return compiled(model, losses.SparseCategoricalCrossentropy()), vectors(), classes(5, 64)


@setup
def mixup_and_label_smoothing():
    y = 0.7 * np.eye(4)[classes(4, 64)] + 0.3 * np.eye(4)[classes(4, 64)[::-1]]
    loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1)
    return compiled(dense(4), loss, metrics=["accuracy"]), vectors(), y


@setup
def credit_card_fraud_with_class_weight():
    y = (np.arange(4000) % 100 == 0).astype("uint8")[:, None]
    model = compiled(
        dense(1, activation="sigmoid"),
        "binary_crossentropy",
        metrics=[keras.metrics.Precision(), keras.metrics.Recall()],
    )
    return model, vectors(4000), y, {"class_weight": {0: 0.5, 1: 50.0}}


@setup
def two_classes_by_softmax_and_binary_crossentropy():
    model = compiled(dense(2, activation="softmax"), "binary_crossentropy")
    return model, vectors(), np.eye(2)[classes(2, 64)]


@setup
def a_hundred_classes_seen_unevenly():
    y = np.minimum(rng().geometric(0.03, 500) - 1, 99)
    return (
        compiled(dense(100, activation="softmax"), "sparse_categorical_crossentropy"),
        vectors(500),
        y,
    )


@setup
def mixed_precision_with_a_float32_end():
    model = keras.Sequential(
        [
            keras.Input((4,)),
            layers.Dense(300, dtype="mixed_float16"),
            layers.Activation("softmax", dtype="float32"),
        ]
    )
    return compiled(model, "sparse_categorical_crossentropy"), vectors(), classes(300, 64)


@setup
def a_softmax_in_half_precision():
    model = keras.Sequential(
        [keras.Input((4,)), layers.Dense(300, activation="softmax", dtype="mixed_bfloat16")]
    )
    return compiled(model, "sparse_categorical_crossentropy"), vectors(), classes(300, 64)


@setup
def the_name_crossentropy():
    model = compiled(dense(4, activation="softmax"), "crossentropy", metrics=["accuracy"])
    return model, vectors(), classes(4, 64)


@setup
def hinge_of_signs():
    model = compiled(dense(1, activation="tanh"), "hinge")
    return model, vectors(), 2 * classes(2, 64) - 1


@setup
def a_loss_in_a_partial_function():
    loss = functools.partial(keras.losses.sparse_categorical_crossentropy, from_logits=True)
    return compiled(dense(3), loss), vectors(), classes(3, 64)


# Multi-label


@setup
def multi_label_text():
    y = (rng().random((64, 6)) < 0.3).astype("float32")
    model = dense(6, activation="sigmoid")
    return compiled(model, "binary_crossentropy", metrics=["binary_accuracy"]), vectors(), y


@setup
def multi_label_with_weights_in_the_loss():
    y = (rng().random((64, 6)) < 0.3).astype("int32")
    loss = losses.BinaryCrossentropy(from_logits=True, pos_weight=3.0)
    return compiled(dense(6), loss), vectors(), y


# Regression


@setup
def boston_housing():
    return compiled(dense(1), "mse", metrics=["mae"]), vectors(), rng().uniform(5, 50, 64)


@setup
def auto_mpg_with_normalization():
    normalization = layers.Normalization()
    normalization.adapt(vectors())
    model = keras.Sequential([keras.Input((4,)), normalization, layers.Dense(1)])
    return compiled(model, "mean_absolute_error"), vectors(), rng().uniform(9, 46, (64, 1))


@setup
def weather_forecast():
    model = keras.Sequential([keras.Input((6, 2)), layers.LSTM(4), layers.Dense(1)])
    return (
        compiled(model, keras.losses.MeanSquaredError()),
        rng().normal(size=(32, 6, 2)),
        (rng().normal(size=(32,))),
    )


@setup
def bounding_boxes():
    model = compiled(dense(4, activation="sigmoid"), losses.MeanSquaredError())
    return model, vectors(), rng().random((64, 4))


@setup
def counts_by_poisson():
    model = compiled(dense(1, activation="exponential"), keras.losses.Poisson())
    return model, vectors(), rng().poisson(2.0, (64, 1))


@setup
def ratings_of_a_recommender():
    users, films = keras.Input((1,), dtype="int32"), keras.Input((1,), dtype="int32")
    product = layers.Dot(1)([layers.Flatten()(layers.Embedding(9, 3)(e)) for e in (users, films)])
    model = keras.Model([users, films], layers.Activation("sigmoid")(product))
    x = [classes(9, 64, 1), classes(9, 64, 1)]
    return compiled(model, "binary_crossentropy"), x, classes(6, 64) / 5.0


@setup
def q_values_by_huber():
    return compiled(dense(4), keras.losses.Huber()), vectors(), 5 * rng().normal(size=(64, 4))


# Segmentation, images


def fully_convolutional(filters, activation=None, channels=1):
    return keras.Sequential(
        [
            keras.Input((8, 8, channels)),
            layers.Conv2D(2, 3, padding="same", activation="relu"),
            layers.Conv2D(filters, 1, activation=activation),
        ]
    )


@setup
def oxford_pets_unet():
    model = compiled(fully_convolutional(3, "softmax"), "sparse_categorical_crossentropy")
    return model, images(), classes(3, 8, 8, 8, 1).astype("uint8")


@setup
def voc_with_a_border_to_ignore():
    y = classes(21, 8, 8, 8)
    y[:, 0] = 255
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=255)
    return compiled(fully_convolutional(21), loss), images(), y


@setup
def nuclei_mask():
    model = compiled(fully_convolutional(1, "sigmoid"), "binary_crossentropy", metrics=["accuracy"])
    return model, images(), (images() > 0.9).astype("float32")


@setup
def super_resolution():
    return compiled(fully_convolutional(1), "mse"), images(), images()


@setup
def heat_maps_by_a_softmax_over_the_picture():
    inputs = keras.Input((8, 8, 1))
    x = layers.Reshape((64, 2))(layers.Conv2D(2, 1)(inputs))
    x = layers.Reshape((8, 8, 2))(layers.Softmax(axis=1)(x))
    y = (images(8, channels=2) > 0.98).astype("float32")
    return compiled(keras.Model(inputs, x), "binary_crossentropy"), images(), y


# Sequences


@setup
def named_entities_with_padding():
    model = keras.Sequential(
        [
            keras.Input((6,), dtype="int32"),
            layers.Embedding(20, 4, mask_zero=True),
            layers.LSTM(3, return_sequences=True),
            layers.TimeDistributed(layers.Dense(5, activation="softmax")),
        ]
    )
    x, y = classes(20, 32, 6), classes(5, 32, 6)
    x[:, 4:], y[:, 4:] = 0, -1
    return compiled(model, losses.SparseCategoricalCrossentropy()), x, y


@setup
def addition_with_a_recurrent_network():
    model = keras.Sequential(
        [
            keras.Input((5, 4)),
            layers.LSTM(3),
            layers.RepeatVector(3),
            layers.LSTM(3, return_sequences=True),
            layers.Dense(4, activation="softmax"),
        ]
    )
    y = np.eye(4)[classes(4, 16, 3)]
    return compiled(model, "categorical_crossentropy", metrics=["accuracy"]), np.ones((16, 5, 4)), y


@setup
def translation_with_weights_for_padding():
    model = keras.Sequential(
        [keras.Input((6,), dtype="int32"), layers.Embedding(50, 4), layers.Dense(50)]
    )
    y = classes(50, 32, 6)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    weights = (y != 0).astype("float32")
    return compiled(model, loss), classes(50, 32, 6), y, {"sample_weight": weights}


@setup
def one_hot_steps_with_masked_padding():
    model = keras.Sequential(
        [
            keras.Input((6, 2)),
            layers.Masking(),
            layers.SimpleRNN(3, return_sequences=True),
            layers.Dense(4, activation="softmax"),
        ]
    )
    x, y = np.ones((16, 6, 2)), np.eye(4)[classes(4, 16, 6)]
    x[:, 3:], y[:, 3:] = 0, 0
    return compiled(model, "categorical_crossentropy"), x, y


# Several outputs


@setup
def ticket_routing():
    inputs = keras.Input((4,))
    priority = layers.Dense(1, activation="sigmoid", name="priority")(inputs)
    department = layers.Dense(4, activation="softmax", name="department")(inputs)
    model = keras.Model(inputs, {"priority": priority, "department": department})
    compiled(
        model,
        {"priority": "binary_crossentropy", "department": "categorical_crossentropy"},
        loss_weights={"priority": 1.0, "department": 0.2},
        metrics={"priority": ["accuracy"], "department": ["accuracy"]},
    )
    y = {"department": np.eye(4)[classes(4, 64)], "priority": classes(2, 64, 1)}
    return model, vectors(), y


@setup
def age_and_gender():
    inputs = keras.Input((4,))
    outputs = [layers.Dense(1, name="age")(inputs), layers.Dense(2, name="gender")(inputs)]
    loss = ["mae", keras.losses.SparseCategoricalCrossentropy(from_logits=True)]
    model = compiled(keras.Model(inputs, outputs), loss, loss_weights=[1.0, 4.0])
    return model, vectors(), [rng().uniform(1, 99, 64), classes(2, 64)]


@setup
def an_output_without_a_loss():
    inputs = keras.Input((4,))
    outputs = [
        layers.Dense(1, activation="sigmoid", name="label")(inputs),
        layers.Dense(3, name="embedding")(inputs),
    ]
    model = compiled(keras.Model(inputs, outputs), {"label": "bce", "embedding": None})
    return model, vectors(), {"label": classes(2, 64), "embedding": np.zeros((64, 3))}


# GANs, autoencoders, metric learning


@setup
def discriminator():
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    return compiled(dense(1), loss), vectors(), np.repeat([[1.0], [0.0]], 32, axis=0)


@setup
def least_squares_gan():
    return compiled(dense(1), "mse"), vectors(), np.repeat([[1.0], [0.0]], 32, axis=0)


@setup
def gan_with_a_training_step_of_its_own():
    class GAN(keras.Model):
        def __init__(self):
            super().__init__()
            self.discriminator = dense(1)

        def compile(self, d_optimizer, g_optimizer, loss_fn):
            super().compile()
            self.loss_fn = loss_fn

    model = GAN()
    model.compile("adam", "adam", keras.losses.BinaryCrossentropy(from_logits=True))
    return model, images(), None


@setup
def denoising_autoencoder():
    model = compiled(fully_convolutional(1, "sigmoid"), "binary_crossentropy")
    return model, images(), images()


@setup
def anomaly_detection_autoencoder():
    model = keras.Sequential(
        [
            keras.Input((8, 1)),
            layers.Conv1D(2, 3, padding="same", activation="relu"),
            layers.Conv1DTranspose(1, 3, padding="same"),
        ]
    )
    x = rng().normal(size=(16, 8, 1))
    return compiled(model, "mse"), x, x


@setup
def variational_autoencoder():
    class Sampling(layers.Layer):
        def __init__(self):
            super().__init__()
            self.seed_generator = keras.random.SeedGenerator(1)

        def call(self, z):
            self.add_loss(0.5 * ops.mean(z**2))
            return z + keras.random.normal(ops.shape(z), seed=self.seed_generator)

    model = keras.Sequential([keras.Input((4,)), layers.Dense(2), Sampling(), layers.Dense(4)])
    return compiled(model, losses.MeanSquaredError()), vectors(), vectors()


@setup
def siamese_with_a_contrastive_loss():
    def contrastive(y_true, y_pred):
        far = ops.square(ops.maximum(1 - y_pred, 0))
        return ops.mean((1 - y_true) * ops.square(y_pred) + y_true * far)

    one, other = keras.Input((4,)), keras.Input((4,))
    tower = dense(3)
    distance = ops.sqrt(ops.sum((tower(one) - tower(other)) ** 2, axis=-1, keepdims=True) + 1e-7)
    output = layers.Dense(1, activation="sigmoid")(distance)
    y = classes(2, 64, 1).astype("float32")
    return compiled(keras.Model([one, other], output), contrastive), [vectors(), vectors()], y


@setup
def image_similarity_by_logits_of_a_batch():
    class Embedding(keras.Model):
        def __init__(self):
            super().__init__()
            self.embed = layers.Dense(3)

        def call(self, x):
            x = self.embed(x)
            return ops.matmul(x, ops.transpose(x)) / 0.2

    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    return compiled(Embedding(), loss), vectors(8), np.arange(8)


@setup
def cosine_of_embeddings():
    model = compiled(dense(3), keras.losses.CosineSimilarity())
    return model, vectors(), rng().normal(size=(64, 3))


@setup
def a_subclass_with_a_softmax_inside():
    class Classifier(keras.Model):
        def __init__(self):
            super().__init__()
            self.first = layers.Dense(8, activation="relu")
            self.last = layers.Dense(5)

        def call(self, x, training=False):
            return ops.softmax(self.last(self.first(x)))

    return compiled(Classifier(), "sparse_categorical_crossentropy"), vectors(), classes(5, 64)


@setup
def a_subclass_with_a_softmax_in_half_precision():
    class Classifier(keras.Model):
        def __init__(self):
            super().__init__()
            self.last = layers.Dense(300, activation="softmax", dtype="bfloat16")

        def call(self, x):
            return self.last(x)

    return compiled(Classifier(), "sparse_categorical_crossentropy"), vectors(), classes(300, 64)
