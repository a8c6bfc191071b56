"""The models of a server, and how a request's photos are predicted."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from must_tf.serving import screening
from must_tf.serving.server.batching import Busy, Row, TooMany
from must_tf.serving.server.metrics import Metrics
from must_tf.serving.server.models import Model, Version
from must_tf.serving.server.reading import Refused, RequestLimits


class Predicted(NamedTuple):
    """The rows of one request, and the version that predicted them."""

    rows: list[Row]
    version: Version


class Service:
    """The models of a server, for all protocols.

    Attributes:
      models: by name.
      limits: on requests.
      metrics: the server's counters.
      is_ready: False while the server shuts down.
    """

    def __init__(self, models: Mapping[str, Model], limits: RequestLimits, metrics: Metrics):
        self.models, self.limits, self.metrics = models, limits, metrics
        self.is_ready = True

    def version(self, name: str, version: str = "") -> Version:
        """Returns the version that is served.

        Raises:
          Refused: there is no such model, or another version is asked for.
        """
        if name not in self.models:
            raise Refused(404, f"there is no model {name!r}. Models: {', '.join(self.models)}")
        current = self.models[name].current
        if version and version != str(current.number):
            raise Refused(404, f"version {version} of {name!r} is not served. Version {current.number} is")
        return current

    async def predict(self, name: str, photos: Sequence[bytes], version: str = "") -> Predicted:
        """Predicts photos.

        Raises:
          Refused: the model does not exist, is busy, takes too long or fails, or there are too many photos.
        """
        current = self.version(name, version)
        try:
            rows = await asyncio.wait_for(current.batcher.rows(photos), self.limits.seconds)
        except Busy as error:
            raise Refused(503, f"{error}. Try again later", {"Retry-After": "1"}) from None
        except TooMany as error:
            raise Refused(413, str(error)) from None
        except asyncio.TimeoutError:
            raise Refused(504, f"there was no prediction within {self.limits.seconds:g} s") from None
        except RuntimeError as error:
            raise Refused(500, str(error)) from None
        for row in rows:
            self.metrics.image(name, row[screening.STATUS].item() == screening.OK.encode())
        return Predicted(rows, current)

    def metrics_text(self) -> bytes:
        """Returns all counters for Prometheus."""
        for name, model in self.models.items():
            self.metrics.model(name, model.current.number, model.current.batcher.waiting)
        return self.metrics.text()

    async def refresh(self, seconds: float) -> None:
        """Looks for newer versions until it is cancelled."""
        while True:
            await asyncio.sleep(seconds)
            for model in self.models.values():
                await model.refresh()
