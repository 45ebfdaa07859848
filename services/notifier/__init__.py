"""Notifies endpoints of holds, deadlines and ends of runs: webhooks, at least once each, every attempt recorded in the
log.
"""
