"""Where data comes in: local files, the Hub; which columns are read, and as what."""
