"""What a scripted model answers, for the files that foreign tools write: four sums, two samples
each. What is to be measured of them stands in tests/measure/test_foreign.py, worked out by hand.
"""

from __future__ import annotations

QUESTIONS = {
    "What is 12 + 30?": "42",
    "What is 7 + 8?": "15",
    "What is 9 + 9?": "18",
    "What is 20 + 1?": "21",
}


def trace(*attempts: tuple[str, str], final: str) -> str:
    """A trace of attempts, each an answer and a verdict."""
    blocks = [
        f"<sample>\nI get {answer}.\n<answer>{answer}</answer>\n</sample>\n"
        f"<reflect>\nIs it {answer}?\n<verdict>{verdict}</verdict>\n</reflect>\n"
        for answer, verdict in attempts
    ]
    thinking = "Let me look at the question again.\n".join(blocks)
    return f"<think>\n{thinking}</think>\n\nSo the answer is:\n\n<answer>\n{final}\n</answer>"


RESPONSES = {
    "What is 12 + 30?": [
        trace(("42", "Correct"), final="42"),
        trace(("40", "Incorrect"), ("42", "Correct"), final="42"),
    ],
    "What is 7 + 8?": [
        trace(("15", "Incorrect"), ("14", "Correct"), final="14"),
        trace(("15", "Correct"), final="15"),
    ],
    "What is 9 + 9?": [
        trace(("17", "Correct"), final="17"),
        "The answer is 18.",
    ],
    "What is 20 + 1?": [
        trace(("20", "Incorrect"), ("22", "Incorrect"), ("21", "Correct"), final="21"),
        "<think>\n<sample>\nTwenty and one more",
    ],
}
