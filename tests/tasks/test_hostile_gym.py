"""What a model could write in answer to reasoning-gym's questions to have it run, or to be right
without solving anything."""

from __future__ import annotations

import json
import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from skill_factory.errors import InputError
from skill_factory.stages.questions.making import make_questions
from skill_factory.stages.settings import QuestionsConfig
from skill_factory.tasks import mathematics
from skill_factory.tasks import reasoning_gym as gym
from skill_factory.tasks.workers.judge_guard import Refused, evaluated

pytestmark = pytest.mark.slow

BY_EVAL = ("string_insertion", "spiral_matrix", "binary_matrix", "n_queens")
BY_SYMPY = ("countdown", "puzzle24", "polynomial_multiplication", "simple_integration")
QUESTIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "string_insertion": ("ABCDE", {}),
    "spiral_matrix": ("1 2 4 3", {}),
    "binary_matrix": ("0 1\n1 2", {}),
    "n_queens": ("_ Q\nQ _", {"valid_answers": ["_ Q\nQ _"]}),
    "countdown": ("3*8", {"numbers": [3, 8], "target": 24}),
    "puzzle24": ("3*7 - 1 + 4", {"numbers": [3, 7, 1, 4]}),
    "polynomial_multiplication": ("x**2 - 1", {}),
    "simple_integration": ("x**2 + C", {"integrand": "2*x", "variable": "x"}),
    "intermediate_integration": ("-cos(x)**3/3 + C", {"integrand": "sin(x)*cos(x)**2"}),
    "number_sorting": ("['1', '2.5', '3']", {"direction": "ascending"}),
    "complex_arithmetic": ("3.0 - 2.0i", {"result": {"(tuple)": [3, -2]}}),
    "coin_flip": ("0.375", {}),
    "gsm_symbolic": ("405", {}),
    "bitwise_arithmetic": ("0x14", {"problem": "((0x3 + 0x2) << (0x5 - 0x3))"}),
    "game_of_life_halting": ("True", {}),
}

