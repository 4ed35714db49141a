"""`python -m skill_factory` is `skill-factory`."""

from skill_factory.cli.main import main

main(prog_name="skill-factory")
