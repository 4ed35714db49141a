"""All stages in one folder: their order, what is made anew, the config file."""
