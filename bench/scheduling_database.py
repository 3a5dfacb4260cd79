"""The databases that the scheduler is measured on: SQLite, and PostgreSQL where one answers."""

import secrets
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import psycopg
from psycopg import sql

POSTGRES = "postgres://postgres@127.0.0.1:5432"


def databases(postgres: str) -> Iterator[tuple[str, AbstractContextManager[str]]]:
    """Name and address of each; an empty address is SQLite in the home."""
    yield "SQLite", nullcontext("")
    if answers(postgres):
        yield "PostgreSQL", _fresh(postgres)


def answers(postgres: str) -> bool:
    try:
        with psycopg.connect(f"{postgres}/postgres", connect_timeout=3):
            return True
    except psycopg.OperationalError:
        return False


@contextmanager
def _fresh(postgres: str) -> Iterator[str]:
    name = f"constellation_bench_{secrets.token_hex(4)}"
    _command(postgres, "CREATE DATABASE {}", name)
    try:
        yield f"{postgres}/{name}"
    finally:
        _command(postgres, "DROP DATABASE {} WITH (FORCE)", name)


def _command(postgres: str, command: str, name: str) -> None:
    with psycopg.connect(f"{postgres}/postgres", autocommit=True) as connection:
        connection.execute(sql.SQL(command).format(sql.Identifier(name)))
