"""Step 2: from an annotated dataset to an SFT folder. Index, formats, plan, weave."""
