"""Looking at what was made: traces, their origins, what was lost, what differs."""
