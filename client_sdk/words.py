"""Full-text search on the device: an FTS5 index beside the derived table of knowledge articles, written in the same transactions.

The index holds nothing of its own: it is dropped, filled and kept up together with the derived tables (`client_sdk.tables`), so it
shows exactly what they show, pending edits included, and it is encrypted with the file.
"""

import re
from hashlib import blake2b
from typing import Final

from client_sdk.tables import PREFIX, Statement, Value
from sync.codec import decode_body
from sync.entities.service import KnowledgeArticle

ENTITY: Final = KnowledgeArticle.spec.name
TABLE: Final = "words_of_articles"
CREATE: Final = (
    f"CREATE VIRTUAL TABLE {TABLE} USING "
    "fts5(id UNINDEXED, title, symptoms, body, tokenize = 'porter unicode61 remove_diacritics 2')"
)
DROP: Final = f"DROP TABLE IF EXISTS {TABLE}"
PUT: Final = f"INSERT OR REPLACE INTO {TABLE} (rowid, id, title, symptoms, body) VALUES (?, ?, ?, ?, ?)"  # noqa: S608  # constants
FORGET: Final = f"DELETE FROM {TABLE} WHERE rowid = ?"  # noqa: S608  # constants
AVAILABLE: Final = "SELECT 1 FROM pragma_module_list WHERE name = 'fts5'"
_COLUMNS: Final = f'SELECT v._id, v._seq, v._pending, v._body, %s AS rank FROM "{PREFIX}{ENTITY}" AS v'  # noqa: S608  # constants
_MATCHING: Final = (
    _COLUMNS % f"-bm25({TABLE}, 0, 4, 4, 1)" + f" JOIN {TABLE} AS w ON w.id = v._id"
    f" WHERE {TABLE} MATCH ? AND v.status = 'published' ORDER BY rank DESC, v._id LIMIT ?"
)
_ALL: Final = _COLUMNS % "1.0" + " WHERE v.status = 'published' ORDER BY v._id LIMIT ?"
_WORD: Final = re.compile(r"\w+")
_SILENT: Final = frozenset(
    [
        "a",
        "an",
        "and",
        "are",
        "as",
        "at",
        "be",
        "but",
        "by",
        "do",
        "does",
        "for",
        "from",
        "has",
        "have",
        "if",
        "in",
        "is",
        "it",
        "its",
        "no",
        "not",
        "of",
        "on",
        "or",
        "so",
        "that",
        "the",
        "then",
        "there",
        "this",
        "to",
        "was",
        "when",
        "will",
        "with",
    ]
)
"""Words that say nothing of what is meant; the server leaves them out as well."""


def row_of(record_id: str, raw: bytes) -> tuple[Value, ...]:
    """An article's row of the index."""
    body = decode_body(raw)
    return key_of(record_id), record_id, body.get("title", ""), "\n".join(body.get("symptoms", ())), body.get("body", "")


def key_of(record_id: str) -> int:
    """The row's number, so that an article's words are replaced without looking for them."""
    return int.from_bytes(blake2b(record_id.encode(), digest_size=8).digest()) >> 1


def matching(words: str, symptom: str, limit: int) -> Statement | None:
    """Published articles that have all the words and any word of the symptom, best first; None if nothing meaningful was asked for
    among them, so that nothing can be found."""
    if not words.strip() and not symptom.strip():
        return _ALL, (limit,)
    every, some = _terms(words), _terms(symptom)
    if (words.strip() and not every) or (symptom.strip() and not some):
        return None
    parts = [" AND ".join(every), " OR ".join(some)]
    return _MATCHING, (" AND ".join(f"({part})" for part in parts if part), limit)


def _terms(text: str) -> list[str]:
    return [f'"{word}"' for word in _WORD.findall(text.lower()) if word not in _SILENT]
