"""Versioned forms of the files of a run and of a study: their only names, readers and writers."""
