"""The approval desk: pages, templates and static files."""
