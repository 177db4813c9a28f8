"""What a file of text seems to be: one whose words are among markup is refused, with the tool that takes them out."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from distjoint.base.errors import DistjointError
from distjoint.data.lines import Block
from distjoint.data.noticed import Noticed
from distjoint.data.packing import inner_name, refuse_foreign
from distjoint.storage import Location

_FIRST = "take the text out of it first, for example with"
_MARKUP = {
    rb"<mediawiki\b": f"a dump of MediaWiki; {_FIRST} wikiextractor (--json writes JSON Lines)",
    rb"(?:<!doctype html\b|<html\b|<head\b|<body\b)": f"HTML; {_FIRST} trafilatura",
    rb"<(?:TEI|teiCorpus|rss|feed|urlset|sitemapindex)\b": f"XML; {_FIRST} trafilatura",
}
_BEFORE = rb"(?is)\s*(?:<\?xml\b[^>]*\?>\s*|<!--.*?-->\s*)*"
_ARCHIVES = {
    rb"WARC/1\.": f"an archive of web pages (WARC); {_FIRST} trafilatura",
    rb"%PDF-": f"a PDF; {_FIRST} pdftotext",
    rb"\{\\rtf": "RTF; write it as plain text",
    rb"-- MySQL dump": "an SQL dump; Wikipedia's text is in pages-articles.xml, which wikiextractor reads",
}
_LOOKED_AT = 1 << 16
_TAG = re.compile(rb"(?i)</?(?:p|div|a|span|li|ul|td|tr|table|br|script|style|img|h[1-6]|b|i)\b[^<>\n]{0,200}>")
_ENTITY = re.compile(rb"&(?:[a-z]{2,8}|#\d{1,6});")
_SOME = 10
_SHOWN = 60
_MORE = (".csv", ".tsv", ".tab", ".srt", ".vtt", ".conll", ".conllu", ".ipynb", ".tex", ".bib", ".xml", ".sql", ".log")
"""Endings of files whose text is one field among others."""
_DATA = (".parquet", ".pq", ".arrow", ".jsonl", ".ndjson")
_BESIDE = re.compile(
    r"(?i)(readme|licen[cs]e|copying|citation|notice|changelog)(\.\w+)?|dataset_infos?\.json|dataset_dict\.json|state\.json"
    r"|.*\.(md|py|lock|ya?ml|sh)"
)


def looked_at(blocks: Iterator[Block]) -> Iterator[Block]:
    """The same blocks of a file of text; raises DistjointError where the first shows that it is none."""
    first = next(blocks, None)
    if first is None:
        return
    if not first.start:
        refuse_markup(first)
        begin, name = first.text[:_LOOKED_AT], posixpath.basename(first.file.path)
        if inner_name(name).endswith(_MORE):
            line = begin.strip().partition(b"\n")[0][:_SHOWN].decode(errors="replace").strip()
            said = (
                "Files read as plain text whose names say that they hold more",
                f"{name}: {line}",
                "what parts and numbers records is read as words: give the text alone, or as a field of JSON Lines",
                1,
            )
            first = replace(first, noticed=(*first.noticed, said))
        tags = [*_TAG.findall(begin), *_ENTITY.findall(begin)]
        if len(tags) >= _SOME:
            said = (
                "Files with tags or entities of HTML, which are read as words",
                f"{name}: {tags[0].decode(errors='replace')}",
                "take the text out first, for example with trafilatura",
                1,
            )
            first = replace(first, noticed=(*first.noticed, said))
    yield first
    yield from blocks


def refuse_markup(block: Block) -> None:
    """raises DistjointError for the beginning of a file that is no plain text"""
    begin = block.text[:_LOOKED_AT]
    for patterns, before in ((_ARCHIVES, rb""), (_MARKUP, _BEFORE)):
        for pattern, what in patterns.items():
            if re.match(before + pattern, begin):
                raise DistjointError(f"{block.file}: {what}")
    refuse_foreign(block.file, begin)


def texts_among(files: Sequence[Location], beside: Noticed) -> Sequence[Location]:
    """The files that are read, of those that a pattern stands for.

    Where there are files of the kind of data sets, what lies beside them and describes them is left out, and noticed.
    """
    if len(files) < 2 or not any(inner_name(file.path).endswith(_DATA) for file in files):
        return files
    kept = [file for file in files if not _BESIDE.fullmatch(posixpath.basename(file.path))]
    for file in files if kept else ():
        if _BESIDE.fullmatch(posixpath.basename(file.path)):
            beside.add("Files beside those with the text, left out", file.url, "name them alone if they are text")
    return kept or files
