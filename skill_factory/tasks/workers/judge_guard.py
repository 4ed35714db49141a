"""What `eval` is in a process that judges: a model's answer is worked out, never run.

reasoning-gym gives answers to `eval`, and to SymPy, whose parser writes Python and gives that to
`eval`. Here such text is read by `ast`, and only literals, arithmetic and SymPy's elementary
functions are worked out. All else is refused: names, attributes, other calls, comprehensions,
lambdas, f-strings. `exec`, `compile` and every other `eval` are refused too, but for those that
make modules and classes.

What is refused is not run, so the process stays sound; but the library may take the refusal for a
wrong answer, so `refusals` tells of it.

`judge_process` runs this as a file: it needs nothing of this package.
"""

from __future__ import annotations

import ast
import builtins
import operator
import sys
from collections.abc import Callable, Mapping
from types import CodeType
from typing import Any

LONGEST = 20_000
"""Characters of a text that is still worked out."""

LARGEST_BITS = 1 << 16
"""Bits of a whole number that is still worked out."""

_OWN_CODE = frozenset(
    (
        *("importlib._bootstrap", "importlib._bootstrap_external"),
        *("_frozen_importlib", "_frozen_importlib_external"),
        *("collections", "dataclasses", "sympy.polys.monomials"),
    )
)
"""Modules that `exec` and `eval` code of their own, whatever an answer says."""

_SEQUENCES: dict[type[ast.AST], Callable[..., Any]] = {
    ast.List: list,
    ast.Tuple: tuple,
    ast.Set: set,
}
_OPERATORS: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
    ast.LShift: operator.lshift,
    ast.RShift: operator.rshift,
    ast.BitAnd: operator.and_,
    ast.BitOr: operator.or_,
    ast.BitXor: operator.xor,
    ast.UAdd: operator.pos,
    ast.USub: operator.neg,
    ast.Invert: operator.invert,
}

_FUNCTIONS = frozenset(
    """
    Abs sign sqrt cbrt root exp log ln floor ceiling factorial binomial gamma re im conjugate
    sin cos tan cot sec csc asin acos atan acot asec acsc atan2 sinc
    sinh cosh tanh coth sech csch asinh acosh atanh acoth asech acsch
    erf erfc erfi erf2 Ei li Si Ci Shi Chi fresnels fresnelc LambertW expint polylog
    uppergamma lowergamma Max Min Add Mul Pow Integer Float Rational Symbol Function
    """.split()  # noqa: SIM905  a list of so many is no easier to read
)
_CONSTANTS = frozenset(("pi", "E", "I", "EulerGamma", "GoldenRatio"))
_OF_TEXT = frozenset(("Integer", "Float", "Rational", "Symbol", "Function"))
"""What SymPy's parser gives text to: a number's digits, or a name."""


class Refused(Exception):
    """An answer would have had something run."""


_refused: list[str] = []
_locked = False


def refusals() -> list[str]:
    """What was refused since the last call."""
    found = _refused.copy()
    _refused.clear()
    return found


def _refuse(what: str) -> Refused:
    _refused.append(what)
    return Refused(what)


def evaluated(text: str | ast.AST, names: Mapping[str, Any]) -> Any:
    """The value of an expression of literals, arithmetic, `names` that stand for values, and calls
    of those that are functions. Raises `SyntaxError` for other text, `NameError` for names of
    nothing, `Refused` for what else could be run.

    >>> evaluated("['a', 2**10 - 1, -(3 / 4)]", {})
    ['a', 1023, -0.75]
    """
    if isinstance(text, str):
        if len(text) > LONGEST:
            raise _refuse("a long text")
        text = ast.parse(text.lstrip(" \t"), mode="eval")
    return _value(text.body if isinstance(text, ast.Expression) else text, names)


def _value(node: ast.AST, names: Mapping[str, Any]) -> Any:
    match node:
        case ast.Constant():
            return node.value
        case ast.List() | ast.Tuple() | ast.Set():
            return _SEQUENCES[type(node)](_value(item, names) for item in node.elts)
        case ast.Dict(keys=[*keys], values=values) if None not in keys:
            pairs = zip(keys, values, strict=True)
            return {_value(key, names): _value(value, names) for key, value in pairs if key}
        case ast.UnaryOp(op=sign) if type(sign) in _OPERATORS:
            return _OPERATORS[type(sign)](_number(_value(node.operand, names)))
        case ast.BinOp(op=sign) if type(sign) in _OPERATORS:
            left, right = (_number(_value(part, names)) for part in (node.left, node.right))
            return _OPERATORS[type(sign)](left, _bounded(sign, left, right))
        case ast.Name(id=name):
            return _named(name, names)
        case ast.Call():
            return _called(node, names)
    raise _refuse(type(node).__name__)


