"""Questions to ask: made by rule, by reasoning-gym, or read from a dataset."""
