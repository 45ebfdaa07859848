"""From search results to the sources of a finding."""
