"""What goes wrong in Keras, and must come out as it should here."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_optim_losses import losses, optimizers
from tests.gradients import value_and_gradient

BCE = losses.BinaryCrossentropy
CCE = losses.CategoricalCrossentropy
SCCE = losses.SparseCategoricalCrossentropy
MSE = losses.MeanSquaredError


def half(x, dtype="float16"):
    return ops.cast(ops.convert_to_tensor(np.asarray(x, "float32")), dtype)


def tensor(x):
    return ops.convert_to_tensor(np.asarray(x, "float32"))


# Half types


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_bce_of_certain_and_right_is_zero(dtype):
    assert float(BCE(dtype=dtype)([[1.0], [0.0]], [[1.0], [0.0]])) == 0


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_bce_of_certain_and_wrong_is_finite_and_large(dtype):
    value = float(ops.cast(BCE(dtype=dtype)([[0.0]], [[1.0]]), "float32"))
    assert value == pytest.approx(-np.log(2.0**-23), rel=2**-8)
    value, gradient = value_and_gradient(lambda p: BCE()([[0.0]], p), half([[1.0]], dtype))
    assert np.isfinite(value) and np.isfinite(gradient).all() and (gradient > 1000).all()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_certain_and_wrong_classes_learn(dtype):
    for loss, y in ((CCE(), [[0.0, 1.0]]), (SCCE(), [1])):
        value, gradient = value_and_gradient(
            lambda p, loss=loss, y=y: loss(y, p), half([[1.0, 0.0]], dtype)
        )
        assert np.isfinite(value) and value > 5
        assert np.isfinite(gradient).all() and gradient[0, 1] < -1000


def test_mse_of_70000_float16_errors_of_one():
    zeros = half(np.zeros((70_000, 1)))
    assert float(MSE(dtype="float16")(np.ones((70_000, 1)), zeros)) == 1


def test_70000_float16_zero_logits():
    value = float(BCE(True, dtype="float16")(np.ones((70_000, 1)), half(np.zeros((70_000, 1)))))
    assert value == pytest.approx(np.log(2), rel=2**-11)
    zeros = half(np.zeros((70_000, 2)))
    value = float(SCCE(True, dtype="float16")(np.ones(70_000, "int32"), zeros))
    assert value == pytest.approx(np.log(2), rel=2**-11)


@pytest.mark.parametrize("label", [255, 257, 299])
@pytest.mark.parametrize("labels_dtype", ["int32", "int64", "uint16", "float32"])
def test_labels_do_not_pass_through_a_half_type(label, labels_dtype):
    logits = np.zeros((1, 300), "float32")
    loss = SCCE(from_logits=True, dtype="bfloat16")
    y = np.array([label], labels_dtype)
    _, gradient = value_and_gradient(lambda z: loss(y, z), ops.convert_to_tensor(logits))
    assert np.argmin(gradient) == label and (gradient < 0).sum() == 1


def test_uint8_labels_of_more_classes_than_a_byte_holds():
    loss = SCCE(from_logits=True)
    value = float(loss(np.array([200], "uint8"), np.zeros((1, 300), "float32")))
    assert value == pytest.approx(np.log(300), rel=1e-6)


# Labels that are no labels


BAD = [
    (SCCE(), np.array([1, 3]), "y_true with 3 among"),
    (SCCE(), np.array([1, -1]), "y_true with -1 among"),
    (SCCE(), np.array([1, -100]), "ignore_class"),
    (SCCE(), np.array([1.0, 1.5]), "whole numbers"),
    (SCCE(), np.array([0, np.nan]), "whole numbers"),
    (BCE(), np.array([[0, 1, 255], [0, 0, 0]]), "255"),
    (BCE(), np.array([[0, 1, -1], [0, 0, 0]]), "map −1 to 0"),
    (BCE(), np.array([[0, 1, np.nan], [0, 0, 0]]), "nan"),
    (CCE(), np.array([[0, 1, -1.0], [0, 0, 1]]), "not negative"),
    (CCE(), np.array([[0, 1, np.inf], [0, 0, 1]]), "finite"),
]


@pytest.mark.parametrize("loss, y, message", BAD)
def test_labels_out_of_range_raise_eagerly(loss, y, message):
    y = y.astype("float32") if y.dtype == "float64" else y
    with pytest.raises(ValueError, match=message):
        loss(y, tensor(np.full((2, 3), 1 / 3)))


def test_labels_out_of_range_do_not_train_in_silence():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
    model.compile(optimizers.SGD(0.1), SCCE(from_logits=True))
    try:
        history = model.fit(np.ones((4, 2)), np.array([0, 1, 2, 3]), verbose=0).history
    except ValueError as error:
        assert "3 among" in str(error)
    else:
        assert np.isnan(history["loss"]).all()
    assert all(np.isfinite(w).all() for w in model.get_weights())


def test_ignore_class_is_left_out_whatever_it_is():
    p = np.array([[0.2, 0.8], [0.5, 0.5], [np.nan, np.nan]], "float32")
    for ignored in (-1, -100, 255):
        value = float(SCCE(ignore_class=ignored)(np.array([1, 0, ignored]), p))
        assert value == pytest.approx(-(np.log(0.8) + np.log(0.5)) / 2, rel=1e-6)


def test_bool_labels():
    value = float(BCE()(np.array([[True], [False]]), [[0.5], [0.5]]))
    assert value == pytest.approx(np.log(2), rel=1e-6)


# Saturation, and logits that travel on a tensor


def softmax_model(**arguments):
    layers = [keras.Input((2,)), keras.layers.Softmax()]
    model = keras.Sequential(layers)
    model.compile(optimizers.SGD(), SCCE(**arguments))
    return model


def test_saturated_softmax_has_the_true_loss_and_gradient():
    for loss, y in ((SCCE(), [0]), (CCE(), [[1.0, 0.0]]), (SCCE(ignore_class=7), [0])):
        value, gradient = value_and_gradient(
            lambda z, loss=loss, y=y: loss(y, ops.reshape(ops.softmax(z), (1, 2))),
            tensor([[0, 60]]),
        )
        assert value == pytest.approx(60, rel=1e-6)
        np.testing.assert_allclose(gradient, [[-1, 1]], rtol=1e-5)


def test_evaluate_is_the_loss_of_predict_at_saturation():
    model, x, y = softmax_model(), np.array([[0.0, 30.0]]), np.array([0])
    evaluated = model.evaluate(x, y, verbose=0)
    assert evaluated == pytest.approx(30, rel=1e-6)
    assert evaluated == pytest.approx(float(SCCE()(y, model.predict(x, verbose=0))), rel=1e-6)


def test_cce_of_a_sigmoid_output_is_that_of_its_numbers():
    z = np.array([[3.0, 0.0]], "float32")
    p = 1 / (1 + np.exp(-z))
    expected = -np.log(p[0, 0] / p.sum())
    value = float(CCE()([[1.0, 0.0]], keras.activations.sigmoid(ops.convert_to_tensor(z))))
    assert value == pytest.approx(expected, rel=1e-6)


def test_gradient_of_rows_that_do_not_sum_to_one():
    y, z = np.array([[1.0, 2.0, 0.0]], "float32"), np.array([[0.3, -0.2, 0.5]])
    _, gradient = value_and_gradient(lambda z: CCE(True)(y, z), tensor(z))
    p = np.exp(z) / np.exp(z).sum()
    np.testing.assert_allclose(gradient, 3 * p - y, rtol=1e-5)


def test_forgotten_from_logits_is_finite():
    value, gradient = value_and_gradient(lambda p: CCE()([[0.0, 1.0]], p), tensor([[1.0, -1.0]]))
    assert np.isfinite(value) and np.isfinite(gradient).all()


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_minus_infinity_on_a_wrong_class(dtype):
    z = half([[2.0, -np.inf]], dtype)
    for loss, y in ((SCCE(True), [0]), (CCE(True), [[1.0, 0.0]])):
        value, gradient = value_and_gradient(lambda z, loss=loss, y=y: loss(y, z), z)
        assert value == 0 and np.abs(gradient).max() == 0
    value, gradient = value_and_gradient(
        lambda z: BCE(True)([[1.0, 0.0]], z), half([[np.inf, -np.inf]], dtype)
    )
    assert value == 0 and np.abs(gradient).max() == 0


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_infinite_logits_that_are_wrong_have_the_limit_of_the_gradient(dtype):
    z = half([[np.inf, -np.inf]], dtype)
    value, gradient = value_and_gradient(lambda z: BCE(True, reduction="sum")([[0.0, 1.0]], z), z)
    assert value > 6e4 and not np.isnan(value)
    np.testing.assert_array_equal(gradient, [[0.5, -0.5]])
    for loss, y in ((SCCE(True), [1]), (CCE(True), [[0.0, 1.0]])):
        value, gradient = value_and_gradient(lambda z, loss=loss, y=y: loss(y, z), z)
        assert value > 6e4 and not np.isnan(value)
        np.testing.assert_array_equal(gradient, [[1, -1]])


# Shapes


@pytest.mark.parametrize("loss", [MSE(), BCE()])
@pytest.mark.parametrize(
    "y, p",
    [((4, 3), (4, 1)), ((8, 1), (8, 5, 1)), ((5,), (5, 1, 1)), ((3,), (3, 3)), ((1, 3), (4, 3))],
)
def test_shapes_that_would_broadcast(loss, y, p):
    with pytest.raises(ValueError, match="must have shape") as error:
        loss(np.zeros(y), tensor(np.full(p, 0.5)))
    assert str(p) in str(error.value) and str(y) in str(error.value)
    assert "Reshape one of them" in str(error.value)


def test_shapes_are_compared_in_fit():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
    model.compile(optimizers.SGD(), MSE())
    with pytest.raises(ValueError, match="must have shape"):
        model.fit(np.zeros((3, 2)), np.zeros(3), batch_size=3, verbose=0)


@pytest.mark.parametrize(
    "y, p", [((6,), (6, 1)), ((6, 1), (6,)), ((2, 3), (2, 3, 1)), ((6,), (6,))]
)
def test_a_trailing_one_may_be_added_or_dropped(y, p):
    rng = np.random.default_rng(0)
    labels, outputs = rng.normal(size=y).astype("float32"), rng.normal(size=p).astype("float32")
    expected = np.mean((labels.ravel() - outputs.ravel()) ** 2)
    assert float(MSE()(labels, outputs)) == pytest.approx(expected, rel=1e-6)


def test_shape_hints():
    p = tensor(np.full((4, 3), 1 / 3))
    with pytest.raises(ValueError, match="to_categorical"):
        CCE()(np.zeros(4, "int32"), p)
    with pytest.raises(ValueError, match="belong to CategoricalCrossentropy"):
        SCCE()(np.zeros((4, 3), "int32"), p)
    with pytest.raises(ValueError, match="one weight for each of the 3 classes"):
        CCE(class_weight=[1, 2])(np.eye(3)[[0, 1, 2, 0]], p)
    with pytest.raises(ValueError, match="`axis` must be an axis"):
        BCE(axis=2)(np.zeros((4, 3)), p)


# Weights and masks


def test_weights_of_rank_one_outputs_belong_to_samples():
    for shape in ((4,), (4, 1)):
        value = MSE()(
            np.zeros(shape), tensor(np.reshape([1, 2, 3, 4], shape)), np.array([1, 0, 0, 0])
        )
        assert float(value) == 0.25


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("loss", [BCE(), BCE(True), CCE(), CCE(True), SCCE(), SCCE(True), MSE()])
def test_what_has_no_weight_leaves_nothing_behind(loss, bad):
    y = np.array([0, 1]) if isinstance(loss, SCCE) else np.eye(2, dtype="float32")
    clean, dirty = tensor([[0.6, 0.4], [0.5, 0.5]]), tensor([[0.6, 0.4], [bad, bad]])
    weight = np.array([2.0, 0.0], "float32")
    expected, slope = value_and_gradient(lambda p: loss(y, p, weight), clean)
    value, gradient = value_and_gradient(lambda p: loss(y, p, weight), dirty)
    assert value == expected and np.isfinite(value)
    np.testing.assert_array_equal(gradient[0], slope[0])
    np.testing.assert_array_equal(gradient[1], 0)
    # What is left out may have any label.
    wrong = (
        np.array([0, 99]) if isinstance(loss, SCCE) else np.array([[1.0, 0], [99, -1]], "float32")
    )
    assert float(loss(wrong, dirty, weight)) == expected


class Broken(keras.layers.Layer):
    """Gives NaN where its input is masked, as attention over padding can."""

    supports_masking = True

    def call(self, x, mask=None):
        return ops.where(mask[..., None], x, float("nan"))


def test_masked_nan_is_left_out_in_fit():
    model = keras.Sequential([keras.Input((3, 1)), keras.layers.Masking(), Broken()])
    model.compile(optimizers.SGD(), MSE())
    x = np.array([[[1.0], [0.0], [0.0]], [[1.0], [3.0], [0.0]]], "float32")
    # Errors 1, 1, 3: the mean of squares over the three that count.
    assert model.evaluate(x, np.zeros((2, 3, 1)), verbose=0) == pytest.approx(11 / 3, rel=1e-6)


@pytest.mark.parametrize("shape", [(2,), (2, 1), (2, 3)])
def test_weights_may_leave_out_trailing_axes(shape):
    p, weight = np.arange(12.0).reshape(2, 3, 2), np.arange(1.0, 7.0).reshape(2, 3)
    weight = weight if shape == (2, 3) else np.array([1.0, 2.0]).reshape(shape)
    full = np.broadcast_to(weight.reshape(2, -1), (2, 3))
    errors = (p**2).mean(axis=-1)
    value = MSE()(np.zeros(p.shape), tensor(p), weight)
    assert float(value) == pytest.approx((errors * full).sum() / 6, rel=1e-6)
    value = MSE(reduction="mean_with_sample_weight")(np.zeros(p.shape), tensor(p), weight)
    assert float(value) == pytest.approx((errors * full).sum() / full.sum(), rel=1e-6)


@pytest.mark.parametrize("shape", [(3,), (2, 2), (1, 3), (2, 3, 2)])
def test_weights_that_do_not_fit(shape):
    with pytest.raises(ValueError, match="`sample_weight` must have the shape"):
        MSE()(np.zeros((2, 3, 2)), tensor(np.zeros((2, 3, 2))), np.ones(shape))


# Smoothing on another axis, and the base


def test_smoothing_on_another_axis_counts_its_classes():
    y = np.zeros((1, 2, 3), "float32")
    y[:, 0] = 1
    p = np.full((1, 2, 3), 0.5, "float32")
    p[:, 0], p[:, 1] = 0.9, 0.1
    expected = -(0.95 * np.log(0.9) + 0.05 * np.log(0.1))
    value = float(CCE(label_smoothing=0.1, axis=1)(y, p))
    assert value == pytest.approx(expected, rel=1e-6)


class AbsoluteError(losses.Loss):
    def __init__(self, power=1, **shared):
        super().__init__(**shared)
        self.power = power

    def call(self, y_true, y_pred):
        return ops.mean(ops.abs(y_true - y_pred) ** self.power, axis=-1)


def test_a_loss_of_ones_own():
    loss = AbsoluteError(2, reduction="sum", dtype="float16")
    config = {"power": 2, "reduction": "sum", "name": "absolute_error", "dtype": "float16"}
    assert loss.get_config() == config | {"name": loss.name}
    assert float(AbsoluteError()([[1.0], [2.0]], [[3.0], [2.5]])) == 1.25
    with pytest.raises(ValueError, match="must reduce axis -1"):

        class Whole(losses.Loss):
            def call(self, y_true, y_pred):
                return ops.mean(y_true - y_pred)

        Whole()([[1.0]], [[1.0]])


def test_functions_are_the_classes_without_a_reduction(tmp_path):
    p, y = tensor([[0.3, 0.7], [0.6, 0.4]]), np.array([1, 0])
    pairs = [
        (losses.sparse_categorical_crossentropy, SCCE, y),
        (losses.categorical_crossentropy, CCE, np.eye(2, dtype="float32")[y]),
        (losses.binary_crossentropy, BCE, np.eye(2, dtype="float32")[y]),
        (losses.mean_squared_error, MSE, np.eye(2, dtype="float32")[y]),
    ]
    for function, cls, labels in pairs:
        np.testing.assert_array_equal(
            ops.convert_to_numpy(function(labels, p)),
            ops.convert_to_numpy(cls(reduction=None)(labels, p)),
        )
        model = keras.Sequential([keras.Input((2,)), keras.layers.Softmax()])
        model.compile(optimizers.SGD(), function)
        value = model.evaluate(np.ones((2, 2)), labels, verbose=0)
        model.save(tmp_path / "model.keras")
        loaded = keras.models.load_model(tmp_path / "model.keras")
        assert loaded.evaluate(np.ones((2, 2)), labels, verbose=0) == value
