"""The catch rate on thirty seeded mistakes, measured, and printed at the end of the tests."""

import functools

import pytest

from keras_optim_losses import losses
from tests.losses.advice.mistakes import MISTAKES

CAUGHT = {name: rule for name, (_, rule) in MISTAKES.items() if rule}


@functools.cache
def check(name):
    model, x, y, *arguments = MISTAKES[name][0]()
    return losses.check(model, x, y, **(arguments[0] if arguments else {}))


def test_the_catch_rate(record_property):
    found = {name: {finding.rule for finding in check(name)} for name in MISTAKES}
    caught = [name for name in MISTAKES if found[name]]
    missed = [name for name in MISTAKES if not found[name]]
    rate = f"{len(caught)} of {len(MISTAKES)} seeded mistakes"
    record_property("caught", f"{rate}; not {', '.join(missed)}")
    assert len(MISTAKES) == 30
    assert caught == list(CAUGHT)


@pytest.mark.parametrize("name, rule", CAUGHT.items())
def test_a_mistake_is_seen_by_its_rule_alone(name, rule):
    assert [finding.rule for finding in check(name)] == [rule]
