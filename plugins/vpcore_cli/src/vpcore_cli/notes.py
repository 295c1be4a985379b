"""Tags, notes and archiving of rows: what a researcher says about them. No figure depends on it."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vpcore.canonical import canonical_json, digest
from vpcore.errors import ResultsError
from vpcore.storage import Folder

if TYPE_CHECKING:
    from vpcore.workspace import Workspace

MOST_TAGS = 20
LONGEST_TAG = 40
LONGEST_NOTE = 2000

_KEY = (
    "dataset_id", "signal_name", "signal_params_json", "scoring_json", "eval_json", "threshold", "cooldown_bins",
    "tp_ticks", "sl_ticks",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Note:
    """What was said about a row: sorted tags, the texts in order of time, and whether the row is archived."""

    tags: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()
    archived: bool = False


NO_NOTE = Note()


class Notes:
    """The notes of a workspace: one small file per remark, never rewritten.

    A remark belongs to a row as it was tried (dataset, signal, parameters, scoring, rules, threshold), whatever code
    computed it: it stays when edited code computes the row again.

    Parameters
    ----------
    root : Path or Folder
        The directory; made with the first remark.
    """

    def __init__(self, root: Path | Folder) -> None:
        self.folder = Folder.of(root)

    def add(
        self,
        row: Mapping[str, Any],
        *,
        tags: Sequence[str] = (),
        untag: Sequence[str] = (),
        text: str = "",
        archived: bool | None = None,
    ) -> Note:
        """Store a remark on a row, and return all that is said about the row.

        Raises
        ------
        ResultsError
            If a tag has blanks or commas or more than 40 characters, the row would have more than 20 tags, or the text
            has more than 2,000 characters.
        """
        for tag in (*tags, *untag):
            if not tag or len(tag) > LONGEST_TAG or any(letter.isspace() or letter == "," for letter in tag):
                required = f"1 to {LONGEST_TAG} characters without blanks and commas"
                raise ResultsError("A tag", required=required, was=f"'{tag}'")
        if len(text) > LONGEST_NOTE:
            raise ResultsError("A note", required=f"at most {LONGEST_NOTE:,} characters", was=f"{len(text):,}")
        before = self.of(row)
        if len({*before.tags, *tags} - {*untag}) > MOST_TAGS:
            raise ResultsError(
                "The tags of a row", required=f"at most {MOST_TAGS}", was=f"{len({*before.tags, *tags})}"
            )
        remark = {
            "key": note_key(row), "row": row["row"], "at_utc": datetime.now(UTC).isoformat(),
            "tags": list(tags), "untag": list(untag), "text": text, "archived": archived,
        }  # fmt: skip
        name = f"{remark['at_utc'].replace(':', '')}-{secrets.token_hex(4)}.json"
        self.folder.put(name, canonical_json(remark), "store the note")
        return self.of(row)

    def of(self, row: Mapping[str, Any]) -> Note:
        """Return what is said about a row."""
        return self.all().get(note_key(row), NO_NOTE)

    def all(self) -> dict[str, Note]:
        """Return what is said about rows, by `note_key`.

        Raises
        ------
        ResultsError
            If a file is not a remark.
        """
        found: dict[str, Note] = {}
        for path in self.folder.files("*.json"):
            try:
                remark = json.loads(path.read_bytes())
                before = found.get(remark["key"], NO_NOTE)
                tags = ({*before.tags} | {*remark["tags"]}) - {*remark["untag"]}
                texts = (*before.texts, remark["text"]) if remark["text"] else before.texts
                archived = before.archived if remark["archived"] is None else bool(remark["archived"])
                found[remark["key"]] = Note(tuple(sorted(tags)), texts, archived)
            except (ValueError, KeyError, TypeError) as error:
                raise ResultsError(
                    "A note cannot be read",
                    where=str(path),
                    was=f"{type(error).__name__}: {error}",
                    fix="Move it away.",
                ) from None
        return found


def notes_of(workspace: Workspace) -> Notes:
    """Return the notes of a workspace."""
    return Notes(workspace.folder(workspace.harness_dir / "notes"))


def note_key(row: Mapping[str, Any]) -> str:
    """Return the key of a row for notes: 16 hex digits over what was tried, apart from the code."""
    return digest([row[name] for name in _KEY])[:16]
