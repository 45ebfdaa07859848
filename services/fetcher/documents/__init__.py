"""Local documents: reading, splitting and indexing."""
