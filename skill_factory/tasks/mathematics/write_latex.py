"""Readings written as LaTeX again, for the engine that compares LaTeX."""

from __future__ import annotations

import re
from fractions import Fraction

from skill_factory.tasks.mathematics.latex import for_parser
from skill_factory.tasks.mathematics.nodes import Node


def latex(node: Node) -> str:
    """LaTeX that says what a value does, for the parser."""
    if node.kind == "number":
        return number_latex(node.text)
    if node.kind == "named":
        return f"{for_parser(node.text)}={latex(node.parts[0])}"
    if node.kind in ("group", "list"):
        inner = ",".join(map(latex, node.parts))
        in_order = node.kind == "group" and node.text != "{}"
        return node.text[0] + inner + node.text[-1] if in_order else rf"\{{{inner}\}}"
    return latex(node.parts[0]) if node.kind == "quantity" else node.text


def number_latex(text: str) -> str:
    """A number, as `Fraction` reads it, in LaTeX."""
    above, below = Fraction(text).as_integer_ratio()
    return str(above) if below == 1 else rf"\frac{{{above}}}{{{below}}}"


def times(node: Node, factor: Fraction) -> Node:
    """A value times a factor."""
    if node.kind == "number":
        return Node("number", str(Fraction(node.text) * factor))
    return Node("expression", rf"{number_latex(str(factor))} \cdot ({latex(node)})")


_LETTER = re.compile(r"\\variable\{(\w+)\}|\\[A-Za-z]+|([A-Za-z])")


def variables(node: Node) -> set[str]:
    """The letters of an expression that stand for unknown numbers."""
    if node.kind != "expression":
        return set()
    return {name or letter for name, letter in _LETTER.findall(node.text)} - {"", "e", "i"}
