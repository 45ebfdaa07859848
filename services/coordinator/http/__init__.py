"""What the JSON API and the web pages share: parameters, problems, presenters."""
