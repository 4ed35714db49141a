"""The method, a stage after the other: questions, sample, grade, reflect, create."""
