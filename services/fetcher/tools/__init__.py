"""The search tools, one file each."""
