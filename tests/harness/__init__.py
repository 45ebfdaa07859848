"""Dossier as it runs in earnest, in a folder of its own: a real nats-server, real processes, and a client."""
