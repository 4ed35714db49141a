"""How a setting is said once: its type, default, help and other names, and how it is checked."""
