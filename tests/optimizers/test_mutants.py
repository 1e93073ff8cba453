"""A test of the tests: every change to a formula's constants, signs and ε is noticed."""

import ast
import functools
import inspect
import textwrap
import warnings

import pytest

from tests.optimizers.trajectories import CASES, RATES, assert_follows, gradients, start
from tests.reference import optimizers as reference

SWAPS = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult}


class Mutator(ast.NodeTransformer):
    """Changes the place number `target` in a function, and counts the places on the way."""

    def __init__(self, target):
        self.target, self.count, self.what = target, 0, None

    def hit(self, node, what):
        self.count += 1
        if self.count - 1 == self.target:
            self.what = f"line {node.lineno}: {what}"
            return True
        return False

    def visit_arguments(self, node):
        return node  # defaults are mutated as hyperparameters, below

    def visit_BinOp(self, node):
        self.generic_visit(node)
        if type(node.op) in SWAPS and self.hit(node, ast.unparse(node)):
            node.op = SWAPS[type(node.op)]()
        return node

    def visit_Constant(self, node):
        if isinstance(node.value, (int, float)) and not isinstance(node.value, bool):
            if self.hit(node, ast.unparse(node)):
                return ast.copy_location(ast.Constant(node.value + 1), node)
        return node

    def visit_Call(self, node):
        self.generic_visit(node)
        name = ast.unparse(node.func)
        if name in ("np.sqrt", "np.maximum") and self.hit(node, ast.unparse(node)):
            return node.args[-1]
        # √(x + ε) becomes √x + ε.
        if name == "np.sqrt" and "epsilon" in ast.unparse(node.args[0]) and self.hit(node, "ε"):
            inside = node.args[0]
            node.args[0] = inside.left
            return ast.copy_location(ast.BinOp(node, ast.Add(), inside.right), node)
        return node

    def visit_Name(self, node):
        swap = {"beta_1": "beta_2", "beta_2": "beta_1"}.get(node.id)
        if swap and self.hit(node, node.id):
            return ast.copy_location(ast.Name(swap, node.ctx), node)
        return node


def mutants(function):
    """Each function that differs from `function` in one place, with what was changed."""
    source = textwrap.dedent(inspect.getsource(function))
    target = 0
    while True:
        mutator = Mutator(target)
        tree = ast.fix_missing_locations(mutator.visit(ast.parse(source)))
        if mutator.what is None:
            return
        names = dict(vars(reference))
        exec(compile(tree, "<mutant>", "exec"), names)
        yield mutator.what, names[function.__name__]
        target += 1


def differs(mutant, function, arguments):
    """Whether the comparison of the trajectories tells the two apart, in float32."""
    given = gradients()
    for rate in RATES:
        expected = function(start(), given, rate, **arguments)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # a mutant may divide by 0, or take no mean
                assert_follows(mutant(start(), given, rate, **arguments), expected, "float32")
        except (AssertionError, ValueError, ZeroDivisionError, IndexError):
            return True
    return False


# ḡ enters by its square: with the other sign in the sum it is −ḡ, and all else the same.
EQUIVALENT = {"line 9: rho * mean + (1 - rho) * g"}


@pytest.mark.parametrize("function", dict.fromkeys(case[2] for case in CASES))
def test_every_mutant_is_caught(function):
    cases = [arguments for _, arguments, reference in CASES if reference is function]
    survivors = [
        what
        for what, mutant in mutants(function)
        if not any(differs(mutant, function, arguments) for arguments in cases)
    ]
    assert set(survivors) <= EQUIVALENT


def with_argument(function, key, value, *positional, **arguments):
    return function(*positional, **{**arguments, key: value})


def with_rate(function, factor, weight, given, rate, **arguments):
    return function(weight, given, factor * rate, **arguments)


@pytest.mark.parametrize("name, arguments, function", CASES)
def test_a_hyperparameter_that_is_a_little_off_is_caught(name, arguments, function):
    defaults = {
        key: parameter.default
        for key, parameter in inspect.signature(function).parameters.items()
        if isinstance(parameter.default, float)
    }
    used = {**defaults, **arguments}
    for key in defaults:
        if used[key] == 0:
            continue  # nothing to be a little off of
        if key == "epsilon" and function is reference.adagrad and used[key] == 1e-7:
            continue  # 1e-9 next to h ≥ 0.1 is nothing in float32; another case has a larger ε
        factor = 0.9999 if key == "beta_2" else 0.99
        mutant = functools.partial(with_argument, function, key, used[key] * factor)
        assert differs(mutant, function, arguments), key
    mutant = functools.partial(with_rate, function, 1.0001)
    assert differs(mutant, function, arguments)
