"""Who may do what over HTTP: keys, sessions, roles, and the gate that every request passes."""
