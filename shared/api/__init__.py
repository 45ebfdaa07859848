"""Schemas of the HTTP API, shared by the coordinator and its clients."""
