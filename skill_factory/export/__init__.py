"""What other tools want beside the data: their config files and commands, and verl's parquet."""
