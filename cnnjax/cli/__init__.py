"""The command line: thin. A command reads its arguments, calls one function and prints what it returns.

One file a command, or a group of them. The order of the imports is that of `cnnjax --help`.
"""

# isort: off
from cnnjax.cli import (
    train,
    sweep,
    work,
    status,
    report,
    describe,
    evaluate,
    predict,
    sample,
    inspect,
    stylize,
    export,
    import_torch,
    data,
    recipes,
    init,
    reproduce,
    doctor,
)

# isort: on
from cnnjax.cli.app import app
from cnnjax.cli.main import main, show_warnings
