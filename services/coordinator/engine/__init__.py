"""The loop that folds the log and writes what runs are owed."""
