"""SIF, Cytoscape's simple interaction format: `a interacts b c d`, a node, a relation and any number of others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import pyarrow as pa

from distjoint.base.errors import DistjointError
from distjoint.data.columns import TableForm, is_header
from distjoint.data.lines import Slice, decoded, line_blocks
from distjoint.data.noticed import Noticed
from distjoint.data.tables.base import TripleBatch, TripleFile, TripleFormat
from distjoint.data.tables.delimited import note_header, refuse_binary


class Sif(TripleFormat):
    """Files named `.sif`. Blanks part names, or tabs where the first lines have one."""

    title: ClassVar[str] = "SIF"

    @classmethod
    def knows(cls, source: TripleFile, form: TableForm) -> bool:
        return source.name.endswith(".sif") and form.columns is None and form.weight is None

    def read(self, source: TripleFile, form: TableForm, noticed: Noticed) -> Iterator[TripleBatch]:
        if not source.begin:
            raise DistjointError(f"{source.file}: the file is empty")
        refuse_binary(source)
        tabs, number = any("\t" in line for line in source.lines), 0
        for block in line_blocks(Slice(source.file)):
            triples: list[tuple[str, str, str]] = []
            for line in block.text.split(b"\n")[:-1]:
                number += 1
                text = decoded(source.file, line, number).strip("\r\n")
                fields = [field.strip() for field in (text.split("\t") if tabs else text.split())]
                fields = fields if len(fields) > 1 else list(filter(None, fields))
                if number == 1 and form.header is not False and (form.header or _is_header(fields, form)):
                    note_header(noticed, source, fields)
                elif len(fields) == 1:
                    noticed.add("Nodes without an edge in SIF, left out", f"{fields[0]} of {source.file}")
                elif len(fields) == 2:
                    raise DistjointError(f"{source.file}, line {number}: {text[:80]!r}; expected 'node relation node'")
                elif fields:
                    triples += [(fields[0], fields[1], other) for other in fields[2:]]
            ends = list(zip(*triples, strict=True)) or [(), (), ()]
            yield TripleBatch(*(pa.array(end, pa.string()) for end in ends))


def _is_header(fields: list[str], form: TableForm) -> bool:
    return len(fields) == 3 and is_header(fields, form)
