"""A program with a socket source and a journal: ``python ingest_program.py FOLDER``."""

import asyncio
import sys

import edr
from edr.journal import SqliteJournal
from edr.sources import Ingest, SocketSource


async def main(folder):
    journal = SqliteJournal(f"{folder}/journal", sync="process")
    async with edr.Bus(journal=journal) as bus:
        await SocketSource("in", Ingest(bus), f"{folder}/in.sock").start()
        await asyncio.sleep(600)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
