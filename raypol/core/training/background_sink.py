"""Writing a proof in a thread while training goes on."""

import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Final, Self

from raypol.core.proof import BatchRecord, Checkpoint, ProofSink
from raypol.core.training.snapshots import Pending

# Checkpoints that may wait for the disk before training waits for it: enough to smooth a slow write, few enough that a
# large model's copies do not fill the memory.
_MAX_PENDING: Final = 4


class BackgroundSink:
    """Runs a sink's writes in one other thread, in order; at most a few wait. The first error surfaces here and ends them."""

    def __init__(self, sink: ProofSink) -> None:
        self.sink = sink
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="proof-sink")
        self._pending: deque[Future[None]] = deque()
        self._failed = False
        self.waited_s = 0.0
        """Seconds in which the caller waited for writes."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            while self._pending and error is None:
                self._finish_first()
        finally:
            self._thread.shutdown(cancel_futures=True)

    def write_checkpoint(self, checkpoint: Checkpoint) -> None:
        """See ProofSink; returns at once unless too many writes are waiting."""
        self._submit(lambda: self.sink.write_checkpoint(checkpoint))

    def write_pending(self, pending: Pending, then: Callable[[], None]) -> None:
        """Write a checkpoint that is still on its way, then do this; what asking for it raises surfaces as a failed write."""

        def write() -> None:
            self.sink.write_checkpoint(pending())
            then()

        self._submit(write)

    def write_batches(self, records: Sequence[BatchRecord]) -> None:
        """See ProofSink."""
        self._submit(lambda: self.sink.write_batches(records))

    def _submit(self, write: Callable[[], None]) -> None:
        self._pending.append(self._thread.submit(self._run, write))
        while self._pending and (len(self._pending) > _MAX_PENDING or self._pending[0].done()):
            self._finish_first()

    def _finish_first(self) -> None:
        began = time.perf_counter()
        try:
            self._pending.popleft().result()
        finally:
            self.waited_s += time.perf_counter() - began

    def _run(self, write: Callable[[], None]) -> None:
        if self._failed:  # what follows a failed write would follow a hole
            return
        try:
            write()
        except BaseException:
            self._failed = True
            raise
