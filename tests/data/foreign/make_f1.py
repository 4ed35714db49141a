"""Write verdicts and scikit-learn's F1 of them: `python make_f1.py > f1_scikit_learn.json` in an
environment with scikit-learn."""

from __future__ import annotations

import json
import random

import sklearn
from sklearn.metrics import f1_score

random.seed(0)
right = [random.random() < 0.6 for _ in range(200)]
verdicts = [
    "Correct" if (one if random.random() < 0.7 else not one) else "Incorrect" for one in right
]
truth = ["Correct" if one else "Incorrect" for one in right]
f1 = {
    label: f1_score(truth, verdicts, pos_label=label, average="binary")
    for label in ("Correct", "Incorrect")
}
found = {"scikit_learn": sklearn.__version__, "f1": f1, "right": right, "verdicts": verdicts}
print(json.dumps(found))
