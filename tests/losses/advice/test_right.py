"""Right set-ups pass in silence: a false alarm is a defect."""

import pytest

from keras_optim_losses import losses
from tests.losses.advice.right import SETUPS


@pytest.mark.parametrize("name", SETUPS)
def test_a_right_setup_is_silent(name):
    model, x, y, *arguments = SETUPS[name]()
    assert losses.check(model, x, y, **(arguments[0] if arguments else {})) == []


def test_there_are_enough_of_them():
    assert len(SETUPS) >= 30
