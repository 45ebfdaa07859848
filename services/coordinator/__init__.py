"""Folds the log into runs, holds them for a decision and writes what is owed."""
