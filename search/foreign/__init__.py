"""Foreign networks: loaded, audited and trained in a process of their own, held to the rules."""
