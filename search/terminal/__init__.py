"""Terminal: everything that is printed."""
