"""Of sums that differ only in the order of their numbers, keep the first: 7 + 12 tells of 12 + 7.

python one_order.py QUESTIONS.jsonl
"""

import json
import re
import sys
from pathlib import Path

seen = set()
for line in Path(sys.argv[1]).read_text("utf-8").splitlines():
    numbers = tuple(sorted(re.findall(r"\d+", json.loads(line)["question"])))
    if numbers not in seen:
        seen.add(numbers)
        print(line)
