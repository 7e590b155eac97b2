"""Where the trials of a study are trained: a launcher is one file, NAME_launcher.py.

What a launcher hands out is the trials of one program (`one_program.run_group`), which need only a folder.
"""

from cnnjax.launch.launcher import Launch, Launcher, launcher
from cnnjax.launch.sweep import Outcome, sweep
