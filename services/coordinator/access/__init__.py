"""Access over HTTP: keys, sessions, roles, and the middleware that every request passes."""
