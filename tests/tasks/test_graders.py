"""Graders: what models really write, right and wrong, and what takes no grader down."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skill_factory.tasks import choice, countdown, integers, task_of, text
from skill_factory.tasks import letter_puzzles as letters
from skill_factory.tasks.arithmetic import readings

Row = tuple[str, bool | None]

# -- Countdown ------------------------------------------------------------------------------------

EIGHT_THREES = {"numbers": [3, 5, 3], "target": 24}
RIGHT_OF_EIGHT_THREES = [
    "(3 + 5) * 3",
    "(3+5)*3=24",
    "(3 + 5) × 3",
    "(3 + 5) · 3 = 24",
    "(3 + 5) x 3",
    "(3+5)x3",
    "(3+5)X3 = 24",
    "3 x (3 + 5)",
    "3(3 + 5) = 24",
    "(3+5)3",
    "(3)(3 + 5)",
    "24 = (3 + 5) * 3",
    "24 = 8 * 3 = (3 + 5) * 3",
    "(3 + 5) * 3 = 8 * 3 = 24",
    "(3 + 5) * 3\n= 8 * 3\n= 24",
    "(3 + 5) * 3 =\n24",
    "(3 + 5) * 3 == 24",
    "(3 + 5) \\* 3 = 24",
    "**(3 + 5) * 3 = 24**",
    "**(3 + 5) * 3** = 24",
    "**Answer:** (3 + 5) * 3 = 24",
    "***(3 + 5) * 3***",
    "*(3 + 5) × 3 = 24*",
    "`(3 + 5) * 3`",
    "```\n(3 + 5) * 3\n```",
    "```python\n(3 + 5) * 3\n```",
    "```python\nresult = (3 + 5) * 3\nprint(result)\n```",
    "```math\n(3 + 5) \\times 3 = 24\n```",
    "print((3 + 5) * 3)",
    "x = (3 + 5) * 3",
    "Equation: (3 + 5) * 3 = 24",
    "Final answer: (3 + 5) * 3 = 24",
    "The final answer is (3 + 5) * 3 = 24.",
    "The equation is: $$(3 + 5) \\times 3 = 24$$",
    "So, (3 + 5) * 3 = 24!",
    "Therefore, the equation that equals 24 is (3 + 5) * 3.",
    "We can use (3 + 5) * 3 to reach 24.",
    "Using the numbers 3, 5, and 3: (3 + 5) * 3 = 24",
    "Using the numbers [3, 5, 3], the equation (3 + 5) * 3 = 24 reaches the target.",
    "(3 + 5) * 3 = 24 ✓",
    "(3 + 5) * 3 = 24 ✅",
    "(3 + 5) * 3 = 24 ✔️",
    "(3 + 5) * 3 = 24 (✓)",
    "(3 + 5) * 3 = 24 🎉",
    "✅ (3 + 5) * 3 = 24",
    "(3 + 5) * 3 = 24 (uses all the numbers)",
    "(3 + 5) * 3 = 24 (correct!)",
    "(3 + 5) * 3 = 24 \\checkmark",
    "(3 + 5) * 3 → 24",
    "(3 + 5) * 3 equals 24",
    "(3 + 5) * 3 is equal to 24",
    "(3 + 5) * 3 gives 24",
    "(3 + 5) * 3, which equals 24",
    "(3 plus 5) times 3 equals 24",
    "(3 + 5) multiplied by 3 is 24",
    "(3 + 5) * 3 = 24\n(3 + 5) * 3 = 24",
    "(3 + 5) * 3 = 24\n\nAnswer: (3 + 5) * 3",
    "3 + 5 = 8\n8 * 3 = 24",
    "3 + 5 = 8, 8 * 3 = 24",
    "3 + 5 = 8; 8 * 3 = 24",
    "3 + 5 = 8. 8 * 3 = 24.",
    "3 + 5 = 8 and 8 * 3 = 24",
    "3 + 5 = 8 → 8 * 3 = 24",
    "3 + 5 = 8 => 8 * 3 = 24",
    "3 + 5 = 8 ⇒ 8 * 3 = 24",
    "3 + 5 = 8 -> 8 * 3 = 24",
    "3 + 5 → 8 → 8 * 3 → 24",
    "3 + 5 = 8, then 8 * 3 = 24",
    "First, 3 + 5 = 8. Then, 8 * 3 = 24.",
    "3 + 5 = 8\nSo 8 * 3 = 24",
    "3 + 5 gives 8, and 8 * 3 gives 24.",
    "- 3 + 5 = 8\n- 8 * 3 = 24",
    "• 3 + 5 = 8\n• 8 * 3 = 24",
    "* 3 + 5 = 8\n* 8 * 3 = 24",
    "1. 3 + 5 = 8\n2. 8 * 3 = 24",
    "1) 3 + 5 = 8\n2) 8 * 3 = 24",
    "1) 3 + 5 = 8, 2) 8 * 3 = 24",
    "(1) 3 + 5 = 8\n(2) 8 * 3 = 24",
    "a) 3 + 5 = 8\nb) 8 * 3 = 24",
    "Step 1: 3 + 5 = 8\nStep 2: 8 * 3 = 24",
    "Step 1: 3 + 5 = 8 Step 2: 8 * 3 = 24",
    "Step 1 - 3 + 5 = 8\nStep 2 - 8 * 3 = 24",
    "**Step 1:** 3 + 5 = 8\n**Step 2:** 8 * 3 = 24",
    "### Step 1\n3 + 5 = 8\n### Step 2\n8 * 3 = 24",
    "1. **Add:** 3 + 5 = 8\n2. **Multiply:** 8 × 3 = 24",
    "Steps:\n- Add 3 and 5: 3 + 5 = 8\n- Multiply 8 by 3: 8 * 3 = 24",
    "Step 1: 3 + 5 = 8\nStep 2: 8 * 3 = 24\nFinal answer: (3 + 5) * 3 = 24",
    "3 + 5 = 8\n8 * 3 = 24\n\nFinal answer: (3 + 5) * 3",
    "3 + 5 = 8\n(3 + 5) * 3 = 24",
    "(3 + 5) * 3 = 24\n\nStep 1: 3 + 5 = 8\nStep 2: 8 * 3 = 24",
    "(3 + 5) * 3 = 24\nExplanation: 3 + 5 = 8, 8 * 3 = 24",
    "8 = 3 + 5\n24 = 8 * 3",
    "3 + 5 = 8\n3 + 5 = 8\n8 * 3 = 24",
    "3 + 5 = 8<br>8 * 3 = 24",
    "<b>(3 + 5) * 3 = 24</b>",
    "(3 + 5) * 3 = 24\n---\nTarget reached: 24",
    "(3\u200b + 5) * 3\ufeff = 24",
    "（３＋５）×３＝２４",
    "(3 + 5) ∗ 3 = 24",
    "[3 + 5] * 3 = 24",
    "{3 + 5} * 3 = 24",
    "\\left(3+5\\right) * 3 = 24",
    "\\((3 + 5) \\times 3 = 24\\)",
    "\\[(3 + 5) \\times 3 = 24\\]",
    "\\[\n\\boxed{(3 + 5) * 3}\n\\]",
    "$\\boxed{(3 + 5) \\times 3 = 24}$",
    "$(3 + 5) \\times 3 = \\boxed{24}$",
    "(3 + 5) \\times 3 = 24 \\text{ (target)}",
    "\\text{Step 1: } 3 + 5 = 8 \\\\ \\text{Step 2: } 8 \\times 3 = 24",
    "\\begin{align*}\n(3 + 5) \\times 3 &= 8 \\times 3 \\\\\n&= 24\n\\end{align*}",
    "3 + 5 = 8 \\quad \\Rightarrow \\quad 8 \\cdot 3 = 24",
    "答案是 (3 + 5) * 3 = 24",
    "\"(3 + 5) * 3 = 24\"",
    "(3 + 5) * 3 = 24 — done",
    "Solution 1: (3 + 5) * 3 = 24",
    "Answer - (3 + 5) * 3",
    "3 + 5 = 8 \\n 8 * 3 = 24",
    "(3 + 5)\n* 3 = 24",
    "(3 + 5)\n× 3\n= 24",
    "(3 + 5) *\n3 = 24",
    "= (3 + 5) * 3",
    "(3 + 5) * 3 = 24.0",
    "(3 + 5) * 3 evaluates to 24",
    "(3 + 5) * 3 results in 24",
    "(3 + 5) * 3 = 24, where 3 + 5 = 8",
    "(3 + 5) * 3 = 24 (3 + 5 = 8, 8 * 3 = 24)",
    "Equation: (3 + 5) * 3 = 24\nCheck: 8 * 3 = 24",
    "(5 + 3) * 3, which equals 8 * 3 = 24",
    "To get 24 from 3, 5, 3: 3 * (3 + 5) = 3 * 8 = 24",
    "Let's see: 5 + 3 = 8, and 8 * 3 = 24. So the equation is (5 + 3) * 3.",
    "Step 1: 3 + 5 = 8 (using 3 and 5)\nStep 2: 8 * 3 = 24 (using 8 and 3)",
    "Step 1: Add 3 and 5 → 3 + 5 = 8\nStep 2: Multiply the result by 3 → 8 × 3 = 24",
    "One solution is (3 + 5) * 3 = 24. Another is 3 * (5 + 3) = 24.",
    "Adding 5 and 3 gives 8. Multiplying by 3 gives 24: (5 + 3) * 3 = 24",
    "5 plus 3 is 8 and 8 times 3 is 24",
    "Numbers used: 3, 5, 3\nEquation: (3 + 5) * 3 = 24",
    "Target: 24, Numbers: 3, 5, 3, Solution: (3 + 5) * 3",
    "[3, 5, 3] -> (3 + 5) * 3 = 24",
    '["3 + 5 = 8", "8 * 3 = 24"]',
    '{"equation": "(3 + 5) * 3 = 24"}',
    "<equation>(3 + 5) * 3 = 24</equation>",
    "(3 + 5) * 3 = 24<|im_end|>",
    "3 + 5 = **8**\n**8** * 3 = **24**",
    "$3 + 5 = 8$, $8 \\times 3 = \\boxed{24}$",
    "\\[3 + 5 = 8\\]\n\\[8 \\times 3 = 24\\]",
    "(3 + 5) \\times{} 3 = 24",
    "3 + 5 = 8 | 8 * 3 = 24",
    "Final Answer: The final answer is $(3+5) \\times 3$. I hope it is correct.",
    "__(3 + 5) * 3__",
]  # fmt: skip
NOT_RIGHT_OF_EIGHT_THREES: list[Row] = [
    ("3 * 5 + 3 = 18", False),
    ("3 * 5 + 3", False),
    ("(3 + 5) * 3 = 25", False),
    ("(3 + 5) * 3 = 24 = 25", False),
    ("3 * 5 + 3 = 24", False),
    ("3 * 8 = 24", False),
    ("3 + 3 + 5 + 13 = 24", False),
    ("(3 + 5) * 3 * 1 = 24", False),
    ("3 * 3 * 3 - 3 = 24", False),
    ("3 + 5 = 9\n9 * 3 = 27", False),
    ("3 + 5 = 9\n8 * 3 = 24", False),
    ("3 + 5 = 8", False),
    ("3 + 5 = 8\n8 * 3 = 25", False),
    ("Step 1: 3 + 5 = 8\nStep 2: 8 + 8 + 8 = 24", False),
    ("The answer is 3 * 5 + 3 = 18.", False),
    ("**3 * 5 + 3 = 18**", False),
    ("\\boxed{3 \\times 5 + 3}", False),
    ("25", False),
    ("The answer is 23", False),
    ("24", None),
    ("Result: 24", None),
    ("24 = 24", None),
    ("", None),
    ("No solution", None),
    ("It is impossible to reach 24.", None),
    ("not (3 + 5) * 3 = 24", None),
    ("(3 + 5) * 3 = 24 is not allowed", None),
    ("(3 + 5) * 3 isn't 24", None),
    ("(3 + 5) * 3 = 24 ❌", None),
    ("(3 + 5) * 3 = 24 or 25", None),
    ("3 * 5 + 3 or (3 + 5) * 3", None),
    ("(3 + 5) * 3 ≠ 24", None),
    ("(3 + 5) * 3 != 24", None),
    ("(3 + 5) * 3 ≈ 24", None),
    ("(3 + 5) * 3 > 24", None),
    ("(3 + 5) * 3 = x", None),
    ("(3 + 5) * x = 24, x = 3", None),
    ("(3 + 5) * 3 = ?", None),
    ("(3 + 5) * 3 = 24, 25", None),
    ("(3 + 5) ** 3", None),
    ("(3 + 5)** 3", None),
    ("(3+5)^1 * 3", None),
    ("(3 + 5) // 1 * 3", None),
    ("3! * 5 - 3!", None),
    ("(3 + 5) % 9 * 3", None),
    ("√(3 * 3) * 5 + 3", None),
    ("\\sqrt{9} * 8", None),
    ("3 5 + 3", None),
    ("(3 + 5 * 3", None),
    ("3 + 5) * 3", None),
    ("3 + + ", None),
    ("3 + 5 =", False),
    ("(3 + 5) by 3 gives 24", None),
    ("multiply (3 + 5) with 3", None),
    ("add 3 and 5, then multiply by 3", None),
    ("use (3 + 5) and 3", None),
    ("eval('(3+5)*3')", None),
    ("0x3 + 5 * 3 + 6", None),
    ("(3e0 + 5) * 3", None),
    ("(0_3 + 5) * 3", None),
    ("3 + 5 = 8 * 3 = 24", None),
    ("(3 + 5) * 3 - x = 24", None),
    ("2\\frac{1}{2} * 3", None),
    ("3 + 5/0", None),
    ("9" * 5000, None),
    ("1" + ",111" * 1434, None),
    ("(3 + 5) * 3 = 24, 3 * 5 + 3 = 18", None),
    ("3 : 5 + 3 = 24", None),
    ("3 + 5 = 8 and 8 + 3 = 11", False),
    ("(3 + 5) x 4 = 32", False),
    ("53 - 29", False),
    ("12 + 12 = 24", False),
    ("(5 - 3) * 3 = 6", False),
    ("The closest is 3 * 5 + 3 + 3 = 21", None),
    ("First try: 5 * 3 + 3 = 18", None),
    ("a = 3 + 5\nb = a * 3", None),
    ("3 + 5 = 8 then multiply by 3 = 24", None),
    ("Multiply 3 by (3 + 5) = 24", None),
    ("|3 - 27| = 24", None),
    ("27\n- 3 = 24", None),
]
OTHER_PUZZLES: list[tuple[dict[str, Any], str, bool | None]] = [
    ({"numbers": [6, 2, 1], "target": 4}, "6 ÷ 2 + 1", True),
    ({"numbers": [6, 2, 1], "target": 4}, "\\frac{6}{2} + 1 = 4", True),
    ({"numbers": [6, 2, 1], "target": 4}, "\\dfrac{6}{2}+1", True),
    ({"numbers": [6, 2, 1], "target": 4}, "\\frac62 + 1", True),
    ({"numbers": [6, 2, 1], "target": 4}, "6 / 2 = 3\n3 + 1 = 4", True),
    ({"numbers": [6, 2, 1], "target": 4}, "6 : 2 + 1 = 4", None),
    ({"numbers": [6, 2, 1], "target": 4}, "6 divided by 2 plus 1 equals 4", True),
    ({"numbers": [6, 2, 3], "target": 9}, "6 / 2(3)", None),
    ({"numbers": [1000, 1000], "target": 2000}, "1,000 + 1,000 = 2,000", True),
    ({"numbers": [1000, 1000], "target": 2000}, "1{,}000 + 1{,}000", True),
    ({"numbers": [3, 27], "target": -24}, "3 - 27", True),
    ({"numbers": [3, 27], "target": 24}, "-3 + 27", True),
    ({"numbers": [3, 27], "target": 24}, "- 3 + 27 = 24", True),
    ({"numbers": [3, 27], "target": 24}, "27 − 3 = 24", True),
    ({"numbers": [3, 27], "target": 24}, "27\n- 3 = 24", True),
    ({"numbers": [3, 27], "target": 30}, "27\n+ 3 = 30", True),
    ({"numbers": [3, 5, 3, 3, 5], "target": 24}, "(3 + 5) * 3 = 24, 3 + 5 = 8", True),
    ({"numbers": [3, 5, 3, 7], "target": 24}, "(3 + 5) * 3 = 24\n24 + 7 = 31", False),
    ({"numbers": [3, 5, 3, 7], "target": 24}, "(3 + 5) * 3 = 24\nCheck: 8 * 3 = 24", True),
    ({"numbers": [3, 27], "target": 24}, "27 – 3 = 24", True),
    ({"numbers": [3, 5, 26], "target": 24}, "3 - 5 = -2\n26 + (-2) = 24", True),
    ({"numbers": [3, 5, 26], "target": 24}, "3 - 5 = -2\n26 - 2 = 24", True),
    ({"numbers": [8, 3, 8, 3], "target": 24}, "8 / (3 - 8 / 3) = 24", True),
    ({"numbers": [8, 3, 8, 3], "target": 24}, "\\frac{8}{3 - \\frac{8}{3}} = 24", True),
    ({"numbers": [8, 3, 8, 3], "target": 24}, "8/3 = 2.67\n3 - 2.67 = 0.33\n8 / 0.33 = 24", None),
    ({"numbers": [1, 2, 48], "target": 24}, "1 / 2 = 0.5\n0.5 * 48 = 24", True),
    ({"numbers": [1, 2, 48], "target": 24}, "1 / 2 = 0,5\n0,5 * 48 = 24", None),
    ({"numbers": [2, 3, 7], "target": 13}, "Calculation: 2 * 3 = 6; 6 + 7 = 13. Answer: 13", True),
    ({"numbers": [44, 19, 35], "target": 98}, "44 + 19 + 35", True),
    ({"numbers": [44, 19, 35], "target": 98}, "44 + 19 = 63, 63 + 35 = 98", True),
    ({"numbers": [44, 19, 35], "target": 98}, "44 + 19 + 35 = 97", False),
    ({"numbers": [44, 19, 35], "target": 98}, "44 + 54 = 98", False),
    ({"numbers": [3, 5, 11], "target": 24}, "35 - 11", False),
    ({"numbers": [2, 1, 3], "target": 24}, "2 1 + 3", None),
    ({"numbers": [4], "target": 24}, "4!", None),
    ({"numbers": [25, 2, 2], "target": 24}, "25 // 2 * 2", None),
    ({"numbers": [24, 3], "target": 24}, "24", True),
    ({"numbers": [24, 9, 3], "target": 24}, "9 * 3 - 3 = 24", False),
    ({"numbers": [2, 3, 4], "target": 14}, "2(3+4)", True),
    ({"numbers": [3, 8, 0, 5], "target": 24}, "3 * 8 + 0 * 5", True),
    ({"numbers": [3, 8, 5], "target": 24}, "3 * 8 = 24", True),
    ({"numbers": [3, 8, 5], "target": 24}, "8 * 3 = 24 (nobody needs the other number)", True),
    ({"numbers": [5, 3, 7, 2], "target": 34}, "7 * 5 = 35\n3 - 2 = 1\n35 - 1 = 34", True),
    ({"numbers": [5, 3, 7, 2], "target": 34}, "35 - 1 = 34\n7 * 5 = 35\n3 - 2 = 1", None),
    ({"numbers": [3, 3, 5, 7], "target": 24}, "3 + 5 = 8\n3 * 7 + 3 = 24", None),
    ({"numbers": [3, 5, 3], "target": 24, "all_numbers": True}, "(3 + 5) * 3", True),
    ({"numbers": [3, 8, 5], "target": 24, "all_numbers": True}, "3 * 8 = 24", False),
    ({"numbers": [3, 8, 5], "target": 24, "all_numbers": False}, "3 * 8 = 24", True),
    ({"numbers": [3, 8, 0, 5], "target": 24, "all_numbers": True}, "3 * 8 + 0 * 5", True),
    ({"numbers": [1, 81, 1, 1], "target": 81, "all_numbers": True}, "81 * 1", False),
    ({"numbers": [1, 81, 1, 1], "target": 81, "all_numbers": True}, "81 * 1 * 1 * 1", True),
    ({"numbers": [3, 5, 3], "target": 24, "all_numbers": True}, "3+5=8\n8*3=24\n(3+5)*3=24", True),
    (
        {"numbers": [1, 81, 1, 1], "target": 81, "all_numbers": True},
        "81 * 1 = 81\n81 * 1 * 1 * 1 = 81",
        True,
    ),
    (
        {"numbers": [3, 5, 3, 3, 5, 3], "target": 24, "all_numbers": True},
        "(3 + 5) * 3 = 24\n(3 + 5) * 3 = 24",
        False,
    ),
    ({"numbers": [24, 3], "target": 24, "all_numbers": True}, "24", False),
    ({"numbers": "[3, 5, 3]", "target": "24"}, "(3+5)*3", True),
    ({"nums": [3, 5, 3], "target": 24.0}, "(3+5)*3", True),
    ({"numbers": [10**5000], "target": 24}, "24", None),
    ({"numbers": ["1e999999999"], "target": 24}, "24", None),
    ({"numbers": [float("inf")], "target": 24}, "24", None),
]


@pytest.mark.parametrize("answer", RIGHT_OF_EIGHT_THREES)
def test_a_solution_of_countdown_is_right_in_everyday_wording(answer: str) -> None:
    assert countdown.grade(answer, "", EIGHT_THREES) is True
    assert countdown.grade(answer, "", EIGHT_THREES | {"all_numbers": True}) is True
    assert countdown.grade(answer, "", {"numbers": [3, 5, 3], "target": 23}) is not True
    assert countdown.grade(answer, "", {"numbers": [3, 5, 4], "target": 24}) is not True


@pytest.mark.parametrize(("answer", "expected"), NOT_RIGHT_OF_EIGHT_THREES)
def test_what_does_not_solve_countdown_is_wrong_or_undecided(
    answer: str, expected: bool | None
) -> None:
    assert countdown.grade(answer, "", EIGHT_THREES) is expected


@pytest.mark.parametrize(("facts", "answer", "expected"), OTHER_PUZZLES)
def test_countdown_with_other_numbers(
    facts: dict[str, Any], answer: str, expected: bool | None
) -> None:
    assert countdown.grade(answer, "", facts) is expected


LAYOUTS = [
    "{}\n",
    "{}, ",
    "{}; ",
    "{} → ",
    "- {}\n",
    "* {}\n",
    "**{}**\n",
    "Step 1: {}\n",
    "So {}. ",
]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["", " ", "(", " (", "( ("]),
            st.integers(0, 120).map(str) | st.sampled_from(["007", "123456789"]),
            st.sampled_from(["", " ", ")", ") ", ") )"]),
            st.sampled_from(["+", "-", "*", "/", "=", " + ", " - ", " * ", " / ", " = "]),
        ).map("".join),
        min_size=2,
        max_size=8,
    )
)
def test_what_is_only_arithmetic_is_read_as_it_is_among_words(marks: list[str]) -> None:
    said = "".join(marks).rstrip("+-*/= ")
    missing = said.count("(") - said.count(")")
    said = "(" * -missing + said + ")" * missing
    alone, among_words = readings(said), readings(f"So {said}; done")
    assert [one.statements for one in alone] == [one.statements for one in among_words]


@given(st.lists(st.integers(1, 50), min_size=2, max_size=5), st.data())
@settings(max_examples=200, deadline=None)
def test_steps_that_go_on_from_each_other_are_right_in_every_layout(
    numbers: list[int], data: st.DataObject
) -> None:
    left, steps = list(numbers), []
    while len(left) > 1:
        a = left.pop(data.draw(st.integers(0, len(left) - 1)))
        b = left.pop(data.draw(st.integers(0, len(left) - 1)))
        sign = data.draw(st.sampled_from("+-*"))
        value = {"+": a + b, "-": a - b, "*": a * b}[sign]
        steps.append(f"{_written(a)} {sign} {_written(b)} = {value}")
        left.append(value)
    facts = {"numbers": numbers, "target": left[0], "all_numbers": True}
    layout = data.draw(st.sampled_from(LAYOUTS))
    assert countdown.grade("".join(map(layout.format, steps)), "", facts) is True
    fewer = facts | {"numbers": [*numbers[:-1], 1000]}
    assert countdown.grade("".join(map(layout.format, steps)), "", fewer) is not True
    one_more = "\n".join([*steps, f"{_written(left[0])} + 1 = {left[0] + 1}"])
    assert countdown.grade(one_more, "", facts) is not True


def _written(value: int) -> str:
    return f"({value})" if value < 0 else str(value)


# -- choices --------------------------------------------------------------------------------------

BANK = {"options": ["a tree", "a bank", "the river", "both a tree and a bank", "vitamin C"]}
CHOICES: list[tuple[str, str, bool | None]] = [
    *(
        ("B", answer, True)
        for answer in (
            *("B", "b", " B ", "B.", "B)", "(B)", "(b)", "[B]", "{B}", '"B"', "'B'", "“B”"),
            *("‘B’.",),
            *("**B**", "**(B)**", "`B`", "*B*", "__B__", "**B.**", "B\u200b", "Ｂ", "（B）"),
            *("<b>B</b>",),
            *(r"\boxed{B}", r"$\boxed{\text{B}}$", r"\boxed{\textbf{(B)}}", r"\text{B}"),
            *(r"$B$",),
            *(r"\(B\)", r"\[B\]", r"\mathbf{B}", "\\boxed{B}.", "\\\\boxed{B}", "```\nB\n```"),
            *("B. bank", "B) bank", "(B) bank", "B: bank", "B - bank", "B – bank", "B . bank"),
            *("B.bank", "**B. bank**", "**B.** bank", "B, bank", "B (bank)", "b) bank"),
            *("B\nbank",),
            *("B\nIt fits best.", "B. It is where money is kept."),
            *("B. Both the money and the clerk",),
            *("Answer: B", "Answer: **B**", "**Answer:** B", "answer: (b)", "Final answer: B"),
            *("The answer is B", "The answer is B.", "The answer is (B)."),
            *("The answer is: B", "Answer B"),
            *("The correct answer is (B) bank.", "The correct answer is B: bank"),
            *("Correct answer: B",),
            *("The answer is B. bank", "The best answer is option B", "The right choice is B"),
            *("Therefore, the answer is B.", "So the answer is B", "Thus, B."),
            *("So, B is correct.",),
            *("Hence, the correct option is (B).", "My answer is B"),
            *("I would choose B because it fits",),
            *("I choose B.", "I'd go with B", "I think it's B", "I think the answer is B."),
            *("It is B.",),
            *("I would pick option B, since money is kept there.", "It's B", "Option B"),
            *("option (b)",),
            *("Option B: bank", "Choice (B)", "Choice B is the best", "Correct option: B"),
            *("Letter B",),
            *("bank (B)", "A bank (B)", "bank - B", "bank: B", "The most likely is B"),
            *("**Option B**",),
            *("The answer is \"B\".", "The answer is 'B'", "the answer is **b**"),
            *("B because a dog barks",),
            *("Based on the text, the answer is B.", "B!", "### B", "> B", "- B", "• B"),
            *("Answer:\nB",),
            *("Among these, B is the answer", "B, not A", "Answer = B"),
            *("The answer should be B.",),
            *("B → bank", "B = bank", "B | bank", "Probably B", "Most likely B", "It would be B."),
            *("The most appropriate answer is B.", "Final Answer: The final answer is B."),
            *("Ans: B", "B</s>", "B<|im_end|>", "答案是B", "答案：B", "选B", "B、bank"),
            *("The answer is B rather than A", "The answer is B (not A)"),
            *("The answer is (B), not (A)",),
            *("The answer is B. (A) is wrong.", "(A) is wrong, so (B)", "Between B and C, it is B"),
            *("I am confident that B is correct", "I would go for B", "That would be B"),
            *("\\boxed{B. bank}", "\\boxed{\\text{(B) bank}}"),
            *("B. None of the others fit", "B) A and C are not places for money"),
            *("B. vitamin C",),
        )
    ),
    *(
        ("B", answer, False)
        for answer in (
            *("A", "C", "(A)", "**C**", "a", "Answer: A", "The answer is A."),
            *(r"\boxed{\text{C}}",),
            *("C. bank", "I choose A.", "The correct answer is (D) both", "Option A"),
            *("A because it fits",),
            *("I would choose A because it is tall", "The answer is A, since it is tall"),
            *("A.", "E. x"),
        )
    ),
    *(
        ("B", answer, None)
        for answer in (
            *("", "A or B", "B or A", "B, A", "A and B", "(A) and (B)", "A/B", "A & B"),
            *("AB", "BA"),
            *("Both A and B", "Either A or B", "B) or C)", "B or maybe C", "B - A", "B; C"),
            *("None of the above", "None", "not B", "Not B.", "The answer is not B"),
            *("It isn't B",),
            *("B is wrong", "B is not correct", "B isn't right", "B is incorrect"),
            *("anything but B",),
            *("Option A or option B", "A. tree\nB. bank", "The answer is B or C.", "bank"),
            *("a bank",),
            *("The answer cannot be B", "All of the above", "?", "-", "I do not know"),
            *("B? No.", "Bank"),
            *("The answer is bank", "B2", "Banana", "Be", "8", "the answer is", "x" * 4_001),
            *("In option A, the river; so B", "B and maybe C", "It could be B or D", "Is it B?"),
            *("It is not B but A", "vitamin B", "Plan B", "B over A", "As an AI model, B"),
            *("A is a river bank. B is a bank. The answer is B", "A or B? The answer is B"),
            *("I don't think the answer is B", "neither B nor C", "Options: A, B, C"),
            *("B or not",),
        )
    ),
    ("A", "A", True),
    ("A", "A dog", None),
    ("A", "a dog", None),
    ("A", "A. dog", True),
    ("A", "A dog is an animal", None),
    ("A", "The answer is a dog", None),
    ("A", "The answer is A", True),
    ("A", "The answer is A dog", None),
    ("A", "I would choose A because it barks", True),
    ("A", "A because it barks", True),
    ("A", "A) E. coli", True),
    ("A", "not A", None),
    ("I", "I think so", None),
    ("I", "I would choose C", False),
    ("I", "I", True),
    ("I", "The answer is I.", True),
    ("D", "D. Both A and B", True),
    ("J", "(J)", True),
    ("Z", "z", True),
    ("(B)", "B", True),
    ("B. the bank", "b", True),
    ("bank", "B", None),
    ("B", "B ✓", True),
    ("B", "✅ B", True),
    ("B", "<B>", True),
    ("B", "A ✓ B", None),
]  # fmt: skip
WITH_OPTIONS: list[tuple[str, str, bool | None]] = [
    ("B", "B", True),
    ("B", "bank", True),
    ("B", "a bank", True),
    ("B", "The bank.", True),
    ("B", "**Bank**", True),
    ("B", '"a bank"', True),
    ("B", "The answer is bank.", True),
    ("B", "The correct answer is: a bank", True),
    ("B", "It is a bank", True),
    ("B", "B. bank", True),
    ("B", "B. a bank", True),
    ("B", "bank (B)", True),
    ("B", "B: a place for money", True),
    ("B", "B bank", True),
    ("B", "B. tree", None),
    ("B", "tree (B)", None),
    ("B", "The answer is B. tree", None),
    ("B", "A. bank", None),
    ("B", "tree", False),
    ("B", "The tree", False),
    ("B", "The answer is tree", False),
    ("B", "A. tree", False),
    ("B", "both a tree and a bank", False),
    ("D", "Both a tree and a bank", True),
    ("D", "D. Both a tree and a bank", True),
    ("E", "vitamin C", True),
    ("C", "vitamin C", False),
    ("B", "vault", None),
    ("B", "not bank", None),
    ("B", "I do not think the answer is bank", None),
    ("B", "J", None),
    ("B", "tree or bank", None),
    ("bank", "B", True),
]


@pytest.mark.parametrize(("gold", "answer", "expected"), CHOICES)
def test_a_choice_is_a_letter_that_stands_as_a_label(
    gold: str, answer: str, expected: bool | None
) -> None:
    assert choice.grade(answer, gold, {}) is expected


@pytest.mark.parametrize(("gold", "answer", "expected"), WITH_OPTIONS)
def test_a_choice_may_be_the_text_of_an_option(
    gold: str, answer: str, expected: bool | None
) -> None:
    assert choice.grade(answer, gold, BANK) is expected
    letters_to_texts = dict(zip("ABCDE", BANK["options"], strict=True))
    assert choice.grade(answer, gold, {"options": letters_to_texts | {"F": None}}) is expected
    labelled = [f"{letter}. {option}" for letter, option in letters_to_texts.items()]
    assert choice.grade(answer, gold, {"options": labelled}) is expected


def test_options_that_are_letters_are_not_confused() -> None:
    facts = {"options": ["C", "B", "A"]}
    assert [choice.grade(answer, "A", facts) for answer in ("A", "C", "(B)", "A. C")] == [
        True,
        False,
        False,
        True,
    ]


# -- text -----------------------------------------------------------------------------------------

TEXTS: list[tuple[str, str, bool | None]] = [
    ("Paris", "Paris", True),
    ("Paris", "paris.", True),
    ("Paris", "**Paris**", True),
    ("Paris", "Paris\u200b", True),
    ("Paris", '"Paris"', True),
    ("Paris", "“Paris”", True),
    ("Paris", "«Paris»", True),
    ("Paris", "« Paris »", True),
    ("Paris", "‹Paris›", True),
    ("Paris", "`Paris`", True),
    ("Paris", "\\boxed{\\text{Paris}}", True),
    ("Paris", "Paris!", True),
    ("Paris", "The answer is Paris.", True),
    ("Paris", "Answer: Paris", True),
    ("Paris", "**Answer:** Paris", True),
    ("don't", "don’t", True),
    ("rock 'n' roll", "rock ’n’ roll", True),
    ("well-known", "well\u2011known", True),
    ("well-known", "well–known", True),
    ("New York", "new\u00a0york", True),
    ("New York", "New  York\n", True),
    ("café", "cafe\u0301", True),
    ("ﬁne", "fine", True),
    ("2**3", "2**3", True),
    ("C++", "c++", True),
    ("the Seine", "Seine", None),
    ("Seine", "the Seine", None),
    ("Paris", "The capital is Paris", None),
    ("Paris", "Paris, France", None),
    ("Paris", "not Paris", None),
    ("Paris", "Paris or London", None),
    ("café", "cafe", None),
    ("U.S.A.", "USA", None),
    ("well-known", "well known", None),
    ("Paris", "London", False),
    ("Paris", "Parisian", False),
    ("Paris", "", False),
    ("no", "nothing", False),
    ("C++", "C", None),
    ("C", "D", False),
    ("Paris", "Paris " * 5000, None),
]


@pytest.mark.parametrize(("gold", "answer", "expected"), TEXTS)
def test_a_text_is_compared_without_typography(
    gold: str, answer: str, expected: bool | None
) -> None:
    assert text.grade(answer, gold, {}) is expected


@given(st.text(max_size=30), st.text(max_size=30))
def test_a_text_is_right_against_itself_and_normal_twice_is_normal(one: str, other: str) -> None:
    assert text.normal(text.normal(one)) == text.normal(one)
    assert text.grade(one, one, {}) is (True if text.normal(one) else None)
    if text.normal(one) == text.normal(other) != "":
        assert text.grade(one, other, {}) is True


# -- integers -------------------------------------------------------------------------------------

NUMBERS: list[tuple[str, str, bool | None]] = [
    *(
        ("42", answer, True)
        for answer in (
            *("42", " 42 ", "42.", "42.0", "42.00", "+42", "042", "**42**", "`42`", "= 42"),
            *("x = 42",),
            *("#### 42", "6 * 7 = 42\n#### 42", r"\boxed{42}", r"$\boxed{42}$", "$42"),
            *(r"\$42", "$42.00"),
            *("£42", "42€", "€ 42", "US$42", "42 USD", "Rs. 42", "42 dollars", "42 apples"),
            *("42kg",),
            *("42 cm", "42 m^2", "42 m²", "42cm^3", r"42 \text{ apples}", r"42\,\text{cm}"),
            *("42°",),
            *(r"42^\circ", r"42^{\circ}", "42%", r"42\%", "42 percent", "42¢", "42 cents"),
            *("42nd",),
            *("The answer is 42", "The answer is 42.", "Answer: 42", "Final answer: **42**"),
            *("She has 42 apples left.", "3 + 4 = 7 apples, 7 * 6 = 42", "6 × 7 = 42"),
            *("6*7=42",),
            *("So 6 * 7 = 42", "So, 6 \\times 7 = 42.", "42 = 6 * 7", "42 (forty-two)", "(42)"),
            *("approximately 42", "about 42", "≈ 42", r"\approx 42", "~42", "forty-two"),
            *("Forty two",),
            *("forty-two apples", "42 days a week", "42 per day", "42/day", "\u200b42"),
            *("４２", "<b>42</b>"),
            *("The total is 42. So the answer is 42.", "42\n42"),
            *("There are 3 boxes. The answer is 42.",),
            *("16 - 3 = 13, so she has 42 left. Answer: 42", "The result is \\(42\\)."),
            *("42 times",),
            *("x = 6, so 7x = 42".replace("7x", "total"), "Total = $42", "42 ✓"),
            *("$42$ dollars",),
            *("6 * 7 → 42", "3 + 4 = 7, so $\\boxed{42}$", "Step total: 42", "42 km/h"),
            *("a = 42",),
        )
    ),
    *(
        ("42", answer, False)
        for answer in (
            *("43", "-42", "4.2", "420", "42.5", "42,000", "The answer is 43.", "43 apples"),
            *("forty-three", r"\boxed{43}", "6 * 7 = 43", "42 million", "negative 42"),
            *("minus 42",),
            *("-$43", "42 thousand", "#### 43", "three", "2 dozen", "42 hundred", "half"),
        )
    ),
    *(
        ("42", answer, None)
        for answer in (
            *("", "12 or 42", "42 or 43", "42 or more", "42 and 43", "42, 43", "42-43"),
            *("42–43",),
            *("42 to 43", "between 42 and 43", "not 42", "It is not 42", "!= 42", "≠ 42"),
            *(r"\neq 42",),
            *("< 42", "> 42", "<= 42", "≥ 42", r"\leq 42", "x < 42", "more than 42"),
            *("less than 42",),
            *("at least 42", "at most 42", "up to 42", "over 42", "almost 42", "42!", "42+"),
            *("42?",),
            *("42 hours 30 minutes", "42 hours 42 minutes", "42:00", "6 * 7", "84/2"),
            *("6^2+6", "42^1"),
            *("42²", "42 × 1", "42e0", "0x2A", "4_2", "42x", "42k", "42π", r"42\pi"),
            *(r"\sqrt{42}", "41.9999 ≈ 42"),
            *(r"5 \approx 42", "±42", "42 ± 1", "x = 42, y = 3", "unknown", "none", "x"),
            *("4,2", "42,5"),
            *("1.2.42", "- 42", "-- 42".replace("--", "Answer -- -"), "9" * 5000, "٤٢"),
            *("42|43",),
            *("\\boxed{42} or \\boxed{43}", "I don't know, 42?", "The answer isn't 42"),
            *("2(21)", "42(1)"),
            *("forty or fifty", "two three", "4 2", "1 42", "42 and a half", "no 42"),
        )
    ),
    ("1234", "$1,234.00", True),
    ("1234", "1{,}234", True),
    ("1234", "1\u202f234", True),
    ("1234", r"1\,234", True),
    ("1234", r"1,\!234", True),
    ("1234", "1'234", True),
    ("1234", "1.234", None),
    ("1234", "1 234", None),
    ("1,234", "1234", True),
    ("70000", r"$\boxed{\$70,000}$", True),
    ("3/4", "3/4", True),
    ("3/4", "0.75", True),
    ("3/4", r"\frac{3}{4}", True),
    ("3/4", r"\dfrac34", True),
    (r"\frac{3}{4}", "3/4", True),
    (r"\frac{3}{4}", "¾", True),
    ("0.75", "3/4 cup", True),
    ("0.75", "6/8", True),
    ("1.5", "1 1/2", True),
    ("1.5", r"1\frac{1}{2} cups", True),
    ("1.5", "1½", True),
    ("-0.75", "-3/4", True),
    ("0.75", "3/5", False),
    ("3", "12/4", None),
    ("3", "3/4", None),
    ("4", "3/4", False),
    ("42", "42 apples (3 red, 39 blue)", True),
    ("42", "42 (or 43)", None),
    ("42", "-(-42)", None),
    ("42", "twice 21", None),
    ("42", "half of 84", None),
    ("42", "42 / 7 days", None),
    ("42", "There are 42 of the 50", None),
    ("0.5", "half", True),
    ("0.5", ".5", True),
    ("0.5", "50%", None),
    ("50%", "50", True),
    ("50%", "0.5", None),
    ("0.75", "75 cents", None),
    ("5.50", "$5.5", True),
    ("-5", "−5", True),
    ("-5", "- 5", True),
    ("-5", "-5 degrees", True),
    ("-5", "negative five", True),
    ("-20", "-$20", True),
    ("-20", "$-20", True),
    ("-20", "(20)", None),
    ("2000000", "2 million", True),
    ("2500000", "2.5 million dollars", True),
    ("2000", "2k", True),
    ("2000", "2K", True),
    ("2000", "2 thousand", True),
    ("200000", "2 hundred thousand", True),
    ("18", "1.5 dozen", True),
    ("18", "1.5 dozen eggs", True),
    ("12", "a dozen", True),
    ("10", "ten", True),
    ("21", "twenty-one", True),
    ("105", "one hundred and five", True),
    ("2005", "two thousand and five", True),
    ("1", "one", True),
    ("1", "one apple", True),
    ("1", "none of them but the one who was here", None),
    ("0", "zero", True),
    ("7", "So 3 + 4 = 7", True),
    ("7", "5 \\approx 7", None),
    ("5", r"5 \approx 7", None),
    ("5", "5 dollars and 5 cents", None),
    ("2", "2 hours 30 minutes", None),
    ("2", "2 by 2", None),
    ("2", "2 hours 2 minutes", None),
    ("12", "12-13", None),
    ("5", "5e5", None),
    ("5", "5M", True),
    ("5000000", "5M", None),
    ("12 or 13", "12", None),
    ("x", "12", None),
    ("42", "42 ✅", True),
    ("42", "6 * 7 = <<6*7=42>>42", True),
    ("42", "<<6*7=42>>41", False),
    ("5000", "5 × 10^3", True),
    ("5500", r"5.5 \times 10^{3}", True),
    ("5", "5 × 10^3", False),
    ("30", "3 × 10", None),
    ("12", "12e", None),
    ("13535", "13 535", True),
    ("1234567", "Total: 1 234 567", True),
    ("3", "We need 3 500 times", None),
]  # fmt: skip


@pytest.mark.parametrize(("gold", "answer", "expected"), NUMBERS)
def test_a_number_is_read_from_what_stands_around_it(
    gold: str, answer: str, expected: bool | None
) -> None:
    assert integers.grade(answer, gold, {}) is expected


@given(st.integers(-(10**12), 10**12), st.integers(-(10**12), 10**12))
def test_a_whole_number_is_right_only_against_itself(one: int, other: int) -> None:
    for written in (str(one), f"{one:,}", f"**{one}**", f"\\boxed{{{one}}}", f"= {one} apples"):
        assert integers.grade(written, str(one), {}) is True
        assert (integers.grade(written, str(other), {}) is True) is (one == other)


# -- words and letters ----------------------------------------------------------------------------

STONE = {"letters": "nesotx", "length": 5, "words": ["stone", "notes", "onset"]}
WORDS: list[Row] = [
    *(
        (answer, True)
        for answer in (
            *("stone", "NOTES", "**onset**", '"stone".', "“stone”", "«stone»"),
            *("The word is stone.",),
            *("The final answer is: **Stone**", "Word: stone", r"\boxed{\text{stone}}"),
            *("S-T-O-N-E",),
            *("s t o n e", "S, T, O, N, E", "stone\nstone", "stone (s-t-o-n-e)", "`stone`"),
            *("stone\u200b",),
            *('I chose "stone" because it has five letters', "A valid word is **stone**"),
            *("- stone",),
            *("The English word is: stone", "Therefore, the word is stone", "S‑T‑O‑N‑E"),
            *("# Stone",),
        )
    ),
    *((answer, False) for answer in ("stones", "tones", "ston", "s t o n e s", "Word: tones")),
    *(
        (answer, None)
        for answer in (
            *("", "-", "stone or onset", "stone, notes", "not stone", 'not "stone"'),
            *("no word", "5"),
            *("I could not find one", "stone notes", "a" * 2_001),
        )
    ),
]  # fmt: skip
CAT = {"choices": ["tea", "Apple", "cup", "toe", "egg"], "length": 3, "words": ["cat", "act"]}
ACRONYMS: list[Row] = [
    *(
        (answer, True)
        for answer in (
            *("cup, apple, tea", "Cup, Apple, Toe.", "apple cup tea", "cup\napple\ntea"),
            *("1. cup\n2. apple\n3. tea", "1) cup 2) apple 3) tea", "- cup\n- apple\n- tea"),
            *("cup, apple, and tea", "**cup**, **apple**, **tea**", "['cup', 'apple', 'tea']"),
            *("The words are: cup, apple, tea", "CAT: cup, apple, tea", "CAT = cup apple tea"),
            *("cup, apple, tea = CAT", "cup, apple, tea -> cat", "cup, apple, tea (CAT)"),
            *("cup apple tea spells CAT.", r"\boxed{\text{cup, apple, tea}}"),
            *("cup → apple → tea",),
            *("C: cup\nA: apple\nT: tea", "Cup (C), Apple (A), Tea (T)"),
            *("C - cup, A - apple, T - tea",),
            *("Answer: cup, apple, tea",),
            *("Cup, apple, tea, which spells CAT".replace(", which", " –"),),
            *("**C**up, **A**pple, **T**ea", "“cup”, “apple”, “tea”", "cup\u200b, apple, tea"),
        )
    ),
    *(
        (answer, False)
        for answer in (
            *("tea, apple, cup", "act: cup, apple, tea", "cup, apple", "cup, apple, tea, toe"),
            *("cap, apple, tea", "cup, apple, tap", "tea tea apple"),
            *("cup, apple, tea; apple, cup, tea",),
        )
    ),
    *(
        (answer, None)
        for answer in (
            *("", ":", "and", "cat", "CAT", "C-A-T", "cup, apple, tea or toe", "I do not know"),
            *("not cup, apple, tea", "There is no such word here", "x" * 2_001, "big cats win"),
        )
    ),
]  # fmt: skip


def test_words_that_deny_may_be_the_answer() -> None:
    facts = {"letters": "rwssngo", "length": 5, "words": ["wrong", "never"]}
    for answer in ("wrong", "The word is wrong", "**never**", "n-e-v-e-r"):
        assert letters.grade_word(answer, "wrong", facts) is True
    assert letters.grade_word("The word is not wrong", "wrong", facts) is None
    facts = {"choices": ["never", "owl", "neither", "egg"], "length": 3, "words": ["none", "eon"]}
    assert letters.grade_acronym("egg, owl, never", "", facts) is True
    assert letters.grade_acronym("egg, owl, neither", "", facts) is True
    assert letters.grade_acronym("not egg, owl, never", "", facts) is None


@pytest.mark.parametrize(("answer", "expected"), WORDS)
def test_a_word_is_one_word(answer: str, expected: bool | None) -> None:
    assert letters.grade_word(answer, "stone", STONE) is expected


@pytest.mark.parametrize(("answer", "expected"), ACRONYMS)
def test_an_acronym_is_a_list_of_words(answer: str, expected: bool | None) -> None:
    assert letters.grade_acronym(answer, "cup, apple, tea", CAT) is expected


# -- what takes no grader down --------------------------------------------------------------------

GRADERS: dict[str, Callable[[str], bool | None]] = {
    "countdown": lambda answer: countdown.grade(answer, "", EIGHT_THREES),
    "countdown gold": lambda gold: countdown.grade("3", gold, {}),
    "choice": lambda answer: choice.grade(answer, "B", {}),
    "choice with options": lambda answer: choice.grade(answer, "B", BANK),
    "text": lambda answer: text.grade(answer, "the Seine", {}),
    "integers": lambda answer: integers.grade(answer, "42", {}),
    "letter_countdown": lambda answer: letters.grade_word(answer, "stone", STONE),
    "acronym": lambda answer: letters.grade_acronym(answer, "cup, apple, tea", CAT),
}
FRAGMENTS = [
    *(" ", "\n", "\t", "\u00a0", "\u200b", ".", ",", ";", ":", "!", "?", "'", '"', "“", "’"),
    *("`", "```"),
    *("(", ")", "[", "]", "{", "}", "<", ">", "=", "==", "+", "-", "–", "*", "**", "***"),
    *("/", "//"),
    *("_", "__", "#", "####", "|", "~", "^", "%", "$", "&", "\\", "\\\\", "\\(", "\\[", "→"),
    *("->", "≈"),
    *("0", "1", "9", "12", ",111", ".5", "1,000", "x", "X", "×", "1/2", "½", "²", "３", "๓"),
    *("<br>",),
    *("a", "A", "B", "b", "I", "A)", "(B)", "B.", "B,", "- ", "* ", "1. ", "a) ", "s-"),
    *("t-o", "cup"),
    *("is", "the answer is ", "answer", "Answer: ", "option ", "so ", "Step 1:", "step "),
    *("and ", "or "),
    *("not ", "not", "n't", "twenty ", "hundred ", "million", "k", "equals ", "gives "),
    *("plus ", "word is"),
    *("\\frac{", "\\frac", "}{", "\\boxed{", "\\text{", "\\times ", "\\left(", "\\cdot"),
    *("\\begin{a}",),
    *("3 + 5", "(3 + 5) * 3 = 24", "8 * 3 = 24\n", "3 = ", "= 3", "é", "\u0301", "\u0316"),
    *("\u0f73", "ß"),
    *("\ufdfa", "\ufb03", "不", "\0", "\ud800", "🎉", "ﾞ", "\u2028", "tea, ", "spells "),
    *("C: cup ",),
]  # fmt: skip
SIZES = {
    "countdown": 10_000,
    "countdown gold": 10_000,
    "choice": choice.LONGEST,
    "choice with options": choice.LONGEST,
    "text": 1_000,
    "integers": integers.LONGEST,
    "letter_countdown": letters.LONGEST,
    "acronym": letters.LONGEST,
}
"""Characters of the longest answers that are tried: as many as the grader reads, up to 10,000."""

MOST_SECONDS = 0.25
"""Of processor time for such an answer. The slowest takes a fifth of it."""


def seconds(grade: Callable[[str], bool | None], answer: str) -> float:
    """The processor time of this process alone; of three tries the shortest."""
    tries = []
    for _ in range(3):
        start = time.process_time()
        grade(answer)
        tries.append(time.process_time() - start)
        if tries[-1] < MOST_SECONDS / 5:
            break
    return min(tries)


@pytest.mark.slow
@pytest.mark.parametrize("name", GRADERS)
def test_a_fragment_said_over_and_over_takes_no_time(name: str) -> None:
    for fragment in FRAGMENTS:
        repeated = fragment * (SIZES[name] // len(fragment))
        for answer in (repeated, f"answer{repeated[:-7]}!"):
            assert seconds(GRADERS[name], answer) < MOST_SECONDS, ascii(fragment)


@pytest.mark.slow
@pytest.mark.parametrize("name", GRADERS)
@given(
    before=st.lists(st.sampled_from(FRAGMENTS), max_size=3).map("".join),
    repeated=st.lists(st.sampled_from(FRAGMENTS), min_size=1, max_size=4).map("".join),
    after=st.lists(st.sampled_from(FRAGMENTS), max_size=3).map("".join),
)
@settings(max_examples=80, deadline=None)
def test_no_answer_makes_a_grader_raise_or_wait(
    name: str, before: str, repeated: str, after: str
) -> None:
    filling = repeated * ((SIZES[name] - len(before) - len(after)) // len(repeated))
    assert seconds(GRADERS[name], before + filling + after) < MOST_SECONDS


@pytest.mark.slow
@pytest.mark.parametrize("name", GRADERS)
@given(st.lists(st.sampled_from(FRAGMENTS) | st.text(max_size=3), max_size=30).map("".join))
@settings(max_examples=100, deadline=None)
def test_no_text_makes_a_grader_raise(name: str, answer: str) -> None:
    assert GRADERS[name](answer) in (True, False, None)


@pytest.mark.parametrize("name", ["countdown", "choice", "text", "integers"])
@given(
    st.sampled_from(["24", "A", "B", "zzz", "not", "1/2", "-1", "50%", "3 * 8"])
    | st.text(max_size=9)
)
@settings(deadline=None)
def test_a_wrong_answer_is_never_right(name: str, gold: str) -> None:
    task = task_of(name)
    for facts in ({}, {"numbers": [3, 8, 25], "target": 24}, {"options": ["zzz", gold]}):
        if task.fault(gold, facts) is None:
            assert task.grade(task.wrong(gold, gold, facts), gold, facts) is not True
