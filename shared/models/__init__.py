"""Language models: one protocol, and what answers it."""
