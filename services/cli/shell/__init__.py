"""Options, settings, clients and the terminal, which all commands use."""
