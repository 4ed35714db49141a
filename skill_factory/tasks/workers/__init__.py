"""What runs in a process of its own, so that it can be stopped: judges and their guards."""