HARM = {
    "os": "__import__('os').mkdir('{0}')",
    "posix": "__import__('posix').mkdir('{0}')",
    "system": "__import__('os').system('touch {0}')",
    "popen": "__import__('os').popen('touch {0}').read()",
    "spawn": "__import__('os').posix_spawn('/bin/touch', ['touch', '{0}'], {{}})",
    "execv": "__import__('os').execv('/bin/touch', ['touch', '{0}'])",
    "subprocess": "__import__('subprocess').run(['touch', '{0}'])",
    "shell": "__import__('subprocess').Popen('touch {0}', shell=True).wait()",
    "fork_exec": "__import__('_posixsubprocess').fork_exec([b'touch', b'{0}'], [b'/bin/touch'], "
    "True, (), None, None, -1, -1, -1, -1, -1, -1, 2, True, False, -1, None, None, None, -1, None, "
    "True)",
    "ctypes": "__import__('ctypes').CDLL(None).system(b'touch {0}')",
    "sqlite3": "__import__('sqlite3').connect('{0}').execute('create table t(a)')",
    "dbm": "__import__('dbm').open('{0}', 'c')",
    "socket": "__import__('socket').create_connection(('127.0.0.1', {1}))",
    "http": "__import__('urllib.request').request.urlopen('http://127.0.0.1:{1}/')",
    "open": "open('{0}', 'w').write('x')",
    "FileIO": "__import__('io').FileIO('{0}', 'w')",
    "pathlib": "__import__('pathlib').Path('{0}').touch()",
    "importlib": "__import__('importlib').import_module('os').mkdir('{0}')",
    "pickle": "__import__('pickle').loads(b\"cos\\nmkdir\\n(V{0}\\ntR.\")",
    "environment": "open('{0}', 'w').write(__import__('os').environ['CANARY'])",
    "proc": "open('/proc/' + str(__import__('os').getppid()) + '/environ').read()",
    "subclasses": "[c for c in ().__class__.__base__.__subclasses__() "
    "if c.__name__ == '_wrap_close'][0].__init__.__globals__['mkdir']('{0}')",
    "mro": "''.__class__.__mro__[1].__subclasses__()[0]",
    "generator": "(g for g in [1]).gi_frame.f_builtins['open']('{0}', 'w')",
    "traceback": "(lambda: (yield))().gi_frame.f_back.f_globals",
    "format": "'{{0.__class__.__mro__}}'.format(1)",
    "format map": "'{{a.__init__.__globals__}}'.format_map(dict(a=print))",
    "lambda": "(lambda: __import__('os').mkdir('{0}'))()",
    "walrus": "(a := __import__('os')).mkdir('{0}')",
    "f-string": "f\"{{__import__('os').mkdir('{0}')}}\"",
    "comprehension": "[a.mkdir('{0}') for a in [__import__('os')]]",
    "dict": "{{**{{'a': __import__('os').mkdir('{0}')}}}}",
    "star": "[*map(__import__('os').mkdir, ['{0}'])]",
    "condition": "1 if __import__('os').mkdir('{0}') else 2",
    "subscript": "[__import__('os').mkdir('{0}')][0]",
    "comparison": "0 < (__import__('os').mkdir('{0}') or 1)",
    "exec": "exec(\"import os; os.mkdir('{0}')\")",
    "eval": "eval(\"__import__('os').mkdir('{0}')\")",
    "compile": "eval(compile(\"__import__('os').mkdir('{0}')\", 'a', 'eval'))",
    "getattr": "getattr(__import__('os'), 'mk' + 'dir')('{0}')",
    "builtins": "__builtins__['__import__']('os').mkdir('{0}')",
    "globals": "globals()['__builtins__']['open']('{0}', 'w')",
    "class": "type('A', (), {{'__len__': lambda a: open('{0}', 'w')}})().__len__()",
    "signal": "__import__('signal').signal(27, __import__('signal').SIG_IGN)",
    "timer": "__import__('signal').setitimer(2, 0)",
    "pipes": "[__import__('os').write(n, b'1.0\\n') for n in range(21)]",
    "settrace": "__import__('sys').settrace(lambda *a: open('{0}', 'w'))",
    "scorer": "setattr(__import__('reasoning_gym').dataset.ProceduralDataset, 'score_answer', "
    "lambda *a: 1.0)",
    "frames": "__import__('sys')._getframe(1).f_locals.update(reward=1.0)",
    "gc": "[setattr(a, 'reward', 1.0) for a in __import__('gc').get_objects()]",
    "thread": "__import__('threading').Thread(target=open, args=('{0}', 'w')).start()",
    "fork": "__import__('os').fork() or __import__('time').sleep(60)",
    "double fork": "__import__('os').fork() or __import__('os').fork() or "
    "__import__('os').mkdir('{0}')",
    "kill": "__import__('os').kill(__import__('os').getppid(), 9)",
    "exit": "exit()",
    "_exit": "__import__('os')._exit(0)",
    "input": "input()",
    "print": "print('1.0')",
    "breakpoint": "breakpoint()",
    "unicode": "\uff4f\uff50\uff45\uff4e('{0}', 'w')",
    "italic": "\U0001d626\U0001d637\U0001d622\U0001d62d(\"open('{0}', 'w')\")",
    "null byte": "1\0 + __import__('os').mkdir('{0}')",
    "comment": "1 #\n+ __import__('os').mkdir('{0}')",
    "continued": "1 \\\n if open('{0}', 'w') else 1",
    "encoding": "# coding: utf-7\n+AG8-pen('{0}', 'w')",
    "sympify": "sympify(\"__import__('os').mkdir('{0}')\")",
    "S": "S(\"__import__('os').mkdir('{0}')\")",
    "sine of a text": "sin(\"__import__('os').mkdir('{0}')\")",
    "sum of texts": "Add(\"__import__('os').mkdir('{0}')\")",
    "function of a text": "Function('f')(\"__import__('os').mkdir('{0}')\")",
    "parse_expr": "parse_expr(\"__import__('os').mkdir('{0}')\")",
    "lambdify": "lambdify([], \"__import__('os').mkdir('{0}')\", modules=[])()",
    "preview": "preview(x, viewer='file', filename='{0}')",
    "attribute of a symbol": "Symbol('x').__class__.__init__.__globals__",
    "attribute of a function": "sin.eval.__globals__['__builtins__']['open']('{0}', 'w')",
    "keyword": "Symbol('x', **{{'a': open('{0}', 'w')}})",
    "lambda of SymPy": "Lambda(x, open('{0}', 'w'))(1)",
    "long number": "9" * 5_000,
    "exponent": "9**9**9**9",
    "shift": "1 << 10**10",
    "repetition": "'a' * 10**10",
    "list": "[0] * 10**10",
    "nested brackets": "[" * 5_000,
    "nested parentheses": "(" * 9_000 + "1" + ")" * 9_000,
    "nested signs": "-" * 15_000 + "1",
    "nested powers": "x" + "**x" * 4_000,
}


def facts(name: str) -> dict[str, str]:
    gold, metadata = QUESTIONS[name]
    known = {"variable": "x"} | metadata
    entry = {"answer": gold, "metadata": known, "settings": {}}
    return {"gym": name, "entry": json.dumps(entry)}


def grade(name: str, answer: str) -> bool | None:
    return gym.grade(answer, QUESTIONS[name][0], facts(name))


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield server


