"""The published language: subjects, facts, tasks and contract messages. Imports msgspec and nothing else."""
