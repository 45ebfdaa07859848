"""From search results to findings."""
