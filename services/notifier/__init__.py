"""Tells others of holds, deadlines and ends: webhooks, at least once each, recorded in the log."""
