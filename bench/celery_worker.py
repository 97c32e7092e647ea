"""Start one worker process of the raw Celery contender: `python -m bench.celery_worker THREADS`."""

from __future__ import annotations

import sys

from bench.celery_app import worker_app

if __name__ == "__main__":
    worker_app().worker_main(
        [
            "worker",
            "--pool=threads",
            f"--concurrency={sys.argv[1]}",
            "--loglevel=ERROR",
            "--without-gossip",
            "--without-mingle",
            "--without-heartbeat",
            f"--hostname=bench{sys.argv[2]}@%h",
        ]
    )
