"""What comes out of today's prompts and code: recorded runs replayed, and questions to a real corpus. Offline."""
