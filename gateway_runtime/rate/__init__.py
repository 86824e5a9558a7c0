"""How many requests somebody may make: a sliding window, shared by all instances through Redis."""
