"""Reading responses that others made: a module a format."""
