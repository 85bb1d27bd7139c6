"""SQLAlchemy 2: tables, migrations, one query group per file."""
