"""SkillFactory: prime a language model with retry, reflect and verify, on traces made of its own
text."""

__version__ = "0.2.0"
