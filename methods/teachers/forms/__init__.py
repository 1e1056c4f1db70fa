"""Published networks by the form of their files: each module reads one form and builds its network."""
