"""Notes when Ray accepts work, from beside Flower's engine, which starts it."""

import threading
from collections.abc import Callable

INTERVAL_S = 0.02


class RayWatch:
    """Calls ``clock`` once Ray is up; :attr:`ready` is its answer (0.0 before)."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.ready = 0.0
        self._clock = clock
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        import ray

        pause = threading.Event()
        while not ray.is_initialized():
            pause.wait(INTERVAL_S)
        self.ready = self._clock()