def _named(name: str, names: Mapping[str, Any]) -> Any:
    if name in names:
        return names[name]
    if hasattr(builtins, name) or hasattr(sys.modules.get("sympy"), name):
        raise _refuse(name)
    raise NameError(name)


def _number(value: Any) -> Any:
    """The same, if arithmetic cannot make much of it."""
    if isinstance(value, str | bytes | list | tuple | set | dict):
        raise _refuse(f"arithmetic on a {type(value).__name__}")
    return value


def _bounded(sign: ast.AST, left: Any, right: Any) -> Any:
    """The right operand, if a power or shift of whole numbers, Python's or SymPy's, stays small."""
    if not isinstance(sign, ast.Pow | ast.LShift) or not (_is_whole(left) and _is_whole(right)):
        return right
    bits = int(left).bit_length()
    if (bits + abs(right) if isinstance(sign, ast.LShift) else bits * abs(right)) > LARGEST_BITS:
        raise _refuse("a large number")
    return right


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) or bool(getattr(value, "is_Integer", False))


def _called(node: ast.Call, names: Mapping[str, Any]) -> Any:
    of_name = node.func.func if isinstance(node.func, ast.Call) else node.func
    if not isinstance(of_name, ast.Name):
        raise _refuse("a call")
    if isinstance(node.func, ast.Call) and of_name.id != "Function":  # Function('f')(x)
        raise _refuse("a call of what was called")
    function: Any = _value(node.func, names)
    arguments = [_value(argument, names) for argument in node.args]
    if of_name is not node.func or of_name.id not in _OF_TEXT:
        arguments = [_number(argument) for argument in arguments]
    return function(*arguments, **dict(_not_evaluated(node)))


def _not_evaluated(node: ast.Call) -> list[tuple[str, bool]]:
    """`evaluate=False`, which SymPy's parser writes when it is told not to work anything out."""
    for keyword in node.keywords:
        value = keyword.value
        if keyword.arg != "evaluate" or not isinstance(value, ast.Constant) or value.value:
            raise _refuse("a keyword")
    return [("evaluate", False)] if node.keywords else []


def install() -> None:
    """Take the place of `eval`, `exec` and `compile`, before libraries are loaded; until `lock`
    they work as ever."""
    own: dict[str, Callable[..., Any]] = {"eval": eval, "exec": exec, "compile": compile}

    def guarded(name: str) -> Callable[..., Any]:
        def call(source: Any, *more: Any, **named: Any) -> Any:
            frame = sys._getframe(1)
            caller = frame.f_globals.get("__name__", "")
            if name == "eval" and _locked and caller.partition(".")[0] == "reasoning_gym":
                return evaluated(source, {})
            if _locked and caller not in _OWN_CODE and not _only_read(name, more, named):
                raise _refuse(f"{name} in {caller}")
            if name != "compile" and not more and not named:
                more = (frame.f_globals, frame.f_locals)
            return own[name](source, *more, **named)

        return call

    for name in own:
        setattr(builtins, name, guarded(name))


def _only_read(name: str, more: tuple[Any, ...], named: Mapping[str, Any]) -> bool:
    """Whether `compile` makes a tree, as `ast.parse` has it do, and no code."""
    flags = named.get("flags", more[2] if len(more) > 2 else 0)
    return name == "compile" and bool(flags & ast.PyCF_ONLY_AST)


def lock() -> None:
    """From here on `_OWN_CODE` alone runs code, and SymPy's parser has what it reads worked out."""
    global _locked
    _guard_sympy()
    _locked = True


def _guard_sympy() -> None:
    parser = sys.modules.get("sympy.parsing.sympy_parser")
    if parser is None:
        return
    sympy = sys.modules["sympy"]
    every = {name: getattr(sympy, name) for name in sympy.__all__}
    known = {name: every[name] for name in _FUNCTIONS | _CONSTANTS} | {"abs": abs}

    def fill(code: str, scope: dict[str, Any]) -> None:
        if code != "from sympy import *":
            raise _refuse("exec in SymPy's parser")
        scope.update(every)

    def tree(source: ast.AST, *_: Any) -> ast.AST:
        if not isinstance(source, ast.AST):
            raise _refuse("compile in SymPy's parser")
        return source

    def value(code: str | ast.AST, local_dict: dict[str, Any], global_dict: Any) -> Any:
        if isinstance(code, CodeType):
            raise _refuse("code in SymPy's parser")
        return evaluated(code, known | local_dict)

    vars(parser).update(exec=fill, compile=tree, eval_expr=value)