@pytest.mark.parametrize("name", BY_EVAL + BY_SYMPY)
def test_no_answer_is_run(
    name: str, tmp_path: Path, listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CANARY", QUESTIONS[name][0])
    port = listener.getsockname()[1]
    file = tmp_path / "harm"
    for kind, harm in HARM.items():
        answer = harm.format(file, port) if "{" in harm else harm
        assert not grade(name, answer), kind
        assert not grade(name, f"[{answer}]"), kind
        assert not list(tmp_path.iterdir()), kind
        assert grade(name, QUESTIONS[name][0]) is True, kind
        assert grade(name, "zzz") is False, kind
    with pytest.raises(BlockingIOError):
        listener.accept()
    judges = psutil.Process().children()
    assert [child for judge in judges for child in judge.children()] == []


def test_a_judge_lives_on_when_an_answer_is_refused() -> None:
    before = {judge.pid for judge in psutil.Process().children()}
    assert grade("countdown", "3*8") is True
    mine = {judge.pid for judge in psutil.Process().children()}
    for harm in ("open('a')", "9**9**9", "integrate(x)", "x.y", "sin('1')"):
        assert grade("polynomial_multiplication", harm) is None
    assert grade("countdown", "3*8") is True
    assert {judge.pid for judge in psutil.Process().children()} == mine
    assert len(mine) >= max(1, len(before))


@pytest.mark.parametrize(
    ("name", "answer", "expected"),
    [
        ("polynomial_multiplication", "x**2-1", True),
        ("polynomial_multiplication", "-1 + x*x", True),
        ("polynomial_multiplication", "x**2 + 1", False),
        ("polynomial_multiplication", "(x + 1)*(x - 1)", False),  # as the library has it
        ("polynomial_multiplication", "expand((x + 1)*(x - 1))", None),
        ("polynomial_multiplication", "x^2 - 1", False),
        ("polynomial_multiplication", "y**2 - 1", False),
        ("polynomial_multiplication", "", False),
        ("simple_integration", "x**2", True),
        ("simple_integration", "x**2 + C", True),
        ("simple_integration", "x**2 + 5", True),
        ("simple_integration", "2*x**2/2 + sin(1)", True),
        ("simple_integration", "exp(2*log(x))", True),
        ("simple_integration", "abs(x)**2", False),  # as the library has it: x is complex there
        ("simple_integration", "f(x)", False),
        ("simple_integration", "x**3 + C", False),
        ("simple_integration", "integrate(2*x, x)", None),
        ("simple_integration", "Integral(2*x, x)", None),
        ("simple_integration", "the answer is x**2", False),
        ("intermediate_integration", "-cos(x)**3/3", True),
        ("intermediate_integration", "-(3*cos(x) + cos(3*x))/12 + C", True),
        ("intermediate_integration", "sin(x)", False),
        ("countdown", "8*3", True),
        ("countdown", "(3)*(8)", True),
        ("countdown", "8 + 3", False),
        ("countdown", "24", False),
        ("countdown", "24 + 0*3*8", False),
        ("countdown", "0x18 + 0x0*3*8", None),
        ("countdown", "0x18+0x0*(3+8)", None),
        ("countdown", "0o30 + 0*(3 + 8)", False),
        ("countdown", "0b11000 + 0x0*(3+8)", None),
        ("countdown", "1_2*2 + 0x0*(3+8)", False),
        ("puzzle24", "(7 - 1)*4*3/3", False),
        ("puzzle24", "4*(7 - 3 + 1) + 4", False),
        ("puzzle24", "4*6*1*1", False),
        ("puzzle24", "7*3 + 4 - 1", True),
        ("number_sorting", "['1', '2.5', '3']", True),
        ("number_sorting", "[1, 2.5, 3]", True),
        ("number_sorting", "[NaN, NaN, NaN]", None),
        ("number_sorting", "['nan', 'nan', 'nan']", None),
        ("number_sorting", "[3, 2.5, 1]", False),
        ("complex_arithmetic", "3 - 2i", True),
        ("complex_arithmetic", "3 - 2j", True),
        ("complex_arithmetic", "3 + 2i", False),
        ("complex_arithmetic", "nan", None),
        ("complex_arithmetic", "NaN", None),
        ("complex_arithmetic", "nanj", None),
        ("complex_arithmetic", "1 + nani", None),
        ("complex_arithmetic", "nan + infj", None),
        ("coin_flip", "0.375", True),
        ("coin_flip", "3/8", True),
        ("coin_flip", "The probability is 0.375.", False),  # the scorer reads no words
        ("coin_flip", "0.37501", True),
        ("coin_flip", "0", False),
        ("coin_flip", "0.3", False),
        ("coin_flip", "1", False),
        ("gsm_symbolic", "405", True),
        ("gsm_symbolic", "It is 405 more", True),
        ("gsm_symbolic", "-405", None),
        ("gsm_symbolic", "\N{MINUS SIGN} 405", None),
        ("gsm_symbolic", "-(405)", None),
        ("gsm_symbolic", "404", False),
        ("bitwise_arithmetic", "0x14", True),
        ("bitwise_arithmetic", "20", True),
        ("bitwise_arithmetic", "0x15", False),
    ],
)
def test_what_is_right_stays_right_and_gaps_are_closed(
    name: str, answer: str, expected: bool | None
) -> None:
    assert grade(name, answer) is expected


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("[1, 2.5, 'a', None, True]", [1, 2.5, "a", None, True]),
        ("{'a': (1, -2), 3: {4}}", {"a": (1, -2), 3: {4}}),
        ("((0x3 + 0x2) << (0x5 - 0x3))", 20),
        ("~7 // 2 % 5 ^ 3 & 6 | 1", ~7 // 2 % 5 ^ 3 & 6 | 1),
        ("2**64", 2**64),
        (" 1", 1),
    ],
)
def test_literals_and_arithmetic_have_their_value(text: str, value: object) -> None:
    assert evaluated(text, {}) == value


