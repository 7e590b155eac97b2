"""Whether a trial may be trained in its directory, and the notes of what it is made by and of."""

from __future__ import annotations

from cnnjax.code import code_of
from cnnjax.errors import RunError
from cnnjax.run.environment import environment
from cnnjax.run.options import Options
from cnnjax.run.pack import Pack
from cnnjax.run.resolve import record, resolve
from cnnjax.run.stale import keep as keep_code
from cnnjax.run.stale import reasons, refuse_another, refuse_in_any_case, saved
from cnnjax.run.together import check_same_training
from cnnjax.run.trial import Trial
from cnnjax.run.used_runs import refuse_others


def check_alike(pack: Pack, options: Options) -> None:
    """Raise ConfigError where other processes would train something else."""
    code = code_of(pack.program.experiment).digest
    facts = {"experiment": [trial.id for trial in pack.trials], "your code": code, "data": pack.fingerprint}
    used = {f"weights of {name}": run.checksum for name, run in pack.program.used_runs.items()}
    check_same_training(facts | used | {"packed": pack.program.packed}, options.hardware)


def claim(trial: Trial, pack: Pack, options: Options) -> None:
    """Note what the trial is made by and of; what is there already must be the trial's own."""
    code, where = code_of(trial.experiment), trial.directory
    keep_code(code, where.sources)
    try:
        made = saved(trial.checkpoints)
        if made is not None:
            refuse_another(made, trial.id, where.path)
            why = reasons(made, code, pack.fingerprint, where.sources)
            if why and options.stale != "keep":
                raise RunError(f"{where.path} was begun by other code or data: {'; '.join(why)}")
            refuse_in_any_case(made, where.path, data=pack.fingerprint, analysis=lambda: pack.program.analysis)
            refuse_others(made.used_runs, pack.program.used_runs, where.path)
            where.check_rows(made.rows, made.step or 0)
    except RunError as error:
        trial.damage = error
        return
    before = made.codes if made is not None and made.step else ()
    trial.codes = before if before[-1:] == (code.digest,) else (*before, code.digest)
    where.begin(trial.experiment)
    examples, steps = pack.program.sizes["train"], pack.program.steps
    record(where, resolve(trial.experiment, examples=examples, steps=steps, fingerprint=pack.fingerprint))
    environment().write(where.environment)
