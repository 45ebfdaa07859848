"""Shared by the JSON API and the web pages: routes, rights, commands, parameters, problems, presenters."""
