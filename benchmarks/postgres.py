"""A PostgreSQL server of one's own for tests and measurements, on a free port of the loopback."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

USER, PASSWORD = "searcher", "s3cret:@/{}%?"
QUOTED = "s3cret%3A%40%2F%7B%7D%25%3F"
"""The password as it stands in a URL; none of its characters may be harmless."""


def programs() -> Path | None:
    """Where PostgreSQL's own programs are, if it is installed."""
    there = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    found = shutil.which("initdb")
    return Path(found).parent if found else there[-1].parent if there else None


def free_port() -> int:
    """A port of the loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Server:
    """A server, its data in a folder, run by a user that is not root, as PostgreSQL demands."""

    binaries: Path
    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None
    emptied: list[str] = field(default_factory=list)

    def make(self) -> None:
        """Make its data, with one user who needs a password."""
        secret = self.folder / "password"
        self.folder.mkdir(mode=0o700, parents=True)
        secret.write_text(PASSWORD)
        if os.geteuid() == 0:
            for path in (self.folder, secret):
                os.chown(path, *self._ids)
        self._run(
            "initdb", "-D", str(self.folder / "data"), "-U", USER, "--pwfile", str(secret),
            "--auth", "scram-sha-256", "--no-sync", "-E", "UTF8", "--locale", "C",
        )  # fmt: skip

    def start(self) -> None:
        """Start it; returns when it answers."""
        options = ("-c", "fsync=off", "-c", "unix_socket_directories=")
        self.process = subprocess.Popen(
            [self.binaries / "postgres", "-D", self.folder / "data", "-h", "127.0.0.1",
             "-p", str(self.port), *options],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **self._as_user(),
        )  # fmt: skip
        for _ in range(600):
            with suppress(psycopg.OperationalError), self._connected():
                return
            assert self.process.poll() is None, "PostgreSQL ended"
            time.sleep(0.1)
        raise TimeoutError("PostgreSQL does not answer")

    def stop(self) -> None:
        """Stop it at once, as a restart of its machine does."""
        if self.process is not None:
            self.process.send_signal(signal.SIGQUIT)  # an immediate shutdown
            self.process.wait(60)
            self.process = None

    def restart(self) -> None:
        """Stop it at once and start it again."""
        self.stop()
        self.start()

    def fresh(self) -> str:
        """The URL of a new, empty database."""
        name = f"test_{uuid.uuid4().hex[:8]}"
        with self._connected() as connection:
            connection.execute(f'CREATE DATABASE "{name}"')
        return self.url(name)

    @contextmanager
    def for_a_while(self) -> Iterator[str]:
        """The URL of an empty database, which is emptied at the end and lent again.

        That is quicker than a new one, and leaves no thousands of files to delete.
        """
        url = self.emptied.pop() if self.emptied else self.fresh()
        try:
            yield url
        finally:
            with self._connected(url.rpartition("/")[2]) as connection:
                connection.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
                connection.execute("DROP SCHEMA public CASCADE")
                connection.execute("CREATE SCHEMA public")
            self.emptied.append(url)

    def connections(self) -> int:
        """How many connections its users have now, this one not among them."""
        with self._connected() as connection:
            counted = connection.execute(
                "SELECT count(*) FROM pg_stat_activity "
                "WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
            ).fetchone()
        return int(counted[0]) if counted else 0

    def url(self, database: str = "postgres", password: str = QUOTED) -> str:
        """The URL of one of its databases."""
        return f"postgresql+psycopg://{USER}:{password}@127.0.0.1:{self.port}/{database}"

    def _connected(self, database: str = "postgres") -> psycopg.Connection[Any]:
        return psycopg.connect(
            host="127.0.0.1", port=self.port, user=USER, password=PASSWORD, dbname=database,
            autocommit=True,
        )  # fmt: skip

    @property
    def _ids(self) -> tuple[int, int]:
        """User and group that run it where we are root."""
        for name in ("postgres", "nobody"):
            try:
                user = pwd.getpwnam(name)
            except KeyError:
                continue
            return user.pw_uid, user.pw_gid
        raise LookupError("no user to run PostgreSQL as")

    def _as_user(self) -> dict[str, Any]:
        if os.geteuid() != 0:
            return {"cwd": self.folder}
        user, group = self._ids
        return {"user": user, "group": group, "extra_groups": [], "cwd": self.folder}

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [self.binaries / program, *arguments], check=True, capture_output=True, timeout=120,
            **self._as_user(),
        )  # fmt: skip


@contextmanager
def server(binaries: Path) -> Iterator[Server]:
    """A server that answers; it is stopped at the end, and its data are gone."""
    with tempfile.TemporaryDirectory(prefix="postgres-for-a-while-") as folder:
        Path(folder).chmod(0o755)  # its user is another
        made = Server(binaries, Path(folder) / "server", free_port())
        made.make()
        made.start()
        try:
            yield made
        finally:
            made.stop()
