"""The user's own code that an experiment runs: which definitions those are, and a digest of them."""

from cnnjax.code.collect import Code, Definition, changes, code_of, code_of_function
from cnnjax.code.module import remember, remember_all, texts

__all__ = ["Code", "Definition", "changes", "code_of", "code_of_function", "remember", "remember_all", "texts"]
