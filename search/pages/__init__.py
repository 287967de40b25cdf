"""Pages: a study's tables as a page to look at, and its figures as pictures."""
