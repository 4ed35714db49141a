"""Hand an SFT folder on: check it, push it to the Hub, train on it with LLaMA-Factory or verl."""
