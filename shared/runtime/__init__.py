"""The imperative shell: the log, the workers' loop, time, settings."""
