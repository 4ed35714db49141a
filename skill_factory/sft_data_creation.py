"""`python -m skill_factory.sft_data_creation` is `skill-factory create`."""

from __future__ import annotations

from skill_factory.cli.create import create

if __name__ == "__main__":
    create(prog_name="python -m skill_factory.sft_data_creation")
