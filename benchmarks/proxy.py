"""Optuna's gRPC proxy in front of PostgreSQL, and without it: trials a second, and connections.

    python -m benchmarks.proxy                         # 1, 8 and 32 clients, 96 trials each time
    python -m benchmarks.proxy --clients 1 4 --trials 8

Each client is a process with Optuna's own storage that asks, suggests ten parameters, notes three
attributes and tells: what a worker does that speaks to the database itself. Ours do not: one driver
speaks for all of its workers.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import optuna
from optuna.storages import BaseStorage, GrpcStorageProxy, get_storage, run_grpc_proxy_server
from rich.console import Console
from rich.table import Table

from benchmarks.postgres import Server, free_port, programs, server

STUDY = "proxy"
PARAMETERS = 10


@dataclass(frozen=True, slots=True)
class Speed:
    """Trials a second of so many clients together, and the most connections to the database."""

    way: str
    clients: int
    trials_per_second: float
    connections: int


def opened(place: str) -> BaseStorage:
    """A storage by a database's URL, or by a proxy's port."""
    if place.isdigit():
        return GrpcStorageProxy(host="127.0.0.1", port=int(place))
    return get_storage(place)


def work(place: str, trials: int, start: float) -> None:
    """What one client does, from a common start on."""
    _quiet()
    sampler = optuna.samplers.RandomSampler(seed=0)
    study = optuna.load_study(study_name=STUDY, storage=opened(place), sampler=sampler)
    time.sleep(max(0.0, start - time.time()))
    for _ in range(trials):
        trial = study.ask()
        for number in range(PARAMETERS):
            trial.suggest_int(f"width_{number}", 1, 32)
        for name in ("identity", "state", "seed"):
            trial.set_user_attr(name, "a value")
        study.tell(trial, 0.99)


def serve(url: str, port: int) -> None:
    """A proxy in front of a database, until its process is ended."""
    _quiet()
    run_grpc_proxy_server(get_storage(url), host="127.0.0.1", port=port)


def _quiet() -> None:
    warnings.simplefilter("ignore")
    optuna.logging.set_verbosity(optuna.logging.ERROR)


@contextmanager
def proxied(url: str) -> Iterator[str]:
    """A proxy in a process of its own; gives its port."""
    port = free_port()
    process = multiprocessing.get_context("spawn").Process(target=serve, args=(url, port))
    process.start()
    try:
        for _ in range(120):
            try:
                opened(str(port)).get_all_studies()
                break
            except Exception:  # noqa: BLE001 - whatever gRPC raises while nobody listens
                time.sleep(0.5)
        yield str(port)
    finally:
        process.terminate()
        process.join()


def measure(way: str, place: str, postgres: Server, clients: int, trials: int) -> Speed:
    """Time clients that share so many trials."""
    context = multiprocessing.get_context("spawn")
    start = time.time() + 5 + 2 * clients  # all have started by then
    processes = [
        context.Process(target=work, args=(place, trials // clients, start)) for _ in range(clients)
    ]
    for process in processes:
        process.start()
    time.sleep(max(0.0, start - time.time()))
    connections = 0
    while any(process.is_alive() for process in processes):
        connections = max(connections, postgres.connections())
        time.sleep(0.2)
    seconds = time.time() - start
    assert all(process.exitcode == 0 for process in processes)
    return Speed(way, clients, trials // clients * clients / seconds, connections)


def speeds(clients: Sequence[int], trials: int) -> Iterator[Speed]:
    """Each number of clients, without and with the proxy, on a server of our own."""
    binaries = programs()
    if binaries is None:
        raise SystemExit("PostgreSQL is not installed")
    with server(binaries) as postgres:
        url = postgres.fresh()
        optuna.create_study(study_name=STUDY, storage=url)
        for number in clients:
            yield measure("PostgreSQL", url, postgres, number, trials)
            with proxied(url) as port:
                yield measure("proxy", port, postgres, number, trials)


def main(arguments: list[str] | None = None) -> int:
    """Print the speeds; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.proxy", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 32], metavar="N")
    parser.add_argument("--trials", type=int, default=96, metavar="N", help="default 96")
    options = parser.parse_args(arguments)
    _quiet()
    table = Table("storage", "clients", "trials a second", "connections to the database")
    for each in speeds(options.clients, options.trials):
        table.add_row(
            each.way, str(each.clients), f"{each.trials_per_second:.1f}", str(each.connections)
        )
    Console(highlight=False, width=100).print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
