"""Process lifecycle and the worker loop of every service."""
