"""Engine of the coordinator: folds the log into runs, writes owed facts, and serves decisions, requests and forks."""
