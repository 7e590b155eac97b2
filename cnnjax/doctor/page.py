"""What was looked at and what is wrong, as a document."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from cnnjax.doctor.facts import Facts
from cnnjax.doctor.faults import Fault
from cnnjax.documents.document import Column, Document, Grid, Remarks
from cnnjax.documents.quantities import short_bytes


def page(facts: Facts, faults: list[Fault]) -> Document:
    """Tables for a terminal, what is wrong last, where it is read; plain data for JSON."""
    blocks = [
        Grid("versions", (Column("package"), Column("installed"), Column("needed")), _versions(facts)),
        Grid("machine", (Column("what"), Column("found")), _machine(facts)),
        Grid(
            "folders",
            (Column("what"), Column("place"), Column("written to"), Column("free", "bytes"), Column("held", "bytes")),
            [
                (each.what, str(each.path), f"no: {each.refusal}" if each.refusal else "yes", each.free, each.held)
                for each in facts.places
            ],
        ),
        Grid("extras", (Column("extra"), Column("installed")), _extras(facts)),
        _wrong(faults),
    ]
    return Document(blocks, _data(facts, faults))


def _wrong(faults: list[Fault]) -> Remarks:
    if not faults:
        return Remarks(("nothing is wrong",))
    lines = tuple(f"{'stops work: ' if each.stops else ''}{each.text}. To mend: {each.mend}" for each in faults)
    return Remarks(lines, "what is wrong")


def _versions(facts: Facts) -> list[tuple[Any, ...]]:
    own = [("cnnjax", facts.cnnjax, ""), ("python", facts.python, "3.11 to 3.13")]
    own += [(each.name, each.version or "none", f">={each.least}" if each.least else "") for each in facts.needed]
    return own + [(each.name, each.version, "") for each in facts.accelerators]


def _machine(facts: Facts) -> list[tuple[str, str]]:
    limits, told = facts.limits, facts.measured
    quota = "" if limits.quota is None else f", with the time of {limits.quota:g}"
    rows = [
        ("system", facts.system),
        ("cores", f"{limits.cores}{quota}; {limits.load:.1f} processes want one"),
        ("memory", f"{short_bytes(limits.memory)}{_of(limits.available)}"),
        ("open files", "no limit" if limits.files is None else str(limits.files)),
        ("addresses", "no limit" if limits.addresses is None else short_bytes(limits.addresses)),
        ("pages of 2 MiB", limits.huge_pages or "not told"),
        ("energy", ", ".join(facts.counters) or "not told by this machine"),
        ("commands", ", ".join(name for name, here in facts.programs.items() if here) or "none"),
        ("data sets", ", ".join(f"{name} {version}" for name, version, _ in facts.sets) or f"none in {facts.data}"),
    ]
    if told is not None and told.error:
        rows.append(("devices", f"none: {told.error}"))
    elif told is not None:
        kinds = {kind: told.devices.count(kind) for kind in told.devices}
        memory = "" if told.memory is None else f", {short_bytes(told.memory)} each"
        names = ", ".join(f"{count} x {kind}" for kind, count in kinds.items())
        rows += [
            ("devices", f"{told.platform}: {names}{memory}; JAX had them after {told.seconds:.1f} s"),
            (
                "matrix product",
                f"{told.flops / 1e9:,.0f} GFLOP/s ({told.dtype}, {told.size}x{told.size}, one device, median of 5)",
            ),
            ("memory bandwidth", f"{told.bandwidth / 1e9:,.1f} GB/s read and written"),
        ]
    return rows + [(name, value) for name, value in facts.environ.items()]


def _of(available: int | None) -> str:
    return "" if available is None else f", of which {short_bytes(available)} are free"


def _extras(facts: Facts) -> list[tuple[str, str]]:
    rows = []
    for extra, packages in facts.extras.items():
        lacking = [each.name for each in packages if not each.fits]
        rows.append((extra, f"no: pip install 'cnnjax[{extra}]'" if lacking else "yes"))
    return rows


def _data(facts: Facts, faults: list[Fault]) -> dict[str, Any]:
    told = asdict(facts)
    told["data"] = str(facts.data)
    told["unfinished"] = [str(path) for path in facts.unfinished]
    told["places"] = [{**asdict(each), "path": str(each.path)} for each in facts.places]
    return told | {"faults": [asdict(each) for each in faults]}
