"""What is being written and not sent: kept on disk, and handed to whoever opens the conversation next."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from localmag.sessions import rows
from localmag.sessions.files import Lock, mapped

if TYPE_CHECKING:
    from localmag.sessions import Sessions


class Unsent:
    """One program's. Its lock tells the others that this one is running, and dies with it."""

    def __init__(self, sessions: Sessions, session: str | None) -> None:
        """Take over what programs that are gone have left in `session`, or in no session yet."""
        self._sessions = sessions
        self._own = ExitStack()
        with ExitStack() as theirs, ExitStack() as own, sessions._writing() as db:
            left = {}
            for id, text in rows.unsent(db, session).items():
                try:
                    theirs.callback(self._lock(id).release)
                except BlockingIOError:
                    continue  # its program is running
                left[id] = text
            self.text = "\n\n".join(filter(str.strip, left.values()))
            """What they left, this program's from now on; then what `keep` was last given."""
            rows.delete_unsent(db, left)
            self._id = rows.insert_unsent(db, session, self.text)
            own.callback(self._lock(self._id).release)
            self._own = own.pop_all()

    def _lock(self, id: int) -> Lock:
        path = self._sessions.path
        with mapped(path):
            return Lock(path.with_name(f"{path.name}-unsent-{id}"))

    def keep(self, text: str, session: str | None) -> None:
        """Put `text` in place of what was kept; `session` may have come to be meanwhile, or be gone."""
        with self._sessions._writing() as db:
            rows.put_unsent(db, self._id, session, text)
        self.text = text

    def close(self) -> None:
        """Leave it, if there is anything, to the next one. Safe to call twice."""
        with self._own:
            if not self.text.strip():
                with self._sessions._writing() as db:
                    rows.delete_unsent(db, [self._id])
