"""The mutants of a module: Cosmic Ray's operators, less those that change no rule."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import parso
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.operators.operator import Operator
from cosmic_ray.operators.provider import OperatorProvider

from conformance_tests.mutation.modules import Place
from conformance_tests.mutation.places import place

# Each operator is replaced by those of which at least one survives wherever another one would:
# the boundary, the negation and the equality. All 20 000 pairs would take days and show no more.
_COMPARISONS = {
    "Lt": ("LtE", "NotEq", "GtE"),
    "LtE": ("Lt", "Eq", "Gt"),
    "Gt": ("GtE", "NotEq", "LtE"),
    "GtE": ("Gt", "Eq", "Lt"),
    "Eq": ("NotEq", "LtE", "GtE"),
    "NotEq": ("Eq", "Lt", "Gt"),
    "Is": ("IsNot",),
    "IsNot": ("Is",),
}
_ARITHMETIC = {
    "Add": ("Sub", "Mul"),
    "Sub": ("Add", "Mul"),
    "Mul": ("Add", "Div"),
    "Div": ("Mul", "FloorDiv"),
    "FloorDiv": ("Div", "Mul"),
    "Mod": ("FloorDiv", "Mul"),
    "Pow": ("Mul", "Add"),
    "BitOr": ("BitAnd", "BitXor"),
    "BitAnd": ("BitOr", "BitXor"),
    "BitXor": ("BitAnd", "BitOr"),
    "LShift": ("RShift",),
    "RShift": ("LShift",),
}
_OTHERS = (
    "ReplaceUnaryOperator_Delete_USub",
    "ReplaceUnaryOperator_Delete_Not",
    "AddNot",
    "ReplaceTrueWithFalse",
    "ReplaceFalseWithTrue",
    "ReplaceAndWithOr",
    "ReplaceOrWithAnd",
    "ReplaceBreakWithContinue",
    "ReplaceContinueWithBreak",
    "ExceptionReplacer",
    "NumberReplacer",
    "ZeroIterationForLoop",
)
_SWAPPED_NAMES = {"min": "max", "any": "all", "floor": "ceil", "first": "last"}
_SWAPPED_NAMES |= {after: before for before, after in _SWAPPED_NAMES.items()}


class SwapMembership(Operator):  # type: ignore[misc]
    """Replaces ``in`` by ``not in`` and the other way round."""

    def mutation_positions(self, node: Any) -> Iterator[tuple[Any, Any]]:
        for index in self._places(node):
            yield node.children[index].start_pos, node.children[index].end_pos

    def mutate(self, node: Any, index: int) -> Any:
        place = self._places(node)[index]
        swapped = "in" if node.children[place].get_code().split() == ["not", "in"] else "not in"
        node.children[place] = parso.parse(f" {swapped}")
        return node

    @staticmethod
    def _places(node: Any) -> list[int]:
        if node.type != "comparison":
            return []
        words = [child.get_code().split() for child in node.children]
        return [i for i in range(1, len(words), 2) if words[i] in (["in"], ["not", "in"])]

    @classmethod
    def examples(cls) -> tuple[()]:
        return ()


class SwapName(Operator):  # type: ignore[misc]
    """Replaces a function by its opposite, such as ``min`` by ``max``."""

    def mutation_positions(self, node: Any) -> Iterator[tuple[Any, Any]]:
        following = node.get_next_leaf() if node.type == "name" else None
        if following is not None and following.value == "(" and node.value in _SWAPPED_NAMES:
            yield node.start_pos, node.end_pos

    def mutate(self, node: Any, index: int) -> Any:
        node.value = _SWAPPED_NAMES[node.value]
        return node

    @classmethod
    def examples(cls) -> tuple[()]:
        return ()


@dataclass(frozen=True, slots=True)
class Mutant:
    """A module with one change.

    Attributes:
      place: what identifies it.
      source: text of the whole module.
    """

    place: Place
    source: str


def operators() -> list[Operator]:
    """The operators in use."""
    provided = OperatorProvider()
    names = [
        *(f"ReplaceComparisonOperator_{a}_{b}" for a, to in _COMPARISONS.items() for b in to),
        *(f"ReplaceBinaryOperator_{a}_{b}" for a, to in _ARITHMETIC.items() for b in to),
        *_OTHERS,
    ]
    return [*(provided[name]() for name in names), SwapMembership(), SwapName()]


def mutants(module: str, source: str, wanted: Iterable[Operator] | None = None) -> Iterator[Mutant]:
    """Makes the mutants of a module.

    Left out are mutants that compute the same by construction: of annotations, of the text of
    errors that are raised, of decorators and of ``rule(...)`` (declarations, which
    ``nox -s clauses`` checks), and those that do not even compile.

    Args:
      module: name in ``spec/``.
      source: its text.
      wanted: the operators; all of :func:`operators` if None.

    Yields:
      The mutants, each once.
    """
    original = _behaviour(source)
    seen = {original}
    for operator in operators() if wanted is None else wanted:
        tree = get_ast(source)
        places = sum(1 for node in ast_nodes(tree) for _ in operator.mutation_positions(node))
        for occurrence in range(places):
            changed = mutate_code(source, operator, occurrence)
            try:
                behaviour = _behaviour(changed)
            except SyntaxError:
                continue
            if behaviour not in seen:
                seen.add(behaviour)
                yield Mutant(place(module, source, changed), changed)


def _behaviour(source: str) -> str:
    """The program without what computes nothing: two texts with the same result do the same."""
    return ast.dump(_OnlyBehaviour().visit(ast.parse(source)))


class _OnlyBehaviour(ast.NodeTransformer):
    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.decorator_list, node.returns = [], None
        return self.generic_visit(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        node.decorator_list = []
        return self.generic_visit(node)

    def visit_arguments(self, node: ast.arguments) -> ast.AST:
        # The marks `*` and `/` between parameters are no operators.
        node.args = [*node.posonlyargs, *node.args, *node.kwonlyargs]
        node.defaults = [*node.defaults, *(d for d in node.kw_defaults if d is not None)]
        node.posonlyargs, node.kwonlyargs, node.kw_defaults = [], [], []
        return self.generic_visit(node)

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        node.annotation = ast.Constant(None)
        return self.generic_visit(node)

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        if isinstance(node.exc, ast.Call):
            node.exc.args = []
        return self.generic_visit(node)

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        called = node.value.func if isinstance(node.value, ast.Call) else None
        declares = isinstance(called, ast.Name) and called.id == "rule"
        return None if declares else self.generic_visit(node)
