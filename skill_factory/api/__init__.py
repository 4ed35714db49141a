"""The functions of `import skill_factory`: the commands, from a script or a notebook.

Paths are `str` or `Path`. Settings are keywords, named as in a config file. Every error is a
`SkillFactoryError`, with the words of the command line.
"""

from skill_factory.api.looking import check, diff, explain, report, traces, verify
from skill_factory.api.made import SFT, Run
from skill_factory.api.making import create, push, questions, run
from skill_factory.api.measuring import compare, evaluate, grade, measure_files

__all__ = [
    "SFT",
    "Run",
    "check",
    "compare",
    "create",
    "diff",
    "evaluate",
    "explain",
    "grade",
    "measure_files",
    "push",
    "questions",
    "report",
    "run",
    "traces",
    "verify",
]
