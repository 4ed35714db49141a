"""`python -m skill_factory` is `skill-factory`."""

from skill_factory.cli import main

main(prog_name="skill-factory")
