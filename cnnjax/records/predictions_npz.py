"""predictions.npz: what a trained network said of each example of a part, and how right it was."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from cnnjax.errors import NewerVersion, RunError
from cnnjax.files import open_there, write_bytes

ID, VERSION = "id", "version"


@dataclass(frozen=True)
class KeptPredictions:
    """What a run said of the examples of each part that it was evaluated on, in the order of the part.

    id: of the experiment. parts: by part ("test", and "test_ema" of a method) and name, arrays of N examples: "target"
    as in the data; "outputs" float16 [N, K] as the network returned them, rounded, and not there of maps; and what the
    task counts of each example alone, exact, whose sums are the metrics ("loss", "correct"). The file is compressed,
    and reading it executes nothing.
    """

    filename: ClassVar[str] = "predictions.npz"
    newest: ClassVar[int] = 1

    id: str
    parts: Mapping[str, Mapping[str, np.ndarray]]

    @classmethod
    def at(cls, folder: Path) -> Path:
        """Where the file is in a run's folder."""
        return folder / cls.filename

    @classmethod
    def of(cls, id: str, arrays: Mapping[str, np.ndarray]) -> KeptPredictions:
        """Those of arrays by "part/name", as the file has them."""
        parts: dict[str, dict[str, np.ndarray]] = {}
        for name, array in arrays.items():
            part, _, what = name.partition("/")
            parts.setdefault(part, {})[what] = array
        return cls(id, parts)

    def write(self, path: Path) -> None:
        """Write the file whole or not at all; the same predictions give the same bytes."""
        arrays: dict[str, Any] = {VERSION: np.int64(self.newest), ID: np.str_(self.id)}
        arrays |= {f"{part}/{name}": array for part, own in self.parts.items() for name, array in own.items()}
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **arrays)
        write_bytes(path, buffer.getvalue())

    @classmethod
    def read(cls, path: Path, *, id: str, only: Collection[str] | None = None) -> KeptPredictions | None:
        """What a file holds, or those of its arrays that `only` names ("test/correct"); None where there is none.

        Raises RunError where what is read is damaged or of another experiment than `id`, and NewerVersion.
        """
        file = open_there(path, remedy=REMEDY)
        if file is None:
            return None
        try:
            with file, np.load(file, allow_pickle=False) as held:
                wanted = held.files if only is None else [name for name in held.files if name in {VERSION, ID, *only}]
                arrays: dict[str, Any] = {name: held[name] for name in wanted}
        except DAMAGE as error:
            raise RunError(f"{path} is damaged ({error}); {REMEDY}") from None
        version, own = arrays.pop(VERSION, None), arrays.pop(ID, None)
        if version is None or own is None or np.shape(version) or not np.issubdtype(version.dtype, np.integer):
            raise RunError(f"{path} is damaged (it does not say its version and experiment); {REMEDY}")
        if int(version) > cls.newest:
            raise NewerVersion(f"{path} has version {version}, and versions up to {cls.newest} are read")
        if str(own) != id:
            raise RunError(f"{path} is of another experiment ({own}, not {id}); {REMEDY}")
        read = cls.of(id, arrays)
        for part, found in read.parts.items():
            if len({len(array) if array.ndim else -1 for array in found.values()}) > 1:
                raise RunError(f"{path} is damaged (the arrays of {part} have different lengths); {REMEDY}")
        return read


DAMAGE = (
    *(OSError, ValueError, EOFError, KeyError, TypeError, MemoryError, RuntimeError, zlib.error),
    *(zipfile.BadZipFile, zipfile.LargeZipFile),
)
"""What reading raises where bytes of the file were changed."""
REMEDY = "delete it, and `cnnjax evaluate RUN --keep-predictions` writes it again"
