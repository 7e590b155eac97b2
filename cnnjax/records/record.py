"""The base of all records: frozen models of the files that runs and studies consist of.

Each file has one record, in a file of this package that is named after it. The record alone knows the file's name and
its keys; everything else reads attributes.

- **To add a key**, add a field with a default to the record; the version stays. A file without the key gives the
  default, and a cnnjax that does not know the key keeps it (`model_extra`) and writes it back.
- **To rename or remove a key, or to change what one means** (unit, type, what is counted), declare `version: int = 2`
  in the record and convert older content in `upgraded`.
- **To add a record**, subclass `Record` with a `filename`, and add a row to the tables of tests/test_records.py and
  docs/records.md.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cnnjax.config import explain
from cnnjax.errors import NewerVersion, RunError
from cnnjax.files import json_text, parse_json, read_whole, write_text
from cnnjax.visible import printable


class Entry(BaseModel):
    """A piece of a record: frozen, values never coerced, unknown keys kept. Writes the keys that it was given."""

    model_config: ClassVar[ConfigDict] = ConfigDict(
        frozen=True, strict=True, extra="allow", ser_json_inf_nan="constants", protected_namespaces=()
    )

    def to_json(self) -> dict[str, Any]:
        """Plain data: the keys that were given or read, in the order of the fields, then unknown ones."""
        return self.model_dump(mode="json", exclude_unset=True)


TrialId = Annotated[str, Field(pattern=r"^\w[\w.-]*$")]
"""The hash of an experiment, which names a trial's folder."""


class Record(Entry):
    """What one file holds. Files from before there were versions have none, and count as version 1."""

    filename: ClassVar[str] = ""

    version: int = 1
    """The default is the version that is written, and the highest that is read."""

    @classmethod
    def at(cls, folder: Path) -> Path:
        """Where the file is in the folder of a run or a study."""
        return folder / cls.filename

    @classmethod
    def upgraded(cls, content: dict[str, Any], version: int) -> dict[str, Any]:
        """Content of an earlier version in the form of the newest. A record of version 2 or above overrides this."""
        return content

    @classmethod
    def completed(cls, content: dict[str, Any]) -> dict[str, Any]:
        """Content as read, with later keys put in where they are missing and what they were then depends on the others.

        For a key that was always the same before, a default in the record is enough.
        """
        return content

    @classmethod
    def read(cls, path: Path, *, remedy: str) -> Self | None:
        """The record in a file; None where there is no file.

        remedy: what to do where it is damaged, as the end of a sentence. Raises RunError naming the file, the key, the
        rule and the remedy, and NewerVersion for a version above its own.
        """
        content = read_whole(path, remedy=remedy)
        # JSON has a null of its own, which is no record.
        return None if content is None else cls.parse(parse_json(content, path, remedy=remedy), path, remedy=remedy)

    @classmethod
    def parse(cls, content: Any, where: Path | str, *, remedy: str) -> Self:
        """The record that plain JSON holds; `where` names its place in errors, which are those of `read`."""
        if not isinstance(content, dict):
            raise RunError(f"{where} is damaged (it holds {_kind(content)}, not an object); {remedy}")
        version, newest = content.get("version", 1), cls.model_fields["version"].default
        if type(version) is not int or version < 1:
            raise RunError(f"{where} is damaged (version = {version!r}: must be a whole number from 1); {remedy}")
        if version > newest:
            raise NewerVersion(
                f"{where} has version {version}, and cnnjax {metadata.version('cnnjax')} reads versions up to "
                f"{newest}: install a newer cnnjax (nothing was changed)"
            )
        if version < newest:
            content = cls.upgraded(content, version)
        content = cls.completed(content)
        try:
            # Strict validation takes a list for a tuple only in JSON.
            return cls.model_validate_json(json.dumps(content | {"version": newest}))
        except ValidationError as error:
            raise RunError(f"{where} is damaged ({'; '.join(explain(error).splitlines())}); {remedy}") from None
        except RecursionError:
            raise RunError(f"{where} is damaged (it is nested too deeply); {remedy}") from None

    @property
    def content(self) -> dict[str, Any]:
        """Plain data without the version."""
        return {name: value for name, value in super().to_json().items() if name != "version"}

    def to_json(self) -> dict[str, Any]:
        """Plain data as the file holds it: the version, then the keys that were given or read."""
        return {"version": self.version, **self.content}

    def write(self, path: Path) -> None:
        """Write the file whole or not at all. Raises ValueError for a number that is not finite, RunError as files."""
        write_text(path, self.file_text())

    def file_text(self) -> str:
        """What the file holds; its texts are `printable`: others are refused where a record is read."""
        return json_text(_printable(self.to_json()))


def _printable(value: Any) -> Any:
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, Mapping):
        return {_printable(name): _printable(each) for name, each in value.items()}
    return [_printable(each) for each in value] if isinstance(value, list | tuple) else value


def _kind(content: Any) -> str:
    kinds = {list: "a list", str: "a text", bool: "true or false", int: "a number", float: "a number"}
    return kinds.get(type(content), "null")
