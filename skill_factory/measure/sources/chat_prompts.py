"""The question in a prompt that a chat template was written around.

Trainers log prompts decoded without special tokens, so only the words of the template are left.
"""

from __future__ import annotations

import re

_SHAPES = tuple(
    re.compile(pattern, re.DOTALL)
    for pattern in (
        # ChatML with its tokens, Llama 3 with its tokens
        r".*<\|im_start\|>user\n(.*?)<\|im_end\|>.*",
        r".*<\|start_header_id\|>user<\|end_header_id\|>\n\n(.*?)<\|eot_id\|>.*",
        # ChatML, as Qwen and SmolLM have it; perhaps with the beginning of the thinking
        r"(?:.*\n)?user\n(.*)\nassistant\n(?:<think>\s*(?:</think>\s*)?)?",
        # Llama 3
        r".*user\n\n(.*)assistant\n\n",
        # Gemma
        r"(?:.*\n)?user\n(.*)\nmodel\n",
        # Mistral, Llama 2
        r".*\[INST\]\s*(.*?)\s*\[/INST\]\s*",
        # DeepSeek
        r".*<\uff5cUser\uff5c>(.*)<\uff5cAssistant\uff5c>(?:<think>\s*)?",
        r"(?:.*\n\n)?User: (.*)\n\nAssistant:\s*",
    )
)


def question_in(prompt: str) -> str:
    r"""The user turn of a prompt, by the shapes that common chat templates have; the whole prompt
    where it has none of them.

    >>> question_in("system\nBe kind.\nuser\nWhat is 2 + 2?\nassistant\n")
    'What is 2 + 2?'
    """
    for shape in _SHAPES:
        if found := shape.fullmatch(prompt):
            return found[1].strip()
    return prompt.strip()
