"""Reading of untrusted pages in processes of their own, with limits."""
