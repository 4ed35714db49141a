"""Ask once: prompts, the journal, collecting at a pace, batch files, estimates, progress."""
