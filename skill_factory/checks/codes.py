"""The codes of all checks: what each means, how grave it is, and what to do."""

from __future__ import annotations

from skill_factory.checks.findings import Code, Severity

_E, _W, _N = Severity.ERROR, Severity.WARNING, Severity.NOTE


class C:
    """Every code by a name. The letters of the ids: structure, wording, verdicts, balance, leakage,
    rewards, training."""

    TURNS = Code(
        "S01",
        "turns",
        _E,
        "turns are not one user turn and then one assistant turn",
        "leave these rows out; trainers drop them, train on nothing, or stop",
    )
    EMPTY_TURN = Code(
        "S02", "empty-turn", _E, "a turn is empty", "leave these rows out; trainers drop them"
    )
    CHAT_TOKEN = Code(
        "S03",
        "chat-token",
        _E,
        "a chat-template token in a text",
        "take it out of the text; a tokenizer makes a real special token of it",
    )
    THINKING = Code(
        "S04",
        "thinking",
        _E,
        "not one thinking block that holds the attempts",
        "make the trace again; nothing reads it back as it is",
    )
    BLOCKS = Code(
        "S05",
        "blocks",
        _E,
        "blocks that are not closed, out of order, or not there",
        "make the trace again; an attempt or a reflection is lost in it",
    )
    FINAL_ANSWER = Code(
        "S06",
        "final-answer",
        _E,
        "not one final answer after the thinking, at the end",
        "end the trace with one <answer> pair; a reward reads that one",
    )
    TAG_INSIDE = Code(
        "S07",
        "tag-inside",
        _E,
        "a tag inside a text",
        "set the attempt or reflection aside; the tag breaks what stands around it",
    )
    LAYOUT = Code(
        "S08",
        "layout",
        _W,
        "line ends or phrases are not where `create` writes them",
        "harmless if your own tools wrote it so, in all traces alike",
    )
    OTHER_ANSWER = Code(
        "S09",
        "other-answer",
        _W,
        "the final answer is not that of the attempt that it comes from",
        "see whether --extracted-answer-column is the model's answer and not the gold one",
    )
    NO_VERDICT = Code(
        "S10",
        "no-verdict",
        _W,
        "a reflection without exactly one verdict",
        "leave such reflections out; the trace does not show what was decided",
    )

    GLUE = Code(
        "W01",
        "glue-contradicts",
        _E,
        "a phrase that does not fit the verdict before it",
        "make the folder again; the phrase says the opposite of the reflection",
    )
    GLUE_WORDS = Code(
        "W02",
        "glue-doubtful",
        _W,
        "a phrase whose words seem not to fit the verdict before it",
        "read the examples; the phrases are unknown here, so words alone were looked at",
    )
    RUN_TOGETHER = Code(
        "W03",
        "run-together",
        _W,
        "phrases that are run together",
        "split them in the list of phrases (often a comma is missing), and make the traces again",
    )
    PHRASE_SHARE = Code(
        "W04",
        "phrase-share",
        _W,
        "a phrase that stands in over a quarter of the traces",
        "add phrases of its kind (`create --phrases`); the model learns it by heart",
    )
    SAME_ATTEMPT = Code(
        "W05",
        "same-attempt",
        _W,
        "the same attempt twice in a trace",
        "ask at a higher temperature or with more prompt variants; a retry should differ",
    )
    SAME_TRACE = Code(
        "W06",
        "same-trace",
        _W,
        "the same trace twice",
        "leave one out; it counts double in training",
    )
    GOLD_LEAK = Code(
        "W07",
        "gold-leak",
        _W,
        "a reflection that states the gold answer of a wrong attempt that never reached it",
        "see that the prompt for reflections does not show the gold answer",
    )
    COPIED = Code(
        "W08",
        "copied-reflection",
        _W,
        "a reflection that is a copy of another question's",
        "drop such reflections (--drop-reflections-containing); they are not about their attempt",
    )
    CONTRADICTS = Code(
        "W09",
        "contradicts-verdict",
        _W,
        "a reflection whose text contradicts its verdict",
        "read the examples; drop what such reflections have in common",
    )
    GIVEN_ANSWER = Code(
        "W10",
        "given-answer",
        _W,
        "an attempt that says it was given the answer",
        "leave out the prompt variants that show a hint, or attempts that speak of it",
    )

    NO_AUDIT = Code(
        "V01",
        "no-audit",
        _N,
        "the verdicts were not held against the truth",
        "keep the annotated input where manifest.json says: unused attempts are only there",
    )
    BY_CHANCE = Code(
        "V02",
        "verdicts-by-chance",
        _W,
        "the model judges no better than chance",
        "the filter keeps true verdicts, but not their reasons: ask for more thorough reflections",
    )
    ONE_SIDED = Code(
        "V03",
        "one-sided-filter",
        _W,
        "the filter for true verdicts loses far more of one kind of attempts",
        "ask for more reflections; those kept are the ones on which the model happened to be right",
    )

    AT_ONCE = Code(
        "B01",
        "right-at-once",
        _W,
        "over half of the traces end at the first attempt",
        "choose formats or --attempts with more retries, or the model learns to stop at once",
    )
    ONE_VERDICT = Code(
        "B02",
        "one-verdict",
        _W,
        "nearly all verdicts in the traces are the same",
        "bring questions of other difficulty; the model learns to say it always",
    )
    NO_RETRY = Code(
        "B03",
        "no-retry",
        _W,
        "no trace has a wrong attempt before a right one",
        "bring harder questions or more attempts; there is no retry to learn from",
    )
    UNUSED = Code(
        "B04",
        "unused-questions",
        _N,
        "questions of the input that are in no trace",
        "the ledger in manifest.json says why",
    )
    EASIER = Code(
        "B05",
        "other-difficulty",
        _N,
        "the questions in the traces are easier or harder than all of the input",
        "keep it in mind when accuracy is compared",
    )

    SHARED = Code(
        "L01",
        "shared-question",
        _E,
        "a question that is also in a set of --against",
        "take it out of one of the two (`create --exclude`, `export verl --exclude-sft`)",
    )
    NEAR_COPY = Code(
        "L02",
        "near-copy",
        _W,
        "a question that is nearly the same as one in a set of --against",
        "read the examples, and take copies out of one of the two",
    )

    REWARD = Code(
        "R01",
        "reward",
        _E,
        "the reward is not 1.0",
        "see whether the gold answer and the task are those of the question",
    )
    REWARD_OF_WRONG = Code(
        "R02",
        "reward-of-wrong",
        _E,
        "the reward of a wrong answer is not 0.0",
        "grade the input again; its correctness and the task's grader disagree",
    )
    REWARD_OF_MUTANT = Code(
        "R03",
        "reward-of-spoilt",
        _E,
        "the reward is not 0.0 with the final answer wrong, removed or moved",
        "mend the task's grader; reinforcement learning would find this out",
    )
    NO_REWARD = Code(
        "R04",
        "no-reward",
        _E,
        "no reward can be replayed",
        "name the task (--task), the gold answers (--answer-column of `create`), or --no-rewards",
    )
    UNSOUND_GOLD = Code(
        "R05",
        "gold-not-right",
        _E,
        "the gold answer is not right against itself",
        "mend the gold answer, or leave the question out",
    )
    WRONG_ANSWER = Code(
        "R06",
        "wrong-answer",
        _W,
        "the final answer is wrong by the gold answer beside it",
        "leave these traces out, unless they are meant to end wrong",
    )
    NOT_REPLAYED = Code(
        "R07",
        "not-replayed",
        _N,
        "rewards were not replayed",
        "add the columns answer and task_source (or --task) to have them replayed",
    )

    TOO_LONG = Code(
        "T01",
        "too-long",
        _E,
        "more tokens than --cutoff-len, so a trainer would cut the answer off",
        "raise the trainer's limit, or leave them out (`create --max-tokens`)",
    )
    SPECIAL_TOKEN = Code(
        "T02",
        "special-token",
        _E,
        "the tokenizer's special token in a text",
        "take it out of the text, or leave these traces out",
    )
    TEMPLATE = Code(
        "T03",
        "template-drops",
        _E,
        "the tokenizer's chat template changes the trace, so what trains with it (TRL, Axolotl; "
        "LLaMA-Factory has its own) does not learn it",
        "train with a chat template that keeps what is in <think>",
    )
    TOKENS = Code("T04", "tokens", _N, "tokens a trace", "set cutoff_len to the largest or more")


CODES = {code.id: code for code in vars(C).values() if isinstance(code, Code)}
"""All codes by their ids, in the order in which they are reported."""
