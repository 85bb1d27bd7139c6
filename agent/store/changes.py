"""Whether anything was written to the database, without a query."""

from agent.store.database import Database


class Changes:
    """`ports.ChangeStore` over SQL: SQLite counts commits by itself, a server has to be asked."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def stamp(self) -> int | None:
        """Return SQLite's own count of what others committed; None on a server, and while the file cannot be read."""
        return self._database.commits()
