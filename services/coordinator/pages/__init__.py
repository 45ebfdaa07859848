"""The approval desk: pages on which a person sees what was found, decides, and can show later who decided on what."""
