"""The approval desk: pages and templates."""