@pytest.mark.parametrize(
    "text",
    [
        *("a.b", "(1).real", "[1][0]", "print(1)", "lambda: 1", "[a for a in [1]]"),
        *("f'{1}'", "1 if 1 else 2", "1 < 2", "(a := 1)", "[*[1]]", "{**{}}", "1 and 2", "not 1"),
        *("'a' * 3", "[1] * 3", "'a' + 'b'", "'%s' % 1", "9**9**9", "2**-99999", "1 << 99999"),
        *("g(a=1)", "g(evaluate=True)", "g(**{})", "g(*[1])", "g('a')", "g(1)(2)", "1" * 20_001),
    ],
)
def test_all_else_is_refused(text: str) -> None:
    with pytest.raises(Refused):
        evaluated(text, {"g": abs})


def test_nothing_is_run_in_mathematics_either(tmp_path: Path) -> None:
    file = tmp_path / "harm"
    for kind, harm in HARM.items():
        answer = harm.format(file, 1) if "{" in harm else harm
        for text in (answer, f"${answer}$", rf"\boxed{{{answer}}}"):
            assert not mathematics.grade(text, r"\frac{1}{3}", {}), kind
        assert not list(tmp_path.iterdir()), kind
    assert mathematics.grade("1/3", r"\frac{1}{3}", {}) is True


@pytest.mark.parametrize("entry", ["", "[]", "{}", "null", "{", "[" * 5_000, '{"settings": 1}'])
def test_an_entry_that_is_none_is_undecided(entry: str) -> None:
    assert grade("gsm_symbolic", "405") is True
    before = {judge.pid for judge in psutil.Process().children()}
    assert gym.grade("405", "405", {"gym": "gsm_symbolic", "entry": entry}) is None
    assert {judge.pid for judge in psutil.Process().children()} == before


def test_what_is_known_of_us_is_not_known_to_judges() -> None:
    assert grade("gsm_symbolic", "405") is True
    for judge in psutil.Process().children():
        assert "CANARY" not in judge.environ()
        assert not {"HOME", "PATH", "USER", "HF_HOME"} & judge.environ().keys()
    assert "HF_HOME" in os.environ


@pytest.mark.parametrize(
    "name",
    [
        *("countdown", "puzzle24", "coin_flip", "complex_arithmetic", "number_sorting"),
        *("gsm_symbolic", "propositional_logic", "quantum_lock", "time_intervals"),
    ],
)
def test_who_solves_nothing_is_never_right(name: str) -> None:
    config = QuestionsConfig(source=f"reasoning-gym:{name}", count=4)
    for row in make_questions(config).table.to_pylist():
        known, gold = json.loads(row["metadata"]), row["answer"]
        metadata = json.loads(known["entry"])["metadata"]
        target, numbers = metadata.get("target", 24), metadata.get("numbers")
        zeros = " + ".join(map(str, numbers if isinstance(numbers, list) else [1, 1]))
        answers = {
            *("", " ", "nan", "nanj", "[]", "{}", "null", "True", "None", "x", "zzz", "7919"),
            *(str(target), f"{target} + 0*({zeros})", f"{target:#x} + 0x0*({zeros})"),
            *(re.sub(r"\d+(\.\d+)?", "nan", gold), re.sub(r"\d+", "0", gold), row["question"]),
            *row["question"].splitlines(),
        }
        assert gym.grade(gold, gold, known) is True
        for answer in answers - {gold}:
            assert not gym.grade(answer, gold, known), answer


def test_a_dataset_that_takes_anything_makes_no_question() -> None:
    with pytest.raises(InputError, match="200 takes_any_answer"):
        make_questions(QuestionsConfig(source="reasoning-gym:game_of_life_halting", count=1))
