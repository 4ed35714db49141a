"""What is typed: the verbs of `skill-factory`, their options and errors."""
