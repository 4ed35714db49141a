"""The functions of `import skill_factory`: the commands, from a script or a notebook.

Paths are `str` or `Path`. Settings are keywords, named as in a config file. Every error is a
`SkillFactoryError`, with the words of the command line.
"""

from skill_factory.api.looking import check, diff, explain, traces, verify
from skill_factory.api.made import SFT, Run
from skill_factory.api.making import create, push, questions, run
from skill_factory.api.measuring import evaluate, grade

__all__ = [
    "SFT",
    "Run",
    "check",
    "create",
    "diff",
    "evaluate",
    "explain",
    "grade",
    "push",
    "questions",
    "run",
    "traces",
    "verify",
]
