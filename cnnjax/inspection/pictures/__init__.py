"""One picture a file: `picture(subject)` computes what its name says, and draws it."""
